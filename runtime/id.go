package runtime

import "fmt"

// maxID is the longest container id; a cgroup or directory name may have 255 bytes.
const maxID = 255

// CheckID says what is wrong with a container id. Ids become names of
// directories and cgroups, so the characters are those that can do no harm.
func CheckID(id string) error {
	if id == "" {
		return fmt.Errorf("the container id is empty")
	}
	if len(id) > maxID {
		return fmt.Errorf("the container id is longer than %d characters", maxID)
	}
	if id == "." || id == ".." {
		return fmt.Errorf("the container id can't be %q", id)
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '_', c == '+', c == '-', c == '.':
		default:
			return fmt.Errorf("the container id %q has the character %q; letters, digits and _ + - . are allowed", id, c)
		}
	}
	return nil
}
