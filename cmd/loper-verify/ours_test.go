package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
)

// ValidAtTime says that the key is good at any time.
func (*forEver) ValidAtTime(time.Time) bool { return true }

// What "loper image sign" writes is good for sigstore's library, and for real cosigns where LOPER_COSIGN names some.
func TestLoperSigns(t *testing.T) {
	registry, err := env.StartRegistry(t.TempDir(), false)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(registry.Stop)
	dir := t.TempDir()
	if err := env.Build(dir); err != nil {
		t.Fatal(err)
	}
	image := env.NewImage(env.RunConfig{Cmd: []string{"/hello"}}, env.Gzipped(env.Tar(env.File{Name: "hello", Mode: 0o755, Body: "hello\n"})))
	digest := image.Manifest.Digest()
	command := func(program string, args ...string) ([]byte, error) {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=test", "HOME="+dir, "XDG_CONFIG_HOME="+dir, "LOPER_ROOT="+filepath.Join(dir, "root"), "LOPER_RUNROOT="+filepath.Join(dir, "run"))
		return cmd.CombinedOutput()
	}
	public := filepath.Join(vectors, "cosign.pub")
	for _, form := range []string{"tag", "bundle"} {
		name, err := registry.Push(image, form+":v1")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := command(filepath.Join(dir, "loper"), "image", "sign", "--form", form, "--key", filepath.Join(vectors, "cosign.key"), name); err != nil {
			t.Fatalf("loper image sign: %v: %s", err, out)
		}
		l := newLayout()
		s := l.beside(t, digest, l.add(t, registry.Addr, form))
		if form == "bundle" {
			checkKeyBundle(t, form, s.Bundle, digest, readFile(t, public))
		}
		for _, cosign := range filepath.SplitList(os.Getenv("LOPER_COSIGN")) {
			out, _ := exec.Command(cosign, "version").Output()
			old := strings.Contains(string(out), "v2.")
			args := []string{"verify", "--key", public, "--allow-insecure-registry", "--insecure-ignore-tlog", name}
			if form == "bundle" {
				if old { // it wants a trust root even for a key
					args = append(args, "--trusted-root", filepath.Join(vectors, "trusted_root.json"), "--new-bundle-format")
				}
			} else {
				args = append(args, "--new-bundle-format=false")
			}
			if out, err := command(cosign, args...); err != nil || !strings.Contains(string(out), digest) {
				t.Errorf("%s %s: %v: %s", cosign, strings.Join(args, " "), err, out)
			}
		}
	}
}
