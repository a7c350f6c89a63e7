package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"loper.run/image/oci"
)

// Change applies instructions of a Dockerfile that are about how an image is run,
// such as "ENV A=b" or `CMD ["sh"]`. As there, a new ENTRYPOINT takes a CMD away
// that was meant for another.
func Change(c *oci.ImageConfig, lines ...string) error {
	commanded := false
	for _, line := range lines {
		if err := change(c, line); err != nil {
			return err
		}
		switch instruction(line) {
		case "CMD":
			commanded = true
		case "ENTRYPOINT":
			if !commanded {
				c.Cmd = nil
			}
		}
	}
	return nil
}

func instruction(line string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return strings.ToUpper(word)
}

func change(c *oci.ImageConfig, line string) error {
	word := instruction(line)
	_, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	apply := changes(word)
	if apply == nil {
		return fmt.Errorf("change %.100q: %q is not CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR", line, word)
	}
	if rest == "" {
		return fmt.Errorf("change %.100q: %s needs an argument", line, word)
	}
	if err := apply(c, rest); err != nil {
		return fmt.Errorf("change %.100q: %w", line, err)
	}
	return nil
}

func changes(word string) func(c *oci.ImageConfig, rest string) error {
	switch word {
	case "CMD":
		return func(c *oci.ImageConfig, rest string) error { c.Cmd = command(rest); return nil }
	case "ENTRYPOINT":
		return func(c *oci.ImageConfig, rest string) error { c.Entrypoint = command(rest); return nil }
	case "ENV":
		return changeEnv
	case "EXPOSE":
		return changeExpose
	case "HEALTHCHECK":
		return changeHealth
	case "LABEL":
		return changeLabel
	case "ONBUILD":
		return func(c *oci.ImageConfig, rest string) error { c.OnBuild = append(c.OnBuild, rest); return nil }
	case "STOPSIGNAL":
		return func(c *oci.ImageConfig, rest string) error { c.StopSignal = expand(c, rest); return nil }
	case "USER":
		return func(c *oci.ImageConfig, rest string) error { c.User = expand(c, rest); return nil }
	case "VOLUME":
		return changeVolume
	case "WORKDIR":
		return func(c *oci.ImageConfig, rest string) error {
			dir := expand(c, rest)
			if !path.IsAbs(dir) {
				dir = path.Join("/", c.WorkingDir, dir)
			}
			c.WorkingDir = path.Clean(dir)
			return nil
		}
	}
	return nil
}

// command is a JSON list of words, or else a line for the shell.
func command(text string) []string {
	var words []string
	if strings.HasPrefix(text, "[") && json.Unmarshal([]byte(text), &words) == nil {
		return words
	}
	return []string{"/bin/sh", "-c", text}
}

// expand replaces $NAME and ${NAME} by the image's environment.
func expand(c *oci.ImageConfig, text string) string {
	return os.Expand(text, func(name string) string {
		for _, v := range c.Env {
			if key, value, _ := strings.Cut(v, "="); key == name {
				return value
			}
		}
		return ""
	})
}

// pairs reads NAME=value words, in quotes if need be, or one "NAME value".
func pairs(text string) ([][2]string, error) {
	name, value, _ := strings.Cut(text, " ")
	if !strings.Contains(name, "=") {
		if value == "" {
			return nil, fmt.Errorf("%.100q is not NAME=value", text)
		}
		return [][2]string{{name, strings.TrimSpace(value)}}, nil
	}
	words, err := splitWords(text)
	if err != nil {
		return nil, err
	}
	var list [][2]string
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%.100q is not NAME=value", w)
		}
		list = append(list, [2]string{name, value})
	}
	return list, nil
}

