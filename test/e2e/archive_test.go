package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// What a container made becomes an image, goes through archives and comes back,
// for root and for ordinary users alike.
func TestCommitSaveLoad(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		img, err := env.Busybox()
		if err != nil {
			t.Skip(err)
		}
		base := pushed(t, "archive:base", func() (*env.Image, error) { return img, nil })
		e.must("pull", "-q", base)
		e.must("run", "--name", "c", "-e", "A=b", base, "sh", "-c", "rm /etc/group; echo x > /new; chown 1000:2000 /new; chmod 4711 /new; ln /new /again; rm -r /home; mkdir /home")
		expect(t, "diff", e.must("diff", "c"), "A /again\nC /etc\nD /etc/group\nC /home\nD /home/worker\nA /new")
		id := e.must("commit", "-m", "words", "-c", `CMD ["sh", "-c", "stat -c '%a %u %g %h' /new; ls /home /etc/group"]`, "c", "made:1")
		want := "4711 1000 2000 2"
		if e.user != nil && !e.user.Ranges {
			want = "4711 0 0 2" // there is one id to own files
		}
		said := e.run("run", "--rm", "made:1")
		if !strings.HasPrefix(said.stdout, want) || strings.Contains(said.stdout, "worker") {
			t.Errorf("inside: %v", said)
		}
		dir := e.directory()
		file := filepath.Join(dir, "images.tar")
		e.must("save", "-o", file, "made", base)
		e.must("rm", "c")
		e.must("rmi", "made:1", base)
		got := e.must("load", "-i", file)
		if !strings.Contains(got, "Loaded image: made:1") || !strings.Contains(got, "Loaded image: "+base) {
			t.Errorf("load: %q", got)
		}
		expect(t, "id", e.must("inspect", "--format", "{{.Id}}", "made:1"), id)
		if said := e.run("run", "--rm", "made:1"); !strings.HasPrefix(said.stdout, want) {
			t.Errorf("inside, after the way through an archive: %v", said)
		}
		// A file system without its history.
		root := filepath.Join(dir, "root.tar")
		e.must("create", "--name", "d", "made:1")
		e.must("export", "-o", root, "d")
		e.must("rm", "d")
		e.must("import", "-c", "ENV PATH=/bin", root, "flat:1")
		if said := e.run("run", "--rm", "flat:1", "sh", "-c", "stat -c '%a %u %g %h' /new; ls /home"); strings.TrimSpace(said.stdout) != want {
			t.Errorf("imported: %v", said)
		}
		expect(t, "image diff", e.must("image", "diff", "made:1"), "A /again\nC /etc\nD /etc/group\nC /home\nD /home/worker\nA /new")
		for _, form := range []string{"oci-dir", "docker-dir", "oci-archive"} {
			at := filepath.Join(dir, form)
			e.must("save", "--format", form, "-o", at, id)
			expect(t, form, e.must("load", "-i", at), "Loaded image ID: "+id)
		}
		if _, err := os.Stat(filepath.Join(dir, "oci-dir/oci-layout")); err != nil {
			t.Error(err)
		}
		e.mustFail(1, []string{"No such image: nothing"}, "save", "-o", filepath.Join(dir, "x"), "nothing")
		e.mustFail(1, []string{"not an archive of images"}, "load", "-i", root)
		e.mustFail(1, []string{"only https"}, "import", "http://192.0.2.1/x.tar")
		e.mustFail(1, []string{"No such container: nothing"}, "export", "nothing")
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// The same work makes the same image, whoever does it.
func TestCommitIsReproducible(t *testing.T) {
	img, err := env.Busybox()
	if err != nil {
		t.Skip(err)
	}
	base := pushed(t, "archive:same", func() (*env.Image, error) { return img, nil })
	ids := map[string]string{}
	for name, e := range map[string]*engine{"root": asRoot(t), "root again": asRoot(t), "user": asUser(t, true)} {
		e.environ = append(e.environ, "SOURCE_DATE_EPOCH=1000000000")
		e.must("pull", "-q", base)
		files := "for f in b a d c; do echo $f > /etc/$f; done"
		if name == "root again" {
			files = "for f in d c a; do echo $f > /etc/$f; done; echo b > /etc/b" // in another order
		}
		e.must("run", "--name", "c", base, "sh", "-c", files+"; chown 7:8 /etc/c; ln /etc/d /e; rm /etc/group; ln -s x /l; mkfifo /p")
		e.must("commit", "-c", "CMD true", "c", "made")
		ids[name] = e.must("inspect", "--format", "{{json .RootFS.Layers}}", "made")
	}
	if ids["root"] != ids["root again"] || ids["root"] != ids["user"] || ids["root"] == "" {
		t.Errorf("layers differ: %v", ids)
	}
}
