package network

import (
	"fmt"
	"strings"

	"loper.run/internal/naming"
)

const idLen = 64

// CheckName says what is wrong with a network's name.
func CheckName(name string) error { return naming.Check("network name", name) }

// isID reports whether s is a whole id. Only such strings become part of a path.
func isID(s string) bool { return len(s) == idLen && isHex(s) }

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

// CheckAlias says what is wrong with a name that a container is to be found by.
func CheckAlias(name string) error {
	if _, err := AppendName(nil, name); err != nil {
		return fmt.Errorf("invalid alias %q: %w", name, err)
	}
	return nil
}

// CheckInterface says what is wrong with the name of a network interface.
func CheckInterface(name string) error {
	if name == "" || len(name) > 15 || name == "." || name == ".." || name == "lo" || name == "all" || name == "default" ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == ':' || r == '%' }) {
		return fmt.Errorf("invalid interface name %q: 1 to 15 printable characters without spaces, / : %%", name)
	}
	return nil
}
