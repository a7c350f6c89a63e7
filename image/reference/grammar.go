package reference

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

func lower(c byte) bool { return c >= 'a' && c <= 'z' }
func upper(c byte) bool { return c >= 'A' && c <= 'Z' }
func digit(c byte) bool { return c >= '0' && c <= '9' }

func hasUpper(s string) bool { return utf8.ValidString(s) && strings.ToLower(s) != s }

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return s != ""
}

func isHex(s string) bool {
	return all(s, func(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' })
}

// validDomain checks host[:port], where host is a name or [IPv6].
func validDomain(s string) bool {
	host, port, hasPort := s, "", false
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return false
		}
		host, port = s[1:end], s[end+1:]
		if port != "" {
			if port[0] != ':' {
				return false
			}
			port, hasPort = port[1:], true
		}
		if !all(host, func(c byte) bool { return digit(c) || c == ':' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }) {
			return false
		}
	} else {
		host, port, hasPort = strings.Cut(s, ":")
		for label := range strings.SplitSeq(host, ".") {
			if !validLabel(label) {
				return false
			}
		}
	}
	return !hasPort || all(port, digit)
}

func validLabel(s string) bool {
	return all(s, func(c byte) bool { return lower(c) || upper(c) || digit(c) || c == '-' }) &&
		s[0] != '-' && s[len(s)-1] != '-'
}

func checkPath(s string) error {
	if hasUpper(s) {
		return fmt.Errorf("the repository %q must be lowercase", s)
	}
	if len(s) > maxPath {
		return fmt.Errorf("the repository is longer than %d characters", maxPath)
	}
	for part := range strings.SplitSeq(s, "/") {
		if err := checkComponent(part); err != nil {
			return err
		}
	}
	return nil
}

// checkComponent wants runs of lower-case letters and digits, parted by one
// dot, one or two underscores, or any number of hyphens.
func checkComponent(s string) error {
	if s == "" {
		return errors.New("a part of the repository is empty")
	}
	run := 0 // length of the current separator
	for i := range len(s) {
		c := s[i]
		switch {
		case lower(c) || digit(c):
			run = 0
			continue
		case c != '.' && c != '_' && c != '-':
			r, _ := utf8.DecodeRuneInString(s[i:])
			return fmt.Errorf("%q may not have the character %q", s, r)
		case i == 0 || i == len(s)-1:
			return fmt.Errorf("%q must begin and end with a letter or digit", s)
		}
		run++
		if run > 1 && (c != s[i-1] || c == '.' || c == '_' && run > 2) {
			return fmt.Errorf("%q has the separator %q", s, s[i-run+1:i+1])
		}
	}
	return nil
}

// validTag checks a letter, digit or underscore, then up to 127 of those, dots and hyphens.
func validTag(s string) bool {
	return len(s) <= maxTag && s != "" && s[0] != '.' && s[0] != '-' &&
		all(s, func(c byte) bool { return lower(c) || upper(c) || digit(c) || c == '_' || c == '.' || c == '-' })
}
