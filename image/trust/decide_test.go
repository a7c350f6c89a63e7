package trust

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/image/oci"
)

// home gives a test a user of its own: no policy, no known signers.
func home(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "conf"))
	return dir
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func publicKey(t testing.TB, k crypto.Signer) Key {
	t.Helper()
	p, err := NewKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rawSign(t testing.TB, k crypto.Signer, message []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(message)
	data, hash := sum[:], crypto.SHA256
	if _, ok := k.(ed25519.PrivateKey); ok {
		data, hash = message, 0
	}
	sig, err := k.Sign(rand.Reader, data, hash)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func payloadOf(kind string, d oci.Digest, name string) []byte {
	quoted, _ := json.Marshal(name)
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%s},"image":{"docker-manifest-digest":%q},"type":%q},"optional":null}`, quoted, d, kind)
}

// cosignSignature is one as cosign makes it; own adds the key.
func cosignSignature(t testing.TB, k crypto.Signer, d oci.Digest, name string, own bool) Signature {
	t.Helper()
	body := payloadOf(cosignType, d, name)
	s := Signature{Form: Cosign, Body: body, Of: d, Annotations: map[string]string{annotationSignature: base64.StdEncoding.EncodeToString(rawSign(t, k, body))}}
	if own {
		s.Annotations[annotationKey] = string(publicKey(t, k).PEM())
	}
	return s
}

func bundleOf(t testing.TB, k crypto.Signer, statement string, kind string) Signature {
	t.Helper()
	sig := rawSign(t, k, preAuth(kind, []byte(statement)))
	body, err := json.Marshal(map[string]any{
		"mediaType":            TypeBundle,
		"verificationMaterial": map[string]any{"publicKey": map[string]string{"hint": "x"}},
		"dsseEnvelope": map[string]any{
			"payload": []byte(statement), "payloadType": kind, "signatures": []any{map[string]any{"sig": sig}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return Signature{Form: Bundle, Body: body, Annotations: map[string]string{annotationKey: string(publicKey(t, k).PEM())}}
}

func statementOf(d oci.Digest, predicate string) string {
	return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{%q:%q}}],"predicateType":%q,"predicate":{}}`, d.Algorithm(), d.Hex(), predicate)
}

func found(list ...Signature) Find { return Stored(list) }

func dockerImage(t testing.TB, name string, digests ...oci.Digest) Image {
	return Image{Transport: "docker", Ref: mustParse(t, name), Digests: digests}
}

// policyFile writes a policy for the user, who has no other.
func policyFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func keyFile(t testing.TB, k crypto.Signer) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(path, publicKey(t, k).PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const silent = `{"default":[{"type":"insecureAcceptAnything"}]}`

func wantRefused(t testing.TB, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) {
		t.Errorf("not refused: %v", err)
		return
	}
	for _, w := range append(words, "") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("error %q is no line", err)
	}
}

