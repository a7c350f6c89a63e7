package engines_test

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loper.run/test/env"
)

// loperOf is loper with a state of its own beside an engine.
func loperOf(e *engine) func(args ...string) string {
	program := filepath.Join(filepath.Dir(lope), "loper")
	return func(args ...string) string {
		e.t.Helper()
		cmd := exec.Command(program, append([]string{"--root", filepath.Join(e.dir, "loper"), "--runroot", filepath.Join(e.dir, "loper-run")}, args...)...)
		cmd.Env = append(e.environ, "LC_ALL=C.UTF-8")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			e.t.Fatalf("loper %v: %v\n%s%s", args, err, out, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
}

// Docker loads what loper saves, loper loads what docker saves, and the image
// stays the same one.
func TestDockerArchives(t *testing.T) {
	t.Parallel()
	e := docker(t, "docker-archives")
	loper := loperOf(e)
	path := func(name string) string { return filepath.Join(e.dir, name) }
	id := e.must("image", "inspect", "--format", "{{.Id}}", image)
	e.must("tag", image, "test.local/again:2")
	e.must("save", "--output", path("docker.tar"), image, "test.local/again:2")
	if got := loper("load", "-i", path("docker.tar")); got != "Loaded image: test.local/again:2\nLoaded image: "+image && got != "Loaded image: "+image+"\nLoaded image: test.local/again:2" {
		t.Errorf("loper load says %q", got)
	}
	if got := loper("inspect", "--format", "{{.Id}}", image); got != id {
		t.Errorf("loaded it is %s, not %s", got, id)
	}
	loper("save", "-o", path("loper.tar"), image, "test.local/again:2")
	e.must("rmi", "--force", image, "test.local/again:2")
	if got := e.must("load", "--input", path("loper.tar")); !strings.Contains(got, "Loaded image: "+image) || !strings.Contains(got, "Loaded image: test.local/again:2") {
		t.Errorf("docker load says %q", got)
	}
	e.want(id, "image", "inspect", "--format", "{{.Id}}", image)
	// What a container was made of, through both engines' tars.
	e.must("create", "--name", "made", "--network", "none", image)
	e.must("export", "--output", path("docker-root.tar"), "made")
	loper("import", "-c", `CMD ["cat", "/etc/passwd"]`, "-c", "ENV PATH=/bin", path("docker-root.tar"), "test.local/imported:1")
	loper("create", "--name", "mine", "test.local/imported:1")
	loper("export", "-o", path("loper-root.tar"), "mine")
	if diff := compareTars(t, path("docker-root.tar"), path("loper-root.tar")); len(diff) > 0 {
		t.Errorf("docker's export, and loper's of what it imported of that:\n%s", strings.Join(diff, "\n"))
	}
	e.must("import", "--change", `CMD ["true"]`, path("loper-root.tar"), "test.local/imported:1")
	e.must("run", "--rm", "--network", "none", "test.local/imported:1")
	e.must("rm", "made")
	// A container's changes, as docker shows and keeps them.
	change := "rm /etc/group; echo x >> /etc/passwd; mkdir -p /new/dir; ln -s a /new/link; chmod 700 /home; rm -r /home/worker; mkdir /home/worker; touch /home/worker/f"
	e.must("run", "--name", "changed", "--network", "none", image, "sh", "-c", change)
	loper("run", "--network", "none", "--name", "changed", image, "sh", "-c", change)
	docker, ours := strings.Fields(strings.ReplaceAll(e.must("diff", "changed"), " ", ":")), strings.Fields(strings.ReplaceAll(loper("diff", "changed"), " ", ":"))
	slices.Sort(docker)
	slices.Sort(ours)
	if !slices.Equal(docker, ours) {
		t.Errorf("docker diff: %v\nloper diff:  %v", docker, ours)
	}
	loper("commit", "-m", "words", "-a", "me", "-c", `CMD ["sh", "-c", "ls /etc /new; stat -c %a /home"]`, "changed", "test.local/committed:1")
	loper("save", "-o", path("committed.tar"), "test.local/committed:1")
	e.must("load", "--input", path("committed.tar"))
	e.want("/etc:\nhostname\nhosts\nmtab\npasswd\nresolv.conf\n\n/new:\ndir\nlink\n700", "run", "--rm", "--network", "none", "test.local/committed:1")
	e.want("words me", "image", "inspect", "--format", "{{.Comment}} {{.Author}}", "test.local/committed:1")
	e.must("rm", "changed")
	loper("rm", "changed", "mine")
}

// compareTars lists what is different in two tars of root file systems, but for
// what engines put there for themselves.
func compareTars(t *testing.T, a, b string) (diff []string) {
	t.Helper()
	x, y := tarList(t, a), tarList(t, b)
	for name, line := range x {
		if y[name] != line {
			diff = append(diff, fmt.Sprintf("%s: %s | %s", name, line, y[name]))
		}
	}
	for name, line := range y {
		if x[name] == "" {
			diff = append(diff, fmt.Sprintf("%s: | %s", name, line))
		}
	}
	slices.Sort(diff)
	return diff
}

func tarList(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.Trim(h.Name, "./")
		if name == "" {
			continue
		}
		all[name] = fmt.Sprintf("%c %o %d:%d %d %q %s", h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.ModTime.Unix(), h.Linkname, env.Digest(data))
	}
}

// Podman and skopeo read and write every form, and digests stay.
func TestPodmanArchives(t *testing.T) {
	t.Parallel()
	env.Need(t, "skopeo")
	e := podman(t, "podman-archives", nil)
	loper := loperOf(e)
	path := func(name string) string { return filepath.Join(e.dir, name) }
	for _, form := range []string{"docker-archive", "oci-archive", "oci-dir", "docker-dir"} {
		e.section(form, func(t *testing.T) {
			at := path("podman-" + form)
			e.must("save", "--quiet", "--format", form, "--output", at, image)
			got := loper("load", "-i", at)
			// Podman has written the configuration anew, in the form's own way.
			there, found := strings.CutPrefix(got, "Loaded image ID: sha256:")
			if form == "docker-dir" && !found || form != "docker-dir" && got != "Loaded image: "+image {
				t.Errorf("loper load says %q", got)
			}
			what := "sha256:" + there
			if form != "docker-dir" {
				there, what = strings.TrimPrefix(loper("inspect", "--format", "{{.Id}}", image), "sha256:"), image
			}
			back := path("loper-" + form)
			loper("save", "--format", form, "-o", back, what)
			e.must("rmi", "--all", "--force")
			if got := e.must("load", "--input", back); !strings.Contains(got, "Loaded image: ") {
				t.Errorf("podman load says %q", got)
			}
			if got := e.must("images", "--no-trunc", "--quiet"); !strings.Contains(got, there) {
				t.Errorf("loaded it is %s, not %s", got, there)
			}
			e.run("tag", there, image)
		})
	}
	e.section("several", func(t *testing.T) {
		e.must("tag", image, "test.local/other:3")
		e.must("save", "--quiet", "--multi-image-archive", "--output", path("several.tar"), image, "test.local/other:3")
		got := strings.Split(loper("load", "-i", path("several.tar")), "\n")
		slices.Sort(got)
		if !slices.Equal(got, []string{"Loaded image: " + image, "Loaded image: test.local/other:3"}) {
			t.Errorf("loper load says %v", got)
		}
	})
	e.section("skopeo", func(t *testing.T) {
		loper("load", "-i", path("podman-oci-archive"))
		loper("save", "--format", "oci-dir", "-o", path("layout"), image)
		id := loper("inspect", "--format", "{{.Id}}", image)
		var index struct{ Manifests []struct{ Digest string } }
		data, err := os.ReadFile(path("layout/index.json"))
		if err != nil || json.Unmarshal(data, &index) != nil || len(index.Manifests) != 1 {
			t.Fatalf("index.json: %s, %v", data, err)
		}
		digest := index.Manifests[0].Digest
		loper("save", "--format", "oci-archive", "-o", path("s.oci"), image)
		loper("save", "--format", "docker-dir", "-o", path("s.dir"), image)
		for _, from := range []string{"oci:" + path("layout"), "oci-archive:" + path("s.oci"), "dir:" + path("s.dir")} {
			out, err := exec.Command("skopeo", "inspect", "--format", "{{.Digest}}", from).CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != digest {
				t.Errorf("skopeo inspect %s: %s, %v; want %s", from, out, err, digest)
			}
			for i, to := range []string{"oci:", "oci-archive:", "dir:", "docker-archive:"} {
				at := path(fmt.Sprintf("copy-%s-%d", strings.ReplaceAll(strings.Split(from, ":")[0], "-", ""), i))
				name := ""
				if to != "dir:" {
					name = ":" + image
				}
				if out, err := exec.Command("skopeo", "copy", "--insecure-policy", "--quiet", from, to+at+name).CombinedOutput(); err != nil {
					t.Errorf("skopeo copy %s %s: %s, %v", from, to, out, err)
					continue
				}
				got := loper("load", "-i", at)
				want := "Loaded image: " + image
				if to == "dir:" {
					want = "Loaded image ID: " + id
				}
				if got != want {
					t.Errorf("loaded what skopeo made of %s for %s: %q", from, to, got)
				}
			}
		}
		loper("save", "-o", path("s.docker"), image)
		out, err := exec.Command("skopeo", "inspect", "--config", "--raw", "docker-archive:"+path("s.docker")).Output()
		if err != nil || env.Digest(out) != id {
			t.Errorf("skopeo reads another configuration of docker-archive: %s, %v", out, err)
		}
	})
	e.must("rmi", "--all", "--force")
}
