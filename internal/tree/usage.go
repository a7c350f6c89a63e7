package tree

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Usage is what a part of a tree takes.
type Usage struct {
	// Disk is what the entries occupy, in bytes, as du counts it.
	Disk int64 `json:"disk"`
	// Size is what the regular files hold, in bytes.
	Size int64 `json:"size"`
	// Entries counts names, directories among them.
	Entries int64 `json:"entries"`
}

// Add adds the numbers of another part.
func (u *Usage) Add(v Usage) {
	u.Disk += v.Disk
	u.Size += v.Size
	u.Entries += v.Entries
}

// Measure adds up a tree by the beginnings of its paths, which are as many
// words long as depth says for the first word, or 1. A file with several names
// counts once, where it is met first, as du has it; so all parts together are
// what du says of the tree. What vanishes meanwhile or can't be read is left out.
func Measure(dir *os.File, depth map[string]int) (map[string]Usage, error) {
	type file struct{ dev, ino uint64 }
	seen := map[file]bool{}
	parts := map[string]Usage{}
	err := walk(dir, true, func(e entry) error {
		part := beginning(e.path, depth)
		u := parts[part]
		u.Entries++
		if e.st.Nlink < 2 || e.st.Mode&unix.S_IFMT == unix.S_IFDIR || !seen[file{e.st.Dev, e.st.Ino}] {
			u.Disk += e.st.Blocks * 512
			if e.st.Mode&unix.S_IFMT == unix.S_IFREG {
				u.Size += e.st.Size
			}
			if e.st.Nlink > 1 {
				seen[file{e.st.Dev, e.st.Ino}] = true
			}
		}
		parts[part] = u
		return nil
	})
	return parts, err
}

func beginning(path string, depth map[string]int) string {
	first, _, _ := strings.Cut(path, "/")
	for i, words := 0, max(depth[first], 1); i < len(path); i++ {
		if path[i] == '/' {
			if words--; words == 0 {
				return path[:i]
			}
		}
	}
	return path
}
