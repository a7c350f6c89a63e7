package trust

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
)

// A GPG key that lies beside known_signers is what a first meeting is checked
// with; its fingerprint is remembered.
func TestGPGKnownSigner(t *testing.T) {
	v := needVerifier(t)
	p := newPeers(t)
	one, oneFile := p.newGPG(t, "one")
	two, twoFile := p.newGPG(t, "two")
	for to, by := range map[string]string{"app:v1": one, "app:v2": one} {
		p.skopeo(t, "copy", "--dest-tls-verify=false", "--sign-by", by, "dir:"+p.dir, "docker://"+p.reg.Addr+"/"+to)
	}
	other := filepath.Join(p.home, "lookaside-two")
	o := Options{Verifier: v, Policy: policyFile(t, silent)}
	decide := func(name string) (Verdict, error) {
		t.Helper()
		ref := mustParse(t, p.reg.Addr+"/"+name)
		client, err := registry.New(ref.Domain)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_, _, d, err := client.Manifest(t.Context(), reference.Reference{Domain: ref.Domain, Path: ref.Path, Tag: ref.Tag})
		if err != nil {
			t.Fatal(err)
		}
		img := Image{Transport: "docker", Ref: ref, Digests: []oci.Digest{d}}
		return o.Decide(t.Context(), img, Registry(client, img))
	}
	if got, err := decide("app:v1"); err != nil || got.Signed() || !strings.Contains(got.Message, "needs the signer's key") {
		t.Errorf("without a key: %+v, %v", got, err)
	}
	keys := filepath.Join(p.home, "conf/loper", keysDir)
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{oneFile, twoFile} {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(keys, filepath.Base(file)), body)
	}
	got, err := decide("app:v1")
	if err != nil || got.Rule != ByFirst || !strings.EqualFold(got.Signers[0].Fingerprint, one) || !strings.Contains(got.Message, "one@example.com") {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := decide("app:v2"); err != nil || got.Rule != ByKnown {
		t.Errorf("%+v, %v", got, err)
	}
	// Somebody else's signature in place of theirs.
	if err := os.Rename(filepath.Join(p.home, "lookaside"), other); err != nil {
		t.Fatal(err)
	}
	_, err = decide("app:v2")
	wantRefused(t, err, "the GPG key "+got.Signers[0].Fingerprint, "not signed")
	p.skopeo(t, "copy", "--dest-tls-verify=false", "--sign-by", two, "dir:"+p.dir, "docker://"+p.reg.Addr+"/app:v3")
	_, err = decide("app:v3")
	wantRefused(t, err, "one@example.com", "two@example.com", "loper image trust rm "+p.reg.Addr+"/app")
}
