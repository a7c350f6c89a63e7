package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// madeTwice pushes two images, the second on top of the first, and pulls both.
func madeTwice(t testing.TB, e *engine) (base, above string) {
	t.Helper()
	img, err := env.Busybox()
	if err != nil {
		t.Skip(err)
	}
	second := env.NewImage(env.RunConfig{Cmd: []string{"sh"}}, img.Layers[0], env.Gzipped(env.Tar(
		env.File{Name: "etc/"}, env.File{Name: "etc/.wh.group"}, env.File{Name: "etc/added", Body: "above", UID: 1000})))
	base = pushed(t, "tree:base", func() (*env.Image, error) { return img, nil })
	above = pushed(t, "tree:above", func() (*env.Image, error) { return second, nil })
	e.must("pull", "-q", base)
	e.must("pull", "-q", above)
	return base, above
}

func TestImageHistoryAndTree(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		base, above := madeTwice(t, e)
		lines := strings.Split(e.must("history", "--no-trunc", above), "\n")
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "IMAGE") || !strings.HasPrefix(lines[1], "sha256:") || !strings.HasPrefix(lines[2], "<missing>") {
			t.Errorf("history: %q", lines)
		}
		expect(t, "sizes", e.must("history", "-H=false", "--format", "{{.Size}}", above), "5\n"+e.must("history", "-H=false", "--format", "{{.Size}}", base))
		tree := strings.Split(e.must("image", "tree", above), "\n")
		if len(tree) != 6 || !strings.Contains(tree[4], "├── ") || !strings.HasSuffix(tree[4], "Top Layer of: ["+base+"]") || !strings.HasSuffix(tree[5], "Top Layer of: ["+above+"]") {
			t.Errorf("tree:\n%s", strings.Join(tree, "\n"))
		}
		over := strings.Split(e.must("image", "tree", "--whatrequires", base), "\n")
		if len(over) != 6 || !strings.Contains(over[4], base) || !strings.HasSuffix(over[5], "["+above+"]") {
			t.Errorf("tree of what requires it:\n%s", strings.Join(over, "\n"))
		}
		e.mustFail(1, []string{"No such image: nothing"}, "history", "nothing")
		e.mustFail(1, []string{"No such image: nothing"}, "image", "tree", "nothing")
	})
}

func TestImageMount(t *testing.T) {
	e := asRoot(t)
	base, above := madeTwice(t, e)
	at := e.must("image", "mount", above)
	t.Cleanup(func() { e.run("image", "unmount", "-af") })
	text, err := os.ReadFile(filepath.Join(at, "etc/added"))
	if err != nil || string(text) != "above" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Lstat(filepath.Join(at, "etc/group")); err == nil {
		t.Error("etc/group is there, which the layer removes")
	}
	if err := os.WriteFile(filepath.Join(at, "new"), nil, 0o600); err == nil {
		t.Error("the mount can be written")
	}
	expect(t, "mounted again", e.must("image", "mount", above), at)
	one := e.must("image", "mount", base) // of a single layer
	if _, err := os.Stat(filepath.Join(one, "etc/group")); err != nil {
		t.Error(err)
	}
	if list := e.must("image", "mount"); !strings.Contains(list, at) || !strings.Contains(list, above) || !strings.Contains(list, one) {
		t.Errorf("list:\n%s", list)
	}
	e.mustFail(1, []string{"is mounted at " + at}, "rmi", above)
	open, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	e.mustFail(1, []string{"somebody uses its mount"}, "image", "unmount", above)
	open.Close()
	e.must("image", "unmount", above)
	e.mustFail(1, []string{"is not mounted"}, "image", "unmount", above)
	e.must("image", "unmount", "-a")
	expect(t, "mounts", e.must("image", "mount"), "")
	asUser(t, true).mustFail(1, []string{"needs root"}, "image", "mount", "hello")
}
