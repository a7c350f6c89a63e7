package main

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/cmd/loper-verify/keyless"
	"loper.run/test/env"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// vectors are signatures that cosign made.
const vectors = "../../image/trust/testdata/cosign"

// checkKeyless checks a signature by all trust roots that there are for it.
func checkKeyless(t *testing.T, name string, s keyless.Signature, digest string, trust map[string][]byte) {
	t.Helper()
	want := keyless.Identity{Issuer: tokenIssuer, SAN: tokenName}
	roots := map[string]keyless.Root{"trusted root": {TrustedRoot: trust["trusted_root.json"]}}
	if s.Bundle == nil {
		roots["policy.json"] = keyless.Root{FulcioCA: trust["fulcio.pem"], RekorKeys: [][]byte{trust["rekor.pub"]}}
	}
	for kind, root := range roots {
		signed, err := keyless.Verify(root, s, digest, want)
		if err != nil {
			t.Errorf("%s by the %s: %v", name, kind, err)
			continue
		}
		if s.Bundle != nil && signed.PredicateType != "https://sigstore.dev/cosign/sign/v1" {
			t.Errorf("%s says %q", name, signed.PredicateType)
		}
		if _, err := keyless.Verify(root, s, digest, keyless.Identity{SAN: "somebody@example.com"}); err == nil {
			t.Errorf("%s is taken as somebody else's", name)
		}
		if _, err := keyless.Verify(root, s, env.Digest([]byte("another")), want); err == nil {
			t.Errorf("%s is taken as of another image", name)
		}
	}
}

func readFile(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The keyless ones of cosign's signatures are good, years after the certificates have ended; the others are not keyless.
func TestVectors(t *testing.T) {
	l, repositories := readLayout(t, vectors)
	trust := map[string][]byte{}
	for _, name := range []string{"trusted_root.json", "fulcio.pem", "rekor.pub"} {
		trust[name] = readFile(t, vectors, name)
	}
	keylessOnes := 0
	for repository, tags := range repositories {
		digest := env.Digest(tags["v1"])
		if strings.HasSuffix(repository, "-attestation-tag") {
			continue
		}
		s := l.beside(t, digest, tags)
		if strings.Contains(repository, "-keyless-") {
			keylessOnes++
			checkKeyless(t, repository, s, digest, trust)
			continue
		}
		if signed, err := keyless.Verify(keyless.Root{TrustedRoot: trust["trusted_root.json"]}, s, digest, keyless.Identity{}); err == nil {
			t.Errorf("%s is taken as signed by %q", repository, signed.SAN)
		}
		if s.Bundle != nil {
			checkKeyBundle(t, repository, s.Bundle, digest, readFile(t, vectors, "cosign.pub"))
		}
	}
	if keylessOnes != 4 {
		t.Errorf("%d keyless signatures", keylessOnes)
	}
}

// checkKeyBundle lets sigstore's library check a bundle that was signed with a key.
func checkKeyBundle(t *testing.T, name string, data []byte, digest string, public []byte) {
	t.Helper()
	key, err := cryptoutils.UnmarshalPEMToPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return &forEver{verifier}, nil
	})
	v, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
	if err != nil {
		t.Fatal(err)
	}
	check := func(data []byte, digest string) error {
		b := new(bundle.Bundle)
		if err := b.UnmarshalJSON(data); err != nil {
			return err
		}
		raw, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
		if err != nil {
			return err
		}
		_, err = v.Verify(b, verify.NewPolicy(verify.WithArtifactDigest("sha256", raw), verify.WithKey()))
		return err
	}
	if err := check(data, digest); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if check(data, env.Digest([]byte("another"))) == nil {
		t.Errorf("%s is taken as of another image", name)
	}
	if changed := bytes.Replace(data, []byte(`"payload":"eyJ`), []byte(`"payload":"eyI`), 1); !bytes.Equal(changed, data) && check(changed, digest) == nil {
		t.Errorf("%s is taken after a change", name)
	}
}

// forEver is a key without an end.
type forEver struct{ signature.Verifier }
