package network

import (
	"fmt"
	"strings"
)

const (
	idLen   = 64
	maxName = 128
)

// CheckName says what is wrong with a network's name:
// [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 128 bytes.
func CheckName(name string) error {
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return fmt.Errorf("invalid network name %q: letters, digits and then also _ . - are allowed", name)
		}
	}
	if name == "" || len(name) > maxName {
		return fmt.Errorf("invalid network name %q: 1 to %d characters are allowed", name, maxName)
	}
	return nil
}

// isID reports whether s is a whole id. Only such strings become part of a path.
func isID(s string) bool { return len(s) == idLen && isHex(s) }

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

// CheckAlias says what is wrong with a name that a container is to be found by:
// labels of letters, digits, - and _, parted by dots.
func CheckAlias(name string) error {
	bad := name == "" || len(name) > 253
	for label := range strings.SplitSeq(strings.ToLower(name), ".") {
		bad = bad || label == "" || len(label) > 63 || label[0] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != ""
	}
	if bad {
		return fmt.Errorf("invalid alias %q: a name has letters, digits, - and _ in parts of 1 to 63 between dots", name)
	}
	return nil
}

// checkInterface says what is wrong with the name of a network interface.
func checkInterface(name string) error {
	if name == "" || len(name) > 15 || name == "." || name == ".." || name == "lo" || name == "all" || name == "default" ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == ':' || r == '%' }) {
		return fmt.Errorf("invalid interface name %q: 1 to 15 printable characters without spaces, / : %%", name)
	}
	return nil
}
