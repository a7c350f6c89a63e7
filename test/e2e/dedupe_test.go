package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"loper.run/test/env"
)

// Files that are the same in two images become one, and nothing else changes: both images run, nothing counts as
// damaged, and removing one leaves the other.
func TestDedupe(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		files, err := env.BusyboxFiles()
		if err != nil {
			t.Skip(err)
		}
		image := func(extra string) func() (*env.Image, error) {
			return func() (*env.Image, error) {
				return env.NewImage(env.RunConfig{Cmd: []string{"cat", "/own"}, Env: []string{"PATH=/bin"}}, env.Gzipped(env.Tar(append(files[:len(files):len(files)], env.File{Name: "own", Body: extra})...))), nil
			}
		}
		one, two := pushed(t, "dedupe:1", image("one")), pushed(t, "dedupe:2", image("two"))
		e.must("pull", "-q", one)
		e.must("pull", "-q", two)
		before := e.du()
		e.mustFail(1, []string{"say either --reflink or --hardlink"}, "system", "dedupe")
		if out := e.must("system", "dedupe", "--hardlink"); !strings.HasPrefix(out, "Shared files: 1\nTotal shared space: ") {
			t.Error(out)
		}
		found, _ := filepath.Glob(filepath.Join(e.root, "image/layer/sha256/*/diff/bin/busybox"))
		if len(found) != 2 {
			t.Fatalf("%q", found)
		}
		st, err := os.Stat(found[0])
		if err != nil || st.Sys().(*syscall.Stat_t).Nlink != 2 || before-e.du() < st.Size()-4096 {
			t.Errorf("%v, %v: %d bytes less", st, err, before-e.du())
		}
		e.sameAsDu("shared")
		expect(t, "damage", e.must("system", "check", "--deep", "--max", "0s"), "")
		expect(t, "again", e.must("system", "dedupe", "--hardlink"), "No files to share")
		expect(t, "one", e.must("run", "--rm", one), "one")
		e.must("rmi", one)
		expect(t, "two", e.must("run", "--rm", two), "two")
		e.sameAsDu("half removed")
		expect(t, "damage", e.must("system", "check", "--deep", "--max", "0s"), "")
	})
}
