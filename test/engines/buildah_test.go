package engines_test

import (
	"path/filepath"
	"testing"
)

// Buildah runs the steps of a build.
func TestBuildah(t *testing.T) {
	t.Parallel()
	e := newEngine(t, "buildah", "buildah")
	archive := file(t, busybox)
	e.command = []string{"buildah", "--root", filepath.Join(e.dir, "root"), "--runroot", filepath.Join(e.dir, "run"), "--storage-driver", "overlay"}
	from := e.must("from", "--name", "work", "docker-archive:"+archive)
	flags := []string{"run", "--runtime", lope, "--network", "host", "--isolation", "oci", from, "--"}
	step := func(args ...string) []string { return append(append([]string(nil), flags...), args...) }
	e.must(step("sh", "-c", "echo made > /made")...)
	e.shows([]string{"made"}, step("cat", "/made")...)
	e.fails(5, nil, step("sh", "-c", "exit 5")...)
	e.fails(1, []string{`exec: "nope": executable file not found in $PATH`}, step("nope")...)
	e.must("rm", "--all")
}
