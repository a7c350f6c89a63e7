package gpg

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Signatures that skopeo makes, with gpg, are good; and skopeo finds those good that we do.
func TestSkopeo(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("needs the program skopeo")
	}
	h := newHome(t)
	key := h.generate("Edda <edda@example.com>", "ed25519", "sign", "never")
	other := h.generate("Otto <otto@example.com>", "ed25519", "sign", "never")
	manifest, signature := filepath.Join(h.dir, "manifest"), filepath.Join(h.dir, "signature")
	if err := os.WriteFile(manifest, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	skopeo := func(args ...string) ([]byte, error) {
		cmd := exec.Command("skopeo", args...)
		cmd.Env = append(os.Environ(), "GNUPGHOME="+h.dir)
		return cmd.CombinedOutput()
	}
	const name = "registry.example/app:1"
	if out, err := skopeo("standalone-sign", manifest, name, key, "--output", signature); err != nil {
		t.Fatalf("skopeo standalone-sign: %v: %s", err, out)
	}
	data, err := os.ReadFile(signature)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Verify([][]byte{h.export(other), h.export(key)}, data, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got.Fingerprint != key || !strings.Contains(string(got.Payload), `"`+name+`"`) {
		t.Errorf("signed by %s: %s", got.Fingerprint, got.Payload)
	}
	verify := func(message []byte) (took bool, out string) {
		if err := os.WriteFile(signature, message, 0o600); err != nil {
			t.Fatal(err)
		}
		said, err := skopeo("standalone-verify", manifest, name, key, signature)
		return err == nil, string(said)
	}
	for kind, c := range map[string]struct {
		message []byte
		took    bool
	}{
		"ours to sign again": {h.sign(key, got.Payload), true},
		"two signatures":     {h.sign(key, got.Payload, "--local-user", other), false},
		"detached":           {h.gpg(got.Payload, "--local-user", key, "--output", "-", "--detach-sign"), false},
		"not signed":         {h.gpg(got.Payload, "--output", "-", "--store"), false},
	} {
		_, err := Verify([][]byte{h.export()}, c.message, time.Now())
		took, out := verify(c.message)
		if took != c.took || (err == nil) != c.took {
			t.Errorf("%s: skopeo takes it: %v (%s); ours: %v", kind, took, out, err)
		}
	}
}