// splitWords parts a line at spaces that are neither quoted nor escaped.
func splitWords(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inside := byte(0), false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			inside = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inside = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inside {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteByte(c)
			inside = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if inside {
		words = append(words, word.String())
	}
	return words, nil
}

func changeEnv(c *oci.ImageConfig, rest string) error {
	list, err := pairs(rest)
	if err != nil {
		return err
	}
	before := &oci.ImageConfig{Env: append([]string(nil), c.Env...)}
	for _, p := range list {
		c.Env = SetEnv(c.Env, p[0], expand(before, p[1]))
	}
	return nil
}

// SetEnv replaces a variable where it stands, or adds it.
func SetEnv(env []string, name, value string) []string {
	for i, v := range env {
		if key, _, _ := strings.Cut(v, "="); key == name {
			env = append([]string(nil), env...)
			env[i] = name + "=" + value
			return env
		}
	}
	return append(env[:len(env):len(env)], name+"="+value)
}

func changeLabel(c *oci.ImageConfig, rest string) error {
	list, err := pairs(rest)
	if err != nil {
		return err
	}
	labels := maps.Clone(c.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	for _, p := range list {
		labels[p[0]] = expand(c, p[1])
	}
	c.Labels = labels
	return nil
}

func changeExpose(c *oci.ImageConfig, rest string) error {
	ports := maps.Clone(c.ExposedPorts)
	if ports == nil {
		ports = make(map[string]struct{})
	}
	for _, word := range strings.Fields(expand(c, rest)) {
		numbers, protocol, found := strings.Cut(word, "/")
		if !found {
			protocol = "tcp"
		}
		from, to, isRange := strings.Cut(numbers, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || first > last || first == 0 {
			return fmt.Errorf("%.60q is no port", word)
		}
		switch protocol = strings.ToLower(protocol); protocol {
		case "tcp", "udp", "sctp":
		default:
			return fmt.Errorf("%.60q: the protocol is not tcp, udp or sctp", word)
		}
		for n := first; n <= last; n++ {
			ports[fmt.Sprintf("%d/%s", n, protocol)] = struct{}{}
		}
	}
	c.ExposedPorts = ports
	return nil
}

func changeVolume(c *oci.ImageConfig, rest string) error {
	var words []string
	if !strings.HasPrefix(rest, "[") || json.Unmarshal([]byte(rest), &words) != nil {
		words = strings.Fields(rest)
	}
	volumes := maps.Clone(c.Volumes)
	if volumes == nil {
		volumes = make(map[string]struct{})
	}
	for _, w := range words {
		if w = expand(c, w); w == "" {
			return errors.New("a volume needs a path")
		}
		volumes[w] = struct{}{}
	}
	c.Volumes = volumes
	return nil
}

func changeHealth(c *oci.ImageConfig, rest string) error {
	h := &oci.Healthcheck{}
	for strings.HasPrefix(rest, "--") {
		var flag string
		flag, rest, _ = strings.Cut(rest, " ")
		rest = strings.TrimSpace(rest)
		if err := healthFlag(h, flag); err != nil {
			return err
		}
	}
	word, text, _ := strings.Cut(rest, " ")
	switch strings.ToUpper(word) {
	case "NONE":
		h.Test = []string{"NONE"}
	case "CMD":
		var words []string
		text = strings.TrimSpace(text)
		if strings.HasPrefix(text, "[") && json.Unmarshal([]byte(text), &words) == nil {
			h.Test = append([]string{"CMD"}, words...)
		} else {
			h.Test = []string{"CMD-SHELL", text}
		}
	default:
		return fmt.Errorf("%.60q is not CMD or NONE", word)
	}
	c.Healthcheck = h
	return nil
}

func healthFlag(h *oci.Healthcheck, flag string) (err error) {
	name, value, _ := strings.Cut(flag, "=")
	into := map[string]*time.Duration{"--interval": &h.Interval, "--timeout": &h.Timeout, "--start-period": &h.StartPeriod, "--start-interval": &h.StartInterval}[name]
	switch {
	case into != nil:
		*into, err = time.ParseDuration(value)
	case name == "--retries":
		h.Retries, err = strconv.Atoi(value)
	default:
		err = fmt.Errorf("HEALTHCHECK knows no %.60q", name)
	}
	return err
}
