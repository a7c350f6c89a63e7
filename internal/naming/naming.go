// Package naming has the rule for the names that people give to containers,
// volumes and networks. They are names of files too.
package naming

import "fmt"

// Max is how many bytes a name has at most.
const Max = 128

// Check says what is wrong with a name: [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most Max
// bytes. What it is a name of is for people to read.
func Check(what, name string) error {
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return fmt.Errorf("invalid %s %q: letters, digits and then also _ . - are allowed", what, name)
		}
	}
	if name == "" || len(name) > Max {
		return fmt.Errorf("invalid %s %q: 1 to %d characters are allowed", what, name, Max)
	}
	return nil
}
