package trust

import (
	"crypto/elliptic"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/image/oci"
)

// vectors are signatures that loper-verify's fake sigstore made, as cosign
// writes them down; see cmd/loper-verify/fakesigstore/vectors.
type vectors struct {
	TrustedRoot                json.RawMessage
	CA, Log, Key               string
	Digest                     oci.Digest
	Reference, Issuer, Subject string

	Annotated, AnnotatedMallory, AnnotatedLate, KeyLogged     Signature
	Bundle, BundleMallory, BundleAttestation, BundleElsewhere Signature
}

func loadVectors(t testing.TB) (v vectors) {
	t.Helper()
	data, err := os.ReadFile("testdata/keyless.json")
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func writeFile(t testing.TB, path string, body []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A key's signature whose entry in a transparency log a policy asks for.
func TestLoggedSignature(t *testing.T) {
	dir := home(t)
	v := loadVectors(t)
	img := dockerImage(t, v.Reference+":v1", v.Digest)
	key, log := writeFile(t, dir+"/key.pub", []byte(v.Key)), writeFile(t, dir+"/log.pub", []byte(v.Log))
	other := writeFile(t, dir+"/other.pub", publicKey(t, ecKey(t, elliptic.P256())).PEM())
	policy := func(log string) string {
		return policyFile(t, `{"default":[{"type":"sigstoreSigned","keyPath":"`+key+`","rekorPublicKeyPath":"`+log+`","signedIdentity":{"type":"matchRepository"}}]}`)
	}
	got, err := Options{Policy: policy(log)}.Decide(t.Context(), img, found(v.KeyLogged))
	if err != nil || !got.Signed() {
		t.Fatal(err)
	}
	_, err = Options{Policy: policy(other)}.Decide(t.Context(), img, found(v.KeyLogged))
	wantRefused(t, err, "no known transparency log")
	change := func(from, to string) Signature {
		s := v.KeyLogged
		s.Annotations = map[string]string{annotationSignature: s.Annotations[annotationSignature], annotationRekor: strings.Replace(s.Annotations[annotationRekor], from, to, 1)}
		return s
	}
	for name, s := range map[string]Signature{
		"another time":  change(`"integratedTime":1`, `"integratedTime":2`),
		"another index": change(`"logIndex":1`, `"logIndex":2`),
		"doubled":       change(`"logIndex"`, `"logIndex":1,"logIndex"`),
		"empty":         change(v.KeyLogged.Annotations[annotationRekor], `{}`),
		"missing":       change(v.KeyLogged.Annotations[annotationRekor], ``),
		"huge index":    change(`"logIndex":1`, `"logIndex":99999999999999999999991`),
		"of another's signature": func() Signature { // an entry that the log made, of something else
			return change(v.KeyLogged.Annotations[annotationRekor], v.Annotated.Annotations[annotationRekor])
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Options{Policy: policy(log)}.Decide(t.Context(), img, found(s))
			wantRefused(t, err)
		})
	}
	// Where no policy speaks the entry is what a first meeting knows the key from.
	got, err = Options{Policy: policyFile(t, silent)}.Decide(t.Context(), img, found(v.KeyLogged))
	if err != nil || got.Rule != ByFirst || !strings.Contains(got.Message, "the key sha256:") {
		t.Errorf("%+v, %v", got, err)
	}
}

// Certificates of people, by a policy's authority.
func TestFulcioPolicy(t *testing.T) {
	verifier := needVerifier(t)
	dir := home(t)
	v := loadVectors(t)
	img := dockerImage(t, v.Reference+":v1", v.Digest)
	ca, log := writeFile(t, dir+"/ca.pem", []byte(v.CA)), writeFile(t, dir+"/log.pub", []byte(v.Log))
	policy := func(issuer, email string) Options {
		return Options{Verifier: verifier, Policy: policyFile(t, `{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"`+ca+`","oidcIssuer":"`+issuer+`","subjectEmail":"`+email+`"},"rekorPublicKeyPath":"`+log+`","signedIdentity":{"type":"matchRepository"}}]}`)}
	}
	got, err := policy(v.Issuer, v.Subject).Decide(t.Context(), img, found(v.AnnotatedMallory, v.Annotated))
	if err != nil || got.Signer() != "release@example.com (known to https://accounts.example)" {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		o Options
		s Signature
	}{
		"a wrong person":         {policy(v.Issuer, v.Subject), v.AnnotatedMallory},
		"a wrong issuer":         {policy("https://evil.example", v.Subject), v.Annotated},
		"part of a name":         {policy(v.Issuer, "release@example.co"), v.Annotated},
		"an expired certificate": {policy(v.Issuer, v.Subject), v.AnnotatedLate},
		"a key's":                {policy(v.Issuer, v.Subject), v.KeyLogged},
		"without a certificate":  {policy(v.Issuer, v.Subject), Signature{Form: Cosign, Body: v.Annotated.Body, Of: v.Digest, Annotations: map[string]string{annotationSignature: v.Annotated.Annotations[annotationSignature], annotationRekor: v.Annotated.Annotations[annotationRekor]}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.o.Decide(t.Context(), img, found(c.s))
			wantRefused(t, err)
		})
	}
	_, err = policy(v.Issuer, v.Subject).Decide(t.Context(), dockerImage(t, v.Reference+":v1", digestOf("other")), found(v.Annotated))
	wantRefused(t, err)
	_, err = policy(v.Issuer, v.Subject).Decide(t.Context(), dockerImage(t, "registry.example/other:v1", v.Digest), found(v.Annotated))
	wantRefused(t, err, "registry.example/app")
}

// A person who signs a repository is remembered by name and issuer.
func TestKeylessKnownSigner(t *testing.T) {
	verifier := needVerifier(t)
	dir := home(t)
	v := loadVectors(t)
	o := Options{Verifier: verifier, Policy: policyFile(t, silent)}
	img := dockerImage(t, v.Reference+":v1", v.Digest)
	got, err := o.Decide(t.Context(), img, found(v.Annotated))
	if err != nil || got.Signed() || !strings.Contains(got.Message, "trusted root") {
		t.Errorf("without a trusted root: %+v, %v", got, err)
	}
	writeFile(t, filepath.Join(dir, "conf/loper/trusted_root.json"), v.TrustedRoot)
	for name, s := range map[string]Signature{"attestation": v.BundleAttestation, "of another image": v.BundleElsewhere, "expired": v.AnnotatedLate} {
		if got, err := o.Decide(t.Context(), img, found(s)); err != nil || got.Signed() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err = o.Decide(t.Context(), img, found(v.Bundle))
	if err != nil || got.Rule != ByFirst || !strings.Contains(got.Message, v.Subject) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, s := range []Signature{v.Bundle, v.Annotated} {
		if got, err := o.Decide(t.Context(), img, found(s)); err != nil || got.Rule != ByKnown {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, s := range []Signature{v.BundleMallory, v.AnnotatedMallory} {
		_, err := o.Decide(t.Context(), img, found(s))
		wantRefused(t, err, "release@example.com", "signed by mallory@example.com", "loper image trust rm registry.example/app")
	}
	_, err = o.Decide(t.Context(), img, found())
	wantRefused(t, err, "not signed")
	// One with a key of an annotation instead of the certificate.
	_, err = o.Decide(t.Context(), img, found(v.KeyLogged))
	wantRefused(t, err, "release@example.com", "the key sha256:")
	// Without the program nothing that needs it is accepted.
	o.Verifier.Program = filepath.Join(dir, "none")
	_, err = o.Decide(t.Context(), img, found(v.Bundle))
	wantRefused(t, err, "loper-verify")
}

func TestSearch(t *testing.T) {
	verifier := needVerifier(t)
	home(t)
	v := loadVectors(t)
	img := dockerImage(t, v.Reference+":v1", v.Digest)
	all := found(v.Annotated, v.Bundle, v.BundleMallory, v.KeyLogged)
	search := func(w Who) int {
		w.TrustedRoot = v.TrustedRoot
		list, err := Options{Verifier: verifier}.Search(t.Context(), img, all, w)
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%v, %v", list, err)
		}
		return len(list)
	}
	for want, list := range map[int][]Who{
		2: {{Issuer: v.Issuer, Subject: v.Subject}},
		3: {{Issuer: v.Issuer, SubjectRegexp: ".*@example.com"}},
		0: {{Issuer: v.Issuer, Subject: "example.com"}, {Subject: v.Subject}, {Issuer: v.Issuer}, {Issuer: "x", Subject: v.Subject}},
	} {
		for _, w := range list {
			if got := search(w); got != want {
				t.Errorf("%+v finds %d, not %d", w, got, want)
			}
		}
	}
	k, err := ParseKey([]byte(v.Key))
	if err != nil {
		t.Fatal(err)
	}
	if got := search(Who{Keys: []Key{k}}); got != 1 {
		t.Errorf("the key finds %d", got)
	}
}
