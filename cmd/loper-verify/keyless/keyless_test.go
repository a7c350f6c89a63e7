package keyless

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"loper.run/cmd/loper-verify/fakesigstore"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
)

const (
	issuer   = "https://accounts.example"
	who      = "release@example.com"
	signing  = "https://sigstore.dev/cosign/sign/v1"
	manifest = `{"schemaVersion":2}`
)

var digest = fakesigstore.Digest([]byte(manifest))

// world is a deployment and somebody who signs there.
type world struct {
	*fakesigstore.Sigstore
	signer *fakesigstore.Signer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := fakesigstore.New()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Sigstore: s}
	w.signer = w.sign(t, fakesigstore.Leaf{Issuer: issuer, Emails: []string{who}, From: time.Now().Add(-time.Hour)})
	return w
}

func (w *world) sign(t *testing.T, l fakesigstore.Leaf) *fakesigstore.Signer {
	t.Helper()
	s, err := w.Signer(l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) root(t *testing.T, with fakesigstore.Services) Root {
	t.Helper()
	data, err := w.TrustedRoot(with)
	if err != nil {
		t.Fatal(err)
	}
	return Root{TrustedRoot: data}
}

// parts is the root as policy.json has it.
func (w *world) parts() Root {
	return Root{FulcioCA: fakesigstore.PEM(w.Root), RekorKeys: [][]byte{w.LogKey()}}
}

var logAndCT = fakesigstore.Services{Log: true, CT: true}

// annotated is a signature in cosign's annotations.
func annotated(t *testing.T, s *fakesigstore.Signer, payload []byte) Signature {
	t.Helper()
	signature, logged, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	return Signature{Payload: payload, Signature: signature, Certificate: string(fakesigstore.PEM(s.Certificate)),
		Chain: string(fakesigstore.PEM(s.Sigstore.Intermediate, s.Sigstore.Root)), RekorBundle: logged.Annotation()}
}

func statement(t *testing.T, s *fakesigstore.Signer, version, of string) *protobundle.Bundle {
	t.Helper()
	b, err := s.StatementBundle(version, signing, of)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func message(t *testing.T, s *fakesigstore.Signer, version string) *protobundle.Bundle {
	t.Helper()
	b, err := s.MessageBundle(version, []byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func asBundle(b *protobundle.Bundle) Signature { return Signature{Bundle: fakesigstore.JSON(b)} }

func TestGoodSignatures(t *testing.T) {
	w := newWorld(t)
	payload := fakesigstore.SimpleSigning("registry.example/app", digest)
	want := Identity{Issuer: issuer, SAN: who, SANRegexp: `.*@example\.com`}
	for name, s := range map[string]Signature{
		"annotations":   annotated(t, w.signer, payload),
		"message 0.1":   asBundle(message(t, w.signer, "0.1")),
		"message 0.2":   asBundle(message(t, w.signer, "0.2")),
		"message 0.3":   asBundle(message(t, w.signer, "0.3")),
		"statement 0.1": asBundle(statement(t, w.signer, "0.1", digest)),
		"statement 0.2": asBundle(statement(t, w.signer, "0.2", digest)),
		"statement 0.3": asBundle(statement(t, w.signer, "0.3", digest)),
	} {
		roots := map[string]Root{"with CT": w.root(t, logAndCT), "without CT": w.root(t, fakesigstore.Services{Log: true}), "all": w.root(t, fakesigstore.Services{Log: true, CT: true, Timestamps: true})}
		if name == "annotations" {
			roots["policy.json"] = w.parts()
		}
		for kind, r := range roots {
			t.Run(name+", "+kind, func(t *testing.T) {
				got, err := Verify(r, s, digest, want)
				if err != nil {
					t.Fatal(err)
				}
				if got.Issuer != issuer || got.SAN != who || got.Time.Unix() != w.signer.At.Unix() {
					t.Errorf("signed by %s of %s at %s", got.SAN, got.Issuer, got.Time)
				}
				switch kind, _, _ := strings.Cut(name, " "); kind {
				case "annotations":
					if !bytes.Equal(got.Payload, payload) {
						t.Errorf("payload %s", got.Payload)
					}
				case "message":
					if got.Payload != nil || got.PredicateType != "" {
						t.Errorf("payload %s of %s", got.Payload, got.PredicateType)
					}
				case "statement":
					if got.PredicateType != signing || !bytes.Contains(got.Payload, []byte(strings.TrimPrefix(digest, "sha256:"))) {
						t.Errorf("payload %s of %s", got.Payload, got.PredicateType)
					}
				}
			})
		}
	}
}

// A timestamp authority can take the log's place, where the root names no log.
func TestTimestampInsteadOfLog(t *testing.T) {
	w := newWorld(t)
	now := w.sign(t, fakesigstore.Leaf{Issuer: issuer, Emails: []string{who}, From: time.Now().Add(-time.Minute)})
	s := annotated(t, now, fakesigstore.SimpleSigning("registry.example/app", digest))
	stamp, err := w.Timestamp(s.Signature)
	if err != nil {
		t.Fatal(err)
	}
	s.RekorBundle = nil
	s.Timestamp, _ = json.Marshal(map[string]any{"SignedRFC3161Timestamp": stamp})
	if _, err := Verify(w.root(t, fakesigstore.Services{Timestamps: true}), s, digest, Identity{}); err != nil {
		t.Error(err)
	}
	refused(t, "a root with a log wants an entry", w.root(t, fakesigstore.Services{Log: true, Timestamps: true}), s, digest, Identity{}, "not enough verified log entries")
	late := annotated(t, w.signer, s.Payload) // its certificate ended 50 minutes ago
	if stamp, err = w.Timestamp(late.Signature); err != nil {
		t.Fatal(err)
	}
	late.RekorBundle = nil
	late.Timestamp, _ = json.Marshal(map[string]any{"SignedRFC3161Timestamp": stamp})
	refused(t, "a timestamp after the certificate's end", w.root(t, fakesigstore.Services{Timestamps: true}), late, digest, Identity{}, "leaf certificate verification failed")
	s.Timestamp = late.Timestamp
	refused(t, "a timestamp of another signature", w.root(t, fakesigstore.Services{Timestamps: true}), s, digest, Identity{}, "timestamp")
}

// The log's second version signs no times: a timestamp authority does.
func TestSecondLog(t *testing.T) {
	w := newWorld(t)
	now := w.sign(t, fakesigstore.Leaf{Issuer: issuer, Emails: []string{who}, From: time.Now().Add(-time.Minute)})
	b, err := now.MessageBundleV2([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	both := w.root(t, fakesigstore.Services{Log: true, CT: true, Timestamps: true})
	if _, err := Verify(both, asBundle(b), digest, Identity{Issuer: issuer, SAN: who}); err != nil {
		t.Error(err)
	}
	refused(t, "a root without the authority", w.root(t, logAndCT), asBundle(b), digest, Identity{}, "threshold not met")
	stamps := b.VerificationMaterial.TimestampVerificationData
	b.VerificationMaterial.TimestampVerificationData = nil
	refused(t, "no timestamp", both, asBundle(b), digest, Identity{}, "threshold not met")
	b.VerificationMaterial.TimestampVerificationData = stamps
	b.VerificationMaterial.TlogEntries[0].IntegratedTime = now.At.Unix()
	if _, err := Verify(w.root(t, logAndCT), asBundle(b), digest, Identity{}); err == nil {
		t.Error("a time that nobody signed is taken")
	}
	late, err := w.signer.MessageBundleV2([]byte(manifest)) // its certificate ended 50 minutes ago
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "signed after the certificate's end", both, asBundle(late), digest, Identity{}, "leaf certificate verification failed")
	other, err := newWorld(t).signer.MessageBundleV2([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	b.VerificationMaterial.TlogEntries[0].InclusionProof = other.VerificationMaterial.TlogEntries[0].InclusionProof
	refused(t, "another log's proof", both, asBundle(b), digest, Identity{}, "failed to verify log inclusion")
}

func refused(t *testing.T, name string, r Root, s Signature, of string, want Identity, says string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Helper()
		got, err := Verify(r, s, of, want)
		if err == nil {
			t.Fatalf("taken as signed by %s", got.SAN)
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("error %q, want %q", err, says)
		}
	})
}
