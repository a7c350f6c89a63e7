package env

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestRegistryKeepsImages(t *testing.T) {
	Need(t, "docker-registry", "busybox")
	img, err := Busybox()
	if err != nil {
		t.Skip(err)
	}
	for _, auth := range []bool{false, true} {
		r, err := StartRegistry(t.TempDir(), auth)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Stop()
		if _, err := r.Push(img, "busybox:latest"); err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest("GET", "http://"+r.Addr+"/v2/busybox/manifests/latest", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", OCIManifest)
		if auth {
			req.SetBasicAuth(r.User, r.Pass)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		if res.Body.Close(); !bytes.Equal(got, img.Manifest.Data) {
			t.Errorf("the registry returns another manifest (auth %v): %s", auth, got)
		}
		if auth {
			res, err := http.Get("http://" + r.Addr + "/v2/busybox/manifests/latest")
			if err != nil {
				t.Fatal(err)
			}
			if res.Body.Close(); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("without a password: %s, want 401", res.Status)
			}
		}
	}
}

func TestSnapshotSeesWhatIsLeft(t *testing.T) {
	dir := t.TempDir()
	look := Look{State: []string{dir}, Cgroups: regexp.MustCompile("^$")}
	before := Snapshot(look)
	if diff := before.Settle(5 * time.Second); len(diff) > 0 {
		t.Errorf("differences on a host at rest:\n%s", strings.Join(diff, "\n"))
	}
	file, err := os.Create(filepath.Join(dir, "left"))
	if err != nil {
		t.Fatal(err)
	}
	diff := strings.Join(before.Diff(Snapshot(look)), "\n")
	for _, want := range []string{"file + " + file.Name(), "descriptor + "} {
		if !strings.Contains(diff, want) {
			t.Errorf("diff lacks %q:\n%s", want, diff)
		}
	}
	file.Close()
	os.Remove(file.Name())

	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if diff := strings.Join(before.Diff(Snapshot(look)), "\n"); !strings.Contains(diff, "state Z") {
		t.Errorf("a child nobody waited for is not seen: %s", diff)
	}
	cmd.Wait()
	if diff := before.Settle(5 * time.Second); len(diff) > 0 {
		t.Errorf("differences after all is gone:\n%s", strings.Join(diff, "\n"))
	}
}

func TestSnapshotSeesCgroupsAndMounts(t *testing.T) {
	NeedRoot(t)
	Need(t, "mount", "umount")
	dir := t.TempDir()
	before := Snapshot(Look{Cgroups: regexp.MustCompile("^$")})
	if out, err := exec.Command("mount", "-t", "tmpfs", "left", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a tmpfs: %s", out)
	}
	diff := strings.Join(before.Diff(Snapshot(Look{})), "\n")
	exec.Command("umount", dir).Run()
	if !strings.Contains(diff, "mount + ") || !strings.Contains(diff, dir) {
		t.Errorf("a mount left behind is not seen: %q", diff)
	}
}

func TestTerminal(t *testing.T) {
	term := StartTerminal(t, exec.Command("sh", "-c", `stty size; read line; echo "got $line"; exit 7`), 40, 100)
	term.Expect("40 100")
	term.Type("hello\n")
	term.Expect("got hello")
	if code := term.Wait(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
}

func TestTarKeepsBadNames(t *testing.T) {
	r := tar.NewReader(bytes.NewReader(Tar(File{Name: "../up", Body: "x"}, File{Name: "d/"}, File{Name: "/abs", Link: "/etc", Type: tar.TypeSymlink})))
	for _, want := range []string{"../up", "d/", "/abs"} {
		h, err := r.Next()
		if h == nil || h.Name != want {
			t.Errorf("entry %v (%v), want %s", h, err, want)
		}
	}
}
