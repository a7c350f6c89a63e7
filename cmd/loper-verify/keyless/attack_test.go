package keyless

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"loper.run/cmd/loper-verify/fakesigstore"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
)

func TestWrongIdentity(t *testing.T) {
	w := newWorld(t)
	for form, s := range forms(t, w, w.signer) {
		for name, want := range map[string]Identity{
			"another name":              {SAN: "somebody@example.com"},
			"another issuer":            {Issuer: "https://github.com/login/oauth"},
			"the name, another issuer":  {Issuer: "https://github.com/login/oauth", SAN: who},
			"a pattern of the middle":   {SANRegexp: `example`},
			"a pattern of the end":      {SANRegexp: `@example\.com`},
			"a pattern with a choice":   {SANRegexp: `release|admin@example.com`},
			"a pattern of another line": {SANRegexp: `(?m)^nobody$`},
		} {
			refused(t, form+", "+name, w.root(t, logAndCT), s, digest, want, `signed by "release@example.com"`)
		}
	}
	for _, pattern := range []string{`)`, `nobody)|(?:release`} {
		refused(t, "no pattern, "+pattern, w.root(t, logAndCT), forms(t, w, w.signer)["annotations"], digest, Identity{SANRegexp: pattern}, "pattern")
	}
	several := w.sign(t, fakesigstore.Leaf{Issuer: issuer, Emails: []string{who, "other@example.com"}, From: time.Now().Add(-time.Hour)})
	for form, s := range forms(t, w, several) {
		refused(t, form+", several names", w.root(t, logAndCT), s, digest, Identity{SAN: who}, "several names")
	}
}

// forms are the same signature as annotations, and as bundles of both kinds.
func forms(t *testing.T, w *world, by *fakesigstore.Signer) map[string]Signature {
	t.Helper()
	return map[string]Signature{
		"annotations": annotated(t, by, fakesigstore.SimpleSigning("registry.example/app", digest)),
		"message":     asBundle(message(t, by, "0.3")),
		"statement":   asBundle(statement(t, by, "0.3", digest)),
	}
}

func TestCertificates(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	past := time.Now().Add(-time.Hour)
	expired := w.sign(t, fakesigstore.Leaf{Issuer: issuer, Emails: []string{who}, From: past})
	expired.At = past.Add(11 * time.Minute)
	early := w.sign(t, fakesigstore.Leaf{Issuer: issuer, Emails: []string{who}, From: past})
	early.At = past.Add(-time.Minute)
	hidden := w.sign(t, fakesigstore.Leaf{Issuer: issuer, Emails: []string{who}, From: past, NoSCT: true})
	for name, c := range map[string]struct {
		by   *fakesigstore.Signer
		root Root
		says string
	}{
		"used after its end":                {expired, w.root(t, logAndCT), "integrated time outside certificate validity"},
		"used before its time":              {early, w.root(t, logAndCT), "integrated time outside certificate validity"},
		"in no certificate log":             {hidden, w.root(t, logAndCT), "certificate timestamp"},
		"of another deployment":             {other.signer, w.root(t, logAndCT), "not enough verified log entries"},
		"of another deployment, policy":     {other.signer, w.parts(), "not enough verified log entries"},
		"of another authority, log trusted": {other.signer, Root{FulcioCA: fakesigstore.PEM(w.Root), RekorKeys: [][]byte{other.LogKey()}}, "leaf certificate verification failed"},
	} {
		for form, s := range forms(t, w, c.by) {
			if form != "annotations" && c.root.FulcioCA != nil {
				s.Chain = "" // a bundle has none
			}
			refused(t, name+", "+form, c.root, s, digest, Identity{}, c.says)
		}
	}
	// Certificates that come along show a way; they are not believed.
	s := annotated(t, other.signer, fakesigstore.SimpleSigning("registry.example/app", digest))
	s.Chain = string(fakesigstore.PEM(other.Intermediate, other.Root, w.Intermediate, w.Root))
	refused(t, "a chain that brings its own root", Root{FulcioCA: fakesigstore.PEM(w.Root), RekorKeys: [][]byte{other.LogKey()}}, s, digest, Identity{}, "leaf certificate verification failed")
	s = annotated(t, w.signer, fakesigstore.SimpleSigning("registry.example/app", digest))
	s.Chain = ""
	refused(t, "no way to the root", w.parts(), s, digest, Identity{}, "leaf certificate verification failed")
	s.Certificate += s.Certificate
	refused(t, "two certificates", w.parts(), s, digest, Identity{}, "2 of them")
}

