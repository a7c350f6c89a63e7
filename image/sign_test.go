package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/image/oci"
	"loper.run/image/trust"
	"loper.run/test/env"
)

// signer is a new key, and the files it is in.
func signer(t testing.TB) (k trust.PrivateKey, private, public string) {
	t.Helper()
	secret, pub, err := trust.GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if k, err = trust.ParsePrivateKey(secret, func() ([]byte, error) { return []byte("secret"), nil }); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	private, public = filepath.Join(dir, "my.key"), filepath.Join(dir, "my.pub")
	for file, text := range map[string][]byte{private: secret, public: pub} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return k, private, public
}

// trusting gives a test a user without a policy and without known signers.
func trusting(t testing.TB) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "conf"))
	for _, v := range []string{"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"} {
		t.Setenv(v, "/nonexistent")
	}
}

var both = trust.Forms{Cosign: true, Bundle: true}

// smallImage is an image with one file.
func smallImage(body string) *env.Image {
	return env.NewImage(env.RunConfig{Cmd: []string{body}}, env.Gzipped(env.Tar(env.File{Name: "a", Body: body, UID: os.Getuid(), GID: os.Getgid()})))
}

// cosign verifies what we sign, and we what cosign signs with our key, in a
// registry with and without a referrers API.
func TestSignForCosign(t *testing.T) {
	programs := os.Getenv("LOPER_COSIGN")
	if programs == "" {
		t.Skip("needs cosign: set LOPER_COSIGN to one or several of them, parted by colons")
	}
	env.Need(t, "docker-registry")
	trusting(t)
	reg, err := env.StartRegistry(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Stop)
	lists := env.NewWritable(t)
	lists.Lists = true
	k, private, public := signer(t)
	s := open(t)
	for i, program := range filepath.SplitList(programs) {
		cosign := func(args ...string) error {
			cmd := exec.Command(program, args...)
			cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=secret")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", args, err, out)
			}
			return nil
		}
		for _, addr := range []string{reg.Addr, lists.Addr} {
			push := func(name string) string {
				t.Helper()
				r := &env.Registry{Addr: addr}
				full, err := r.Push(smallImage(name), name)
				if err != nil {
					t.Fatal(err)
				}
				return full
			}
			for _, form := range []trust.Forms{{Cosign: true}, {Bundle: true}} {
				name := push(fmt.Sprintf("ours%d-%v:v1", i, form.Bundle))
				if _, err := Sign(t.Context(), name, SignOptions{Key: k, Forms: form}); err != nil {
					t.Fatal(err)
				}
				args := []string{"verify", "--key", public, "--insecure-ignore-tlog=true", "--allow-insecure-registry", "--allow-http-registry", fmt.Sprintf("--new-bundle-format=%v", form.Bundle)}
				if form.Bundle { // cosign wants a root though a key needs none
					args = append(args, "--trusted-root", filepath.Join(env.Source(), "image/trust/testdata/cosign/trusted_root.json"))
				}
				if err := cosign(append(args, name)...); err != nil {
					t.Error(err)
				}
			}
			name := push(fmt.Sprintf("theirs%d:v1", i))
			err := cosign("sign", "--yes", "--key", private, "--tlog-upload=false", "--use-signing-config=false", "--allow-insecure-registry", "--allow-http-registry", name)
			if err != nil && strings.Contains(err.Error(), "unknown flag") {
				err = cosign("sign", "--yes", "--key", private, "--tlog-upload=false", "--allow-insecure-registry", "--allow-http-registry", name)
			}
			if err != nil {
				t.Error(err)
				continue
			}
			if _, list, err := s.Verify(t.Context(), name, PullOptions{}, &trust.Who{Keys: []trust.Key{k.Public}}); err != nil || len(list) == 0 {
				t.Errorf("%s signed %s: %v, %v", program, name, list, err)
			}
		}
	}
}

// All platforms of an index can be signed, and either signature is enough.
func TestSignIndex(t *testing.T) {
	trusting(t)
	lists := env.NewWritable(t)
	r := &env.Registry{Addr: lists.Addr}
	arch := oci.Host().Architecture
	name, err := r.PushIndex("r:v1", env.Platform{OS: "linux", Arch: arch, Image: smallImage("a")}, env.Platform{OS: "linux", Arch: "s390x", Image: env.NewImageFor("linux", "s390x", env.RunConfig{}, env.Plain(env.Tar(env.File{Name: "b"})))})
	if err != nil {
		t.Fatal(err)
	}
	k, _, _ := signer(t)
	signed, err := Sign(t.Context(), name, SignOptions{Key: k, Forms: both, Recursive: true})
	if err != nil || len(signed) != 3 {
		t.Fatalf("%v, %v", signed, err)
	}
	s := open(t)
	v, _, err := s.Verify(t.Context(), name, PullOptions{Trust: trust.Options{Require: true}}, nil)
	if err != nil || len(v.Digests) != 2 || v.Digests[0] != signed[0] {
		t.Errorf("%+v, %v", v, err)
	}
	// Signed again it has no second signature of the same.
	if _, err := Sign(t.Context(), name, SignOptions{Key: k, Forms: trust.Forms{Cosign: true}}); err != nil {
		t.Fatal(err)
	}
}
