package trust

import (
	"fmt"
	"strconv"
	"strings"
)

// yamlMap is a mapping in the plain part of YAML that registries.d is written
// in: block mappings of texts, one below the other. Whatever else YAML has is
// an error, so that nothing is read differently than it was meant.
type yamlMap map[string]any // string or yamlMap

// parseYAML reads a document.
func parseYAML(text string) (yamlMap, error) {
	p := &yamlParser{}
	for i, line := range strings.Split(text, "\n") {
		if err := p.line(i+1, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if len(p.lines) == 0 {
		return yamlMap{}, nil
	}
	m, err := p.mapping(p.lines[0].indent, 0)
	if err == nil && p.next < len(p.lines) {
		err = fmt.Errorf("line %d: it is indented like nothing before it", p.lines[p.next].row)
	}
	return m, err
}

type yamlLine struct {
	row, indent int
	key, value  string
	quoted      bool // the value was, so that "" is a value
}

type yamlParser struct {
	lines []yamlLine
	next  int
}

// line takes one line apart: indentation, key, and value when there is one.
func (p *yamlParser) line(row int, s string) error {
	s = strings.TrimSuffix(s, "\r")
	body := strings.TrimLeft(s, " ")
	l := yamlLine{row: row, indent: len(s) - len(body)}
	switch {
	case strings.Trim(body, " \t") == "" || body[0] == '#':
		return nil
	case body == "---" && len(p.lines) == 0:
		return nil
	case strings.HasPrefix(body, "- ") || body == "-" || strings.ContainsAny(body[:1], "\t?[]{}!&*|>%@`,"):
		return fmt.Errorf("%.40q is not understood: write mappings of plain texts", body)
	}
	var err error
	if l.key, _, body, err = scalar(body, true); err != nil {
		return err
	}
	if l.value, l.quoted, _, err = scalar(strings.TrimLeft(body, " \t"), false); err != nil {
		return err
	}
	p.lines = append(p.lines, l)
	return nil
}

// scalar reads a plain or quoted text, a key up to its colon.
func scalar(s string, key bool) (text string, quoted bool, rest string, err error) {
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		text, rest, err = quotedScalar(s)
		quoted = true
	} else if key {
		i := strings.Index(s+" ", ": ")
		if tab := strings.Index(s, ":\t"); tab >= 0 && (i < 0 || tab < i) {
			i = tab
		}
		if i < 0 {
			return "", false, "", fmt.Errorf("%.40q is no key with a colon", s)
		}
		text, rest = strings.TrimRight(s[:i], " \t"), s[i:]
		if strings.Contains(text, " #") {
			return "", false, "", fmt.Errorf("%.40q is no key", s)
		}
	} else {
		text = s
		if i := strings.Index(" "+s, " #"); i >= 0 {
			text = s[:max(i-1, 0)]
		}
		text = strings.TrimRight(text, " \t")
		if text == "{}" {
			return "", false, "", nil
		}
		if text != "" && strings.ContainsAny(text[:1], "[]{}!&*|>%@`,") || strings.Contains(text, ": ") || strings.HasSuffix(text, ":") {
			return "", false, "", fmt.Errorf("%.40q is not understood: put it into quotes if it is a text", text)
		}
	}
	if err != nil {
		return "", false, "", err
	}
	if key {
		after, ok := strings.CutPrefix(strings.TrimLeft(rest, " \t"), ":")
		if !ok || after != "" && after[0] != ' ' && after[0] != '\t' {
			return "", false, "", fmt.Errorf("%.40q is no key with a colon", s)
		}
		return text, quoted, after, nil
	}
	if rest = strings.TrimLeft(rest, " \t"); rest != "" && rest[0] != '#' {
		return "", false, "", fmt.Errorf("%.40q follows a text", rest)
	}
	return text, quoted, "", nil
}

func quotedScalar(s string) (text, rest string, err error) {
	if s[0] == '\'' {
		var b strings.Builder
		for i := 1; i < len(s); i++ {
			if s[i] != '\'' {
				b.WriteByte(s[i])
			} else if i+1 < len(s) && s[i+1] == '\'' {
				b.WriteByte('\'')
				i++
			} else {
				return b.String(), s[i+1:], nil
			}
		}
		return "", "", fmt.Errorf("%.40q has no closing quote", s)
	}
	quoted, err := strconv.QuotedPrefix(s)
	if err == nil {
		text, err = strconv.Unquote(quoted)
	}
	if err != nil {
		return "", "", fmt.Errorf("%.40q is no text in quotes", s)
	}
	return text, s[len(quoted):], nil
}

// mapping gathers the lines of one indentation, and what lies below each.
func (p *yamlParser) mapping(indent, depth int) (yamlMap, error) {
	m := yamlMap{}
	for p.next < len(p.lines) && p.lines[p.next].indent == indent {
		l := p.lines[p.next]
		p.next++
		if _, twice := m[l.key]; twice {
			return nil, fmt.Errorf("line %d: key %.60q appears twice", l.row, l.key)
		}
		m[l.key] = l.value
		if p.next == len(p.lines) || p.lines[p.next].indent <= indent {
			if l.value == "" && !l.quoted {
				m[l.key] = yamlMap{}
			}
			continue
		}
		if l.value != "" || l.quoted || depth > 8 {
			return nil, fmt.Errorf("line %d: key %.60q has both a text and more below it", l.row, l.key)
		}
		sub, err := p.mapping(p.lines[p.next].indent, depth+1)
		if err != nil {
			return nil, err
		}
		m[l.key] = sub
	}
	return m, nil
}
