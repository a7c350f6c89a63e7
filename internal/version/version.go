// Package version holds the version of the programs that this module builds.
package version

import "runtime/debug"

// Version is set by the linker (see the Makefile); empty in programs built by a bare go build.
var Version string

// String is the version to print: the linker's, else the module's own, else the commit it was built from.
func String() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return Commit()
}

// Commit is the commit that the program was built from, followed by "-dirty" when the tree differed from it;
// "unknown" when the build did not record it.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	return commit + dirty
}