func TestOtherArtifact(t *testing.T) {
	w := newWorld(t)
	another := fakesigstore.Digest([]byte("another manifest"))
	for form, s := range forms(t, w, w.signer) {
		refused(t, form, w.root(t, logAndCT), s, another, Identity{}, "")
		for _, none := range []string{"", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:00", digest + "00", "../../etc/passwd"} {
			refused(t, form+" of "+none, w.root(t, logAndCT), s, none, Identity{}, "no digest of an image")
		}
	}
	s := annotated(t, w.signer, []byte(`{"critical":{"image":{}}}`))
	refused(t, "a text of no image", w.root(t, logAndCT), s, digest, Identity{}, `a signature of ""`)
	s = annotated(t, w.signer, []byte("manifest"))
	refused(t, "no text", w.root(t, logAndCT), s, digest, Identity{}, "the signed text")
}

// A signature, an entry or a part of either from elsewhere is not taken.
func TestForgedAnnotations(t *testing.T) {
	w := newWorld(t)
	payload := fakesigstore.SimpleSigning("registry.example/app", digest)
	good, other := annotated(t, w.signer, payload), annotated(t, w.signer, fakesigstore.SimpleSigning("registry.example/other", digest))
	stranger := annotated(t, newWorld(t).signer, payload)
	entry := func(change func(e, p map[string]any)) json.RawMessage {
		var e map[string]any
		d := json.NewDecoder(bytes.NewReader(good.RekorBundle))
		d.UseNumber()
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		change(e, e["Payload"].(map[string]any))
		data, _ := json.Marshal(e)
		return data
	}
	for name, c := range map[string]struct {
		change func(s *Signature)
		says   string
	}{
		"no entry":                  {func(s *Signature) { s.RekorBundle = nil }, "not enough verified log entries"},
		"another signature's entry": {func(s *Signature) { s.RekorBundle = other.RekorBundle }, "does not match"},
		"another log's entry":       {func(s *Signature) { s.RekorBundle = stranger.RekorBundle }, "not enough verified log entries"},
		"another text":              {func(s *Signature) { s.Payload = other.Payload }, "does not match"},
		"another signature":         {func(s *Signature) { s.Signature = other.Signature }, "does not match"},
		"another certificate":       {func(s *Signature) { s.Certificate = stranger.Certificate }, "does not match"},
		"no signature":              {func(s *Signature) { s.Signature = nil }, "neither a bundle"},
		"no certificate":            {func(s *Signature) { s.Certificate = "" }, "no certificate in PEM"},
		"a key as certificate":      {func(s *Signature) { s.Certificate = string(w.LogKey()) }, "where certificates are wanted"},
		"entry without promise": {func(s *Signature) {
			s.RekorBundle = entry(func(e, p map[string]any) { delete(e, "SignedEntryTimestamp") })
		}, "without the log's signature"},
		"entry with a forged promise": {func(s *Signature) {
			s.RekorBundle = entry(func(e, p map[string]any) { e["SignedEntryTimestamp"] = other.Signature })
		}, "not enough verified log entries"},
		"entry of another time": {func(s *Signature) {
			s.RekorBundle = entry(func(e, p map[string]any) { p["integratedTime"] = w.signer.At.Unix() + 60 })
		}, "not enough verified log entries"},
		"entry of another place": {func(s *Signature) {
			s.RekorBundle = entry(func(e, p map[string]any) { p["logIndex"] = 1 })
		}, "not enough verified log entries"},
		"entry that is no JSON": {func(s *Signature) {
			s.RekorBundle = entry(func(e, p map[string]any) { p["body"] = base64.StdEncoding.EncodeToString([]byte("{")) })
		}, "its body"},
	} {
		s := good
		c.change(&s)
		refused(t, name, w.root(t, logAndCT), s, digest, Identity{}, c.says)
		refused(t, name+", policy.json", w.parts(), s, digest, Identity{}, c.says)
	}
	if _, err := Verify(w.root(t, logAndCT), good, digest, Identity{}); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestForgedBundles(t *testing.T) {
	w := newWorld(t)
	stranger := newWorld(t)
	for name, c := range map[string]struct {
		bundle *protobundle.Bundle
		change func(b *protobundle.Bundle)
		says   string
	}{
		"a statement, changed": {statement(t, w.signer, "0.3", digest), func(b *protobundle.Bundle) {
			e := b.GetDsseEnvelope()
			e.Payload = bytes.Replace(e.Payload, []byte("cosign/sign/v1"), []byte("cosign/sign/v2"), 1)
		}, "does not match"},
		"a statement of another type": {statement(t, w.signer, "0.3", digest), func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().PayloadType = "text/plain"
		}, ""},
		"a statement, its signature changed": {statement(t, w.signer, "0.3", digest), func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Signatures[0].Sig[10] ^= 1
		}, "does not match"},
		"a statement with two signatures": {statement(t, w.signer, "0.3", digest), func(b *protobundle.Bundle) {
			e := b.GetDsseEnvelope()
			e.Signatures = append(e.Signatures, e.Signatures[0])
		}, ""},
		"a message, its digest changed": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) {
			b.GetMessageSignature().MessageDigest.Digest[0] ^= 1
		}, "does not match"},
		"no entry": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil }, "not enough verified log entries"},
		"no promise": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].InclusionPromise = nil
		}, "threshold not met"},
		"no proof": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].InclusionProof = nil
		}, "inclusion proof missing"},
		"a proof of another tree": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].InclusionProof.RootHash[0] ^= 1
		}, ""},
		"another's checkpoint": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) {
			other := message(t, stranger.signer, "0.3")
			b.VerificationMaterial.TlogEntries[0].InclusionProof.Checkpoint = other.VerificationMaterial.TlogEntries[0].InclusionProof.Checkpoint
		}, ""},
		"an entry twice": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) {
			m := b.VerificationMaterial
			m.TlogEntries = append(m.TlogEntries, m.TlogEntries[0])
		}, "duplicate"},
		"a certificate of another": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) {
			b.VerificationMaterial.Content = message(t, stranger.signer, "0.3").VerificationMaterial.Content
		}, "does not match"},
		"a version to come": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) {
			b.MediaType = "application/vnd.dev.sigstore.bundle.v0.4+json"
		}, "not yet supported"},
		"signed with a key": {message(t, w.signer, "0.3"), func(b *protobundle.Bundle) {
			b.VerificationMaterial.Content = &protobundle.VerificationMaterial_PublicKey{}
		}, ""},
	} {
		c.change(c.bundle)
		refused(t, name, w.root(t, logAndCT), asBundle(c.bundle), digest, Identity{}, c.says)
	}
	both := asBundle(message(t, w.signer, "0.3"))
	both.Payload = []byte("{}")
	refused(t, "a bundle and parts", w.root(t, logAndCT), both, digest, Identity{}, "both a bundle")
}

