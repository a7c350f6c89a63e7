package e2e_test

import (
	"strings"
	"testing"

	"loper.run/test/env"
)

func TestRemoveImages(t *testing.T) {
	e := asRoot(t)
	base, above := madeTwice(t, e)
	id := e.must("inspect", "--format", "{{.Id}}", base)
	hex := strings.TrimPrefix(id, "sha256:")
	ctr := e.must("create", base)[:12]
	e.mustFail(1, []string{"conflict: unable to remove repository reference \"" + base + "\" (must force) - container " + ctr + " is using its referenced image " + hex[:12]}, "rmi", base)
	e.mustFail(1, []string{"conflict: unable to delete " + hex[:12] + " (cannot be forced) - image is being used by stopped container " + ctr}, "rmi", hex[:12])
	e.must("tag", base, "other/name:1")
	e.mustFail(1, []string{"conflict: unable to delete " + hex[:12] + " (must be forced) - image is referenced in multiple repositories"}, "rmi", hex)

	// Names go, the image stays.
	e.mustFail(1, []string{"is no name of image"}, "untag", base, "other/name:2")
	e.must("untag", base, "other/name:1")
	e.mustFail(1, []string{"No such image: other/name:1"}, "untag", "other/name:1")
	e.must("untag", base)
	expect(t, "an image without names", e.must("images", "--filter", "dangling=true", "--format", "{{.Repository}} {{.ID}}"), "<none> "+hex[:12])
	expect(t, "its container", e.must("start", "-a", ctr)+e.must("run", "--rm", hex[:12], "echo", "runs"), "runs")
	if out := e.must("image", "prune", "-f"); !strings.HasPrefix(out, "Total reclaimed space: ") {
		t.Error(out)
	}
	e.must("rm", ctr)

	e.must("rmi", "--ignore", "nothing:1")
	e.mustFail(1, []string{"No such image: nothing:1"}, "rmi", "nothing:1")
	e.mustFail(1, []string{"--all takes no images"}, "rmi", "--all", above)
	if out := e.must("rmi", "--all"); strings.Count(out, "Deleted: ") != 2 {
		t.Error(out)
	}
	expect(t, "images", e.must("images", "-aq"), "")
	e.sameAsDu("without images")
}

// The configured budget is kept after each pull, the image just pulled stays, and so does what a container needs.
func TestKeepStorage(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		one := pushed(t, "budget:1", func() (*env.Image, error) { return bigImage(2), nil })
		two := pushed(t, "budget:2", func() (*env.Image, error) { return bigImage(2), nil })
		three := pushed(t, "budget:3", func() (*env.Image, error) { return bigImage(2), nil })
		e.must("pull", "-q", one)
		all := e.df()["Images"].RawSize
		if out := e.must("image", "prune", "-f", "--keep-storage", "1GB"); out != "Total reclaimed space: 0B" {
			t.Error(out)
		}
		e.must("create", "--name", "needs-one", one)
		e.writeFile(e.home+"/config.toml", "[image]\nkeep-storage = \"5MB\"\n", 0o644)
		e.environ = append(e.environ, "LOPER_CONFIG="+e.home+"/config.toml")
		e.must("pull", "-q", two)
		r := e.run("pull", "-q", three)
		if r.code != 0 || !strings.Contains(r.stderr, "Untagged: "+two) || !strings.Contains(r.stderr, ", to keep within 5MB") {
			t.Errorf("%v", r)
		}
		if left := e.must("images", "--format", "{{.Repository}}:{{.Tag}}"); !strings.Contains(left, one) || !strings.Contains(left, three) || strings.Contains(left, two) {
			t.Errorf("left: %s", left)
		}
		if now := e.df()["Images"].RawSize; now > 5e6 || now < all/3 {
			t.Errorf("%d bytes", now)
		}
		e.must("rm", "needs-one")
		if out := e.must("image", "prune", "-f", "--keep-storage", "3MB"); !strings.Contains(out, "untagged: "+one) || strings.Contains(out, three) {
			t.Error(out)
		}
		e.sameAsDu("shrunk")
		expect(t, "damage", e.must("system", "check", "--deep", "-m", "0s"), "")
		e.writeFile(e.home+"/config.toml", "[image]\nkeep = 5\n", 0o644)
		if r := e.run("pull", "-q", three); !strings.Contains(r.stderr, `config.toml:2: there is no key "image.keep"`) {
			t.Errorf("%v", r)
		}
	})
}