func TestKeysOfAllKinds(t *testing.T) {
	home(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := digestOf("manifest")
	for _, k := range []crypto.Signer{ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521()), edKey, rsaKey} {
		policy := policyFile(t, `{"default":[{"type":"sigstoreSigned","keyPath":"`+keyFile(t, k)+`"}]}`)
		img := dockerImage(t, "r.example/a:v1", d)
		v, err := Options{Policy: policy}.Decide(t.Context(), img, found(cosignSignature(t, k, d, "r.example/a:v1", false)))
		if err != nil || !v.Signed() || v.Rule != ByPolicy || v.Signers[0].Fingerprint != publicKey(t, k).Fingerprint() {
			t.Errorf("%T: %+v, %v", k, v, err)
		}
		// A flipped bit anywhere in the payload is another payload.
		s := cosignSignature(t, k, d, "r.example/a:v1", false)
		for i := 0; i < len(s.Body); i += 11 {
			bad := s
			bad.Body = []byte(string(s.Body))
			bad.Body[i] ^= 1
			if _, err := bad.verifyKey(publicKey(t, k)); !errors.Is(err, errNotByKey) {
				t.Fatalf("%T: byte %d changed: %v", k, i, err)
			}
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("needs RSA of 1024 bits to be refused by us:", err)
	}
	if _, err := NewKey(small.Public()); err == nil {
		t.Error("RSA of 1024 bits is good")
	}
}

// Attacks on what is signed: each signature is good by itself, but not of what
// is about to be unpacked.
func TestSignatureOfSomethingElse(t *testing.T) {
	home(t)
	k, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	d, e := digestOf("manifest"), digestOf("other")
	policy := policyFile(t, `{"default":[{"type":"sigstoreSigned","keyPath":"`+keyFile(t, k)+`"}]}`)
	img := dockerImage(t, "r.example/a:v1", d)
	resign := func(body string) Signature {
		s := cosignSignature(t, k, d, "r.example/a:v1", false)
		s.Body = []byte(body)
		s.Annotations[annotationSignature] = base64.StdEncoding.EncodeToString(rawSign(t, k, s.Body))
		return s
	}
	good := string(payloadOf(cosignType, d, "r.example/a:v1"))
	for name, c := range map[string]struct {
		list []Signature
		word string
	}{
		"stripped":           {nil, "not signed"},
		"another digest":     {[]Signature{cosignSignature(t, k, e, "r.example/a:v1", false)}, "of another image"},
		"another repository": {[]Signature{cosignSignature(t, k, d, "r.example/b:v1", false)}, "r.example/b:v1"},
		"another tag":        {[]Signature{cosignSignature(t, k, d, "r.example/a:v2", false)}, "r.example/a:v2"},
		"another key":        {[]Signature{cosignSignature(t, other, d, "r.example/a:v1", true)}, "not made by the key"},
		"simple's type":      {[]Signature{resign(strings.Replace(good, cosignType, simpleType, 1))}, "critical.type"},
		"no type":            {[]Signature{resign(strings.Replace(good, `,"type":"`+cosignType+`"`, "", 1))}, "missing"},
		"doubled digest":     {[]Signature{resign(strings.Replace(good, `"image":{`, `"image":{"docker-manifest-digest":"`+e.String()+`",`, 1))}, "appears twice"},
		"doubled critical":   {[]Signature{resign(strings.Replace(good, `"optional"`, `"critical":{},"optional"`, 1))}, "appears twice"},
		"doubled optional":   {[]Signature{resign(strings.Replace(good, `null`, `{"a":1,"a":2}`, 1))}, "appears twice"},
		"unknown field":      {[]Signature{resign(strings.Replace(good, `"optional"`, `"Critical":{},"optional"`, 1))}, "unknown"},
		"something after":    {[]Signature{resign(good + good)}, "after the JSON"},
		"huge number":        {[]Signature{resign(strings.Replace(good, `null`, `{"timestamp":1e999}`, 1))}, "timestamp"},
		"odd number":         {[]Signature{resign(strings.Replace(good, `null`, `{"timestamp":1.5}`, 1))}, "whole number"},
		"no digest":          {[]Signature{resign(strings.Replace(good, d.String(), "", 1))}, "digest"},
		"weak digest":        {[]Signature{resign(strings.Replace(good, d.String(), "md5:"+strings.Repeat("0", 32), 1))}, "unknown algorithm"},
		"deep":               {[]Signature{resign(strings.Replace(good, `null`, `{"x":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`}`, 1))}, "depth"},
		"escape sequences":   {[]Signature{cosignSignature(t, k, d, "r.example/\x1b[2Jb\n:v1", false)}, "called"},
		"no signature":       {[]Signature{{Form: Cosign, Body: []byte(good), Of: d}}, "annotation"},
		"no base64":          {[]Signature{{Form: Cosign, Body: []byte(good), Of: d, Annotations: map[string]string{annotationSignature: "%"}}}, "base64"},
		"several": {[]Signature{cosignSignature(t, other, d, "r.example/a:v1", false), cosignSignature(t, k, e, "r.example/a:v1", false)},
			"none of its 2 signatures"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Options{Policy: policy}.Decide(t.Context(), img, found(c.list...))
			wantRefused(t, err, c.word)
		})
	}
	// A bad one beside a good one does no harm.
	if _, err := (Options{Policy: policy}).Decide(t.Context(), img, found(cosignSignature(t, other, d, "x", false), resign("{"), resign(good))); err != nil {
		t.Error(err)
	}
}

// An index that is signed vouches for the manifest that it names, since that
// was found by its digest; a signed manifest vouches for itself. What is not
// named is covered by neither.
func TestIndexAndManifest(t *testing.T) {
	home(t)
	k := ecKey(t, elliptic.P256())
	index, manifest, other := digestOf("index"), digestOf("manifest"), digestOf("another platform's")
	policy := policyFile(t, `{"default":[{"type":"sigstoreSigned","keyPath":"`+keyFile(t, k)+`"}]}`)
	img := dockerImage(t, "r.example/a:v1", index, manifest)
	decide := func(of oci.Digest) error {
		_, err := Options{Policy: policy}.Decide(t.Context(), img, found(cosignSignature(t, k, of, "r.example/a:v1", false)))
		return err
	}
	if err := decide(index); err != nil {
		t.Error(err)
	}
	if err := decide(manifest); err != nil {
		t.Error(err)
	}
	wantRefused(t, decide(other), "of another image")
}

// Endless signatures keep us busy for a while, not for ever.
func TestTooManySignatures(t *testing.T) {
	home(t)
	k := ecKey(t, elliptic.P256())
	d := digestOf("manifest")
	policy := policyFile(t, `{"default":[{"type":"sigstoreSigned","keyPath":"`+keyFile(t, k)+`"}]}`)
	bad := cosignSignature(t, ecKey(t, elliptic.P256()), d, "r.example/a:v1", false)
	var list []Signature
	for range 10 * maxSignatures {
		list = append(list, bad)
	}
	_, err := Options{Policy: policy}.Decide(t.Context(), dockerImage(t, "r.example/a:v1", d), found(list...))
	wantRefused(t, err, fmt.Sprintf("none of its %d signatures", maxSignatures))
}

func TestKnownSigners(t *testing.T) {
	home(t)
	k, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	d := digestOf("manifest")
	o := Options{Policy: policyFile(t, silent)}
	decide := func(name string, list ...Signature) (Verdict, error) {
		return o.Decide(t.Context(), dockerImage(t, name, d), found(list...))
	}
	// Nobody signs: it may run, and says that it is unsigned.
	if v, err := decide("r.example/a:v1"); err != nil || v.Signed() || v.Rule != ByNone || v.Message != "" {
		t.Errorf("%+v, %v", v, err)
	}
	// A signature that nobody can check is none, and that is said.
	if v, err := decide("r.example/a:v1", cosignSignature(t, k, d, "r.example/a", false)); err != nil || v.Signed() || !strings.Contains(v.Message, "key is not known") {
		t.Errorf("%+v, %v", v, err)
	}
	// So is one that speaks of another repository.
	if v, err := decide("r.example/a:v1", cosignSignature(t, k, d, "r.example/b", true)); err != nil || v.Signed() || !strings.Contains(v.Message, "r.example/b") {
		t.Errorf("%+v, %v", v, err)
	}
	// The first that is signed is remembered.
	v, err := decide("r.example/a:v1", cosignSignature(t, k, d, "r.example/a", true))
	if err != nil || v.Rule != ByFirst || !strings.Contains(v.Message, publicKey(t, k).Fingerprint()) || strings.Contains(v.Message, "\n") {
		t.Fatalf("%+v, %v", v, err)
	}
	// From then on its key is known, so that the signature need not bring it.
	v, err = decide("r.example/a:v2", cosignSignature(t, k, d, "r.example/a", false))
	if err != nil || v.Rule != ByKnown || v.Message != "" || v.Signer() != "the key "+publicKey(t, k).Fingerprint() {
		t.Errorf("%+v, %v", v, err)
	}
	// The attacks: stripped, another's, moved.
	_, err = decide("r.example/a:v2")
	wantRefused(t, err, publicKey(t, k).Fingerprint(), "not signed", "loper image trust rm r.example/a")
	_, err = decide("r.example/a:v2", cosignSignature(t, other, d, "r.example/a", true))
	wantRefused(t, err, publicKey(t, k).Fingerprint(), publicKey(t, other).Fingerprint(), "loper image trust rm r.example/a")
	_, err = decide("r.example/a:v2", cosignSignature(t, k, digestOf("old"), "r.example/a", true))
	wantRefused(t, err, "of another image")
	_, err = decide("r.example/a:v2", cosignSignature(t, k, d, "r.example/b", true))
	wantRefused(t, err, "r.example/b")
	// A key that pretends to be the known one by its annotation only.
	forged := cosignSignature(t, other, d, "r.example/a", false)
	forged.Annotations[annotationKey] = string(publicKey(t, k).PEM())
	_, err = decide("r.example/a:v2", forged)
	wantRefused(t, err)
	// Other repositories have their own.
	if v, err := decide("r.example/ab:v1", cosignSignature(t, other, d, "r.example/ab", true)); err != nil || v.Rule != ByFirst {
		t.Errorf("%+v, %v", v, err)
	}
	// A registry that doesn't tell is refused where signers are known.
	broken := func(context.Context, Forms) ([]Signature, error) { return nil, errors.New("connection lost") }
	if _, err := o.Decide(t.Context(), dockerImage(t, "r.example/a:v1", d), broken); err == nil {
		t.Error("a registry that fails is believed")
	}
	if v, err := o.Decide(t.Context(), dockerImage(t, "r.example/never:v1", d), broken); err != nil || v.Signed() || !strings.Contains(v.Note, "connection lost") {
		t.Errorf("%+v, %v", v, err)
	}
	// Forgetting is how a change is accepted.
	if gone, err := Forget("r.example/a", ""); err != nil || len(gone) != 1 {
		t.Errorf("%v, %v", gone, err)
	}
	if v, err := decide("r.example/a:v2", cosignSignature(t, other, d, "r.example/a", true)); err != nil || v.Rule != ByFirst {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := Forget("r.example/none", ""); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestRequire(t *testing.T) {
	home(t)
	k := ecKey(t, elliptic.P256())
	d := digestOf("manifest")
	for i, policy := range []string{silent, `{"default":[{"type":"reject"}],"transports":{"docker":{"r.example":[{"type":"insecureAcceptAnything"}]}}}`} {
		name := fmt.Sprintf("r.example/a%d", i)
		img := dockerImage(t, name+":v1", d)
		o := Options{Policy: policyFile(t, policy), Require: true}
		_, err := o.Decide(t.Context(), img, found())
		wantRefused(t, err, "signature is required", "not signed")
		_, err = o.Decide(t.Context(), img, found(cosignSignature(t, k, d, name, false)))
		wantRefused(t, err, "key is not known")
		if v, err := o.Decide(t.Context(), img, found(cosignSignature(t, k, d, name, true))); err != nil || !v.Signed() {
			t.Errorf("%+v, %v", v, err)
		}
	}
	o := Options{Policy: policyFile(t, silent), Require: true}
	_, err := o.Decide(t.Context(), Image{Transport: "docker-archive", Path: "/x.tar", Digests: []oci.Digest{d}}, found())
	wantRefused(t, err)
}

// A scope that accepts anything is a decision: known signers are not asked.
func TestScopeDecidesAboveKnownSigners(t *testing.T) {
	home(t)
	k := ecKey(t, elliptic.P256())
	d := digestOf("manifest")
	if err := Remember("r.example/a", Signer{Kind: kindKey, Fingerprint: publicKey(t, k).Fingerprint(), Key: string(publicKey(t, k).PEM())}); err != nil {
		t.Fatal(err)
	}
	o := Options{Policy: policyFile(t, `{"default":[{"type":"reject"}],"transports":{"docker":{"r.example":[{"type":"insecureAcceptAnything"}]}}}`)}
	if v, err := o.Decide(t.Context(), dockerImage(t, "r.example/a:v1", d), found()); err != nil || v.Rule != ByPolicy || v.Scope != "r.example" {
		t.Errorf("%+v, %v", v, err)
	}
	_, err := o.Decide(t.Context(), dockerImage(t, "other.example/a:v1", d), found())
	wantRefused(t, err, "rejects")
}

// A local key directory gives a first meeting more than the image's own word.
func TestKeysDirectory(t *testing.T) {
	dir := home(t)
	k := ecKey(t, elliptic.P256())
	keys := filepath.Join(dir, "conf/loper/keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(keys, "vendor.pub"), publicKey(t, k).PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	d := digestOf("manifest")
	v, err := Options{Policy: policyFile(t, silent)}.Decide(t.Context(), dockerImage(t, "r.example/a:v1", d), found(cosignSignature(t, k, d, "r.example/a", false)))
	if err != nil || v.Rule != ByFirst || !strings.Contains(v.Signer(), "vendor.pub") {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestBundleByKey(t *testing.T) {
	home(t)
	k := ecKey(t, elliptic.P256())
	d := digestOf("manifest")
	o := Options{Policy: policyFile(t, silent), Require: true}
	img := dockerImage(t, "r.example/a:v1", d)
	good := bundleOf(t, k, statementOf(d, cosignPredict), statementType)
	if v, err := o.Decide(t.Context(), img, found(good)); err != nil || v.Rule != ByFirst {
		t.Errorf("%+v, %v", v, err)
	}
	for name, s := range map[string]Signature{
		"another digest":   bundleOf(t, k, statementOf(digestOf("x"), cosignPredict), statementType),
		"an attestation":   bundleOf(t, k, statementOf(d, "https://spdx.dev/Document"), statementType),
		"another payload":  bundleOf(t, k, statementOf(d, cosignPredict), "text/plain"),
		"no statement":     bundleOf(t, k, `{}`, statementType),
		"doubled subject":  bundleOf(t, k, strings.Replace(statementOf(d, cosignPredict), `"predicate"`, `"subject":[],"predicate"`, 1), statementType),
		"unsigned":         {Form: Bundle, Body: []byte(`{"mediaType":"` + TypeBundle + `","verificationMaterial":{"publicKey":{"hint":"x"}},"dsseEnvelope":{"payload":"","payloadType":"","signatures":[]}}`)},
		"no envelope":      {Form: Bundle, Body: []byte(`{"mediaType":"` + TypeBundle + `","verificationMaterial":{}}`)},
		"garbage":          {Form: Bundle, Body: []byte("\xff")},
		"another document": {Form: Bundle, Body: []byte(`{"mediaType":"text/plain"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := o.Decide(t.Context(), img, found(s))
			wantRefused(t, err)
		})
	}
}