func TestRoots(t *testing.T) {
	w := newWorld(t)
	s := annotated(t, w.signer, fakesigstore.SimpleSigning("registry.example/app", digest))
	parts := w.parts()
	for name, c := range map[string]struct {
		root Root
		says string
	}{
		"nothing":                     {Root{}, "the certificate authority"},
		"no log":                      {Root{FulcioCA: parts.FulcioCA}, "no key of a transparency log"},
		"no authority":                {Root{RekorKeys: parts.RekorKeys}, "the certificate authority"},
		"a key as authority":          {Root{FulcioCA: w.LogKey(), RekorKeys: parts.RekorKeys}, "where certificates are wanted"},
		"an authority as key":         {Root{FulcioCA: parts.FulcioCA, RekorKeys: [][]byte{parts.FulcioCA}}, "not one public key"},
		"two keys in one":             {Root{FulcioCA: parts.FulcioCA, RekorKeys: [][]byte{append(w.LogKey(), w.LogKey()...)}}, "not one public key"},
		"both":                        {Root{TrustedRoot: w.root(t, logAndCT).TrustedRoot, FulcioCA: parts.FulcioCA}, "both a trusted root"},
		"neither log nor timestamps":  {w.root(t, fakesigstore.Services{}), "neither a transparency log"},
		"no JSON":                     {Root{TrustedRoot: []byte("{")}, "the trusted root"},
		"JSON of another kind":        {Root{TrustedRoot: []byte("{}")}, "the trusted root"},
		"the certificate log's alone": {w.root(t, fakesigstore.Services{CT: true}), "neither a transparency log"},
	} {
		refused(t, name, c.root, s, digest, Identity{}, c.says)
	}
	// Of several keys, any may be the log's; of several certificates, any the authority's.
	other := newWorld(t)
	many := Root{FulcioCA: append(fakesigstore.PEM(other.Root), parts.FulcioCA...), RekorKeys: [][]byte{other.LogKey(), w.LogKey()}}
	if _, err := Verify(many, s, digest, Identity{Issuer: issuer, SAN: who}); err != nil {
		t.Error(err)
	}
}
