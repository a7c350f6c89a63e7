package layer

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Names with a meaning of their own (image-spec, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	// aufsPrefix begins the names that aufs kept for itself; old images have
	// them, and they mean nothing elsewhere.
	aufsPrefix = ".wh..wh."
)

// clean returns name as a path below the layer's root without a leading
// slash, "." for the root itself. A leading slash is dropped; a ".." is
// refused, even one that would stay inside, since no builder writes it.
func clean(name string) (string, error) {
	if name == "" {
		return "", errors.New("the name is empty")
	}
	if len(name) > 2*maxPath {
		return "", errors.New("the name is too long")
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("the name has a NUL byte")
	}
	depth := 0
	for rest := name; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch {
		case part == "..":
			return "", errors.New("the name leads out of the layer")
		case len(part) > maxName:
			return "", fmt.Errorf("a part of the name is longer than %d bytes", maxName)
		}
		depth++
	}
	name = path.Clean(strings.TrimLeft(name, "/"))
	if len(name) > maxPath {
		return "", errors.New("the name is too long")
	}
	if depth > maxDepth && strings.Count(name, "/") >= maxDepth {
		return "", fmt.Errorf("the name is deeper than %d directories", maxDepth)
	}
	return name, nil
}

// split parts a clean path into its directory, "." at the top, and its last name.
func split(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return ".", name
	}
	return name[:i], name[i+1:]
}

// ignored reports whether aufs wrote the entry for its own use.
func ignored(name string) bool {
	i := strings.Index(name, aufsPrefix)
	if i < 0 || i > 0 && name[i-1] != '/' {
		return false
	}
	return name[i:] != opaqueMarker
}

// hidden returns the name that a whiteout hides, "" when base is no whiteout.
func hidden(base string) (string, error) {
	name, ok := strings.CutPrefix(base, whiteoutPrefix)
	if !ok {
		return "", nil
	}
	switch name {
	case "", ".", "..":
		return "", errors.New("the whiteout hides no name")
	}
	return name, nil
}

// quote makes a foreign name fit for one line of an error.
func quote(name string) string {
	const most = 200
	if len(name) > most {
		return fmt.Sprintf("%q…", name[:most])
	}
	return fmt.Sprintf("%q", name)
}
