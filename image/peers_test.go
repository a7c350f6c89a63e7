package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/image/oci"
	"loper.run/test/env"
)

// peer runs another engine's program on stores of its own.
func peer(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	stores := []string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}
	cmd := exec.Command(program, append(stores, args...)...)
	cmd.Env = append(os.Environ(), "REGISTRY_AUTH_FILE=", "DOCKER_CONFIG=", "XDG_CONFIG_HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// What we push, podman and buildah pull, as the same image; what they push, we pull.
func TestPeersPullAndPush(t *testing.T) {
	env.Need(t, "docker-registry", "podman", "buildah")
	if os.Geteuid() != 0 {
		t.Skip("needs root: layers of other users' files are unpacked")
	}
	t.Setenv("REGISTRY_AUTH_FILE", "")
	f := newFake(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	f.image(t, "latest", oci.Host(), gz(t, "a", "one"), zst(t, "b", "two"), plain(t, "c", "three"))
	s := open(t)
	from := f.Listener.Addr().String() + "/r"
	img := mustPull(t, s, from, "")
	reg, err := env.StartRegistry(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Stop)
	mustPush(t, s, from, reg.Addr+"/ours", PushOptions{})
	if _, err := s.CreateList(t.Context(), "list", []string{from}, ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PushList(t.Context(), "list", reg.Addr+"/list", ListPush{}); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"podman", "buildah"} {
		dir := t.TempDir()
		for _, name := range []string{reg.Addr + "/ours", reg.Addr + "/list"} {
			out := peer(t, dir, program, "pull", "--quiet", "--tls-verify=false", name)
			if !strings.HasSuffix(out, img.ID.Hex()) {
				t.Errorf("%s pulled %s as %s, want %s", program, name, out, img.ID)
			}
		}
		theirs := reg.Addr + "/" + program
		digest := filepath.Join(dir, "digest")
		peer(t, dir, program, "push", "--tls-verify=false", "--digestfile", digest, img.ID.Hex(), theirs)
		want, err := os.ReadFile(digest)
		if err != nil {
			t.Fatal(err)
		}
		got := mustPull(t, s, theirs, "")
		if got.ID != img.ID || got.Manifest.String() != string(want) || read(t, got, "b") != "two" {
			t.Errorf("what %s pushed is %s with the manifest %s, want %s with %s", program, got.ID, got.Manifest, img.ID, want)
		}
		if program != "podman" {
			continue
		}
		// Its lists are ours, too.
		peer(t, dir, program, "manifest", "create", "theirs")
		peer(t, dir, program, "manifest", "add", "--tls-verify=false", "theirs", "docker://"+reg.Addr+"/ours")
		peer(t, dir, program, "manifest", "push", "--tls-verify=false", "--all", "theirs", "docker://"+reg.Addr+"/theirs")
		if got := mustPull(t, open(t), reg.Addr+"/theirs", ""); got.ID != img.ID {
			t.Errorf("podman's list leads to %s, want %s", got.ID, img.ID)
		}
	}
}

// A registry that is down is told in a line.
func TestPushToRegistryThatIsDown(t *testing.T) {
	env.Need(t, "docker-registry")
	t.Setenv("REGISTRY_AUTH_FILE", "")
	f := newFake(t)
	f.image(t, "latest", oci.Host(), plain(t, "a", "x"))
	s := open(t)
	from := f.name()
	mustPull(t, s, from, "")
	reg, err := env.StartRegistry(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	reg.Stop()
	_, err = s.Push(t.Context(), from, reg.Addr+"/a", PushOptions{})
	wantError(t, err, "connection refused", "is it running?")
}
