package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxDepth and maxPath bound a cgroupsPath, which can come from an orchestrator's user.
const (
	maxDepth = 64
	maxPath  = 3072
)

// cgroupPath is a checked linux.cgroupsPath: components that are plain names.
type cgroupPath struct {
	absolute bool
	parts    []string
}

// parsePath checks a cgroupsPath. Repeated slashes and "." are dropped; ".." is refused and not resolved, since no
// meaning of it is one that two runtimes agree upon.
func parsePath(s string) (cgroupPath, error) {
	p := cgroupPath{absolute: strings.HasPrefix(s, "/")}
	if len(s) > maxPath {
		return p, fmt.Errorf("longer than %d bytes", maxPath)
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." {
			continue
		}
		if err := checkName(part); err != nil {
			return p, err
		}
		p.parts = append(p.parts, part)
	}
	switch {
	case len(p.parts) == 0:
		return p, errors.New("names no group")
	case len(p.parts) > maxDepth:
		return p, fmt.Errorf("deeper than %d groups", maxDepth)
	}
	return p, nil
}

// checkName refuses what is no name of a group. The kernel forbids a newline, which would break /proc/PID/cgroup.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..":
		return fmt.Errorf("%q is not a name of a group", name)
	case len(name) > 255:
		return fmt.Errorf("the name %.20q… is longer than 255 bytes", name)
	case strings.ContainsAny(name, "/\n\x00"):
		return fmt.Errorf("the name %q has a character that a group cannot have", name)
	}
	return nil
}

// group is a directory below the root of one hierarchy.
type group struct {
	root string // mount point of the hierarchy
	rel  string // checked path below it
}

func (g group) path() string { return filepath.Join(g.root, g.rel) }

// groupAt splits a saved directory into the hierarchy's root and the rest, which is checked again: state files live
// longer than the code that wrote them.
func groupAt(root, dir string) (group, error) {
	rel, ok := strings.CutPrefix(dir, root+"/")
	if !ok {
		return group{}, fmt.Errorf("cgroup %q does not lie below %s", dir, root)
	}
	p, err := parsePath(rel)
	if err != nil {
		return group{}, fmt.Errorf("cgroup %q: %w", dir, err)
	}
	return group{root, strings.Join(p.parts, "/")}, nil
}

// ownGroups reads which groups this process is in: controller to path, "" for cgroup v2.
func ownGroups() (map[string]string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	return parseOwn(string(b)), nil
}

// parseOwn reads lines of the form ID:controller,controller:path.
func parseOwn(s string) map[string]string {
	own := make(map[string]string)
	for line := range strings.Lines(s) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		names, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(names, ",") {
			own[name] = path
		}
	}
	return own
}

// visible turns a path of /proc/self/cgroup into one below the mount at root. They differ where a container without a
// cgroup namespace sees only its own part of the hierarchy mounted: its mount's root is then a prefix of the path.
func visible(root, own string) string {
	own = filepath.Clean("/" + own)
	if _, err := os.Stat(filepath.Join(root, own)); err == nil {
		return strings.TrimPrefix(own, "/")
	}
	if rel, err := filepath.Rel(mountedFrom(root), own); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return strings.TrimPrefix(filepath.Clean("/"+rel), "/")
	}
	return ""
}

// mountedFrom is the directory of a hierarchy that is mounted at root (the fourth field of mountinfo).
func mountedFrom(root string) string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "/"
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == root {
			return f[3]
		}
	}
	return "/"
}
