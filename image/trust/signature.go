package trust

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"loper.run/image/oci"
)

// Form is how a signature is written down.
type Form string

// The forms that are understood.
const (
	Simple Form = "simple" // OpenPGP's, as containers-signature(5) has it
	Cosign Form = "cosign" // a layer below the tag sha256-….sig
	Bundle Form = "bundle" // sigstore's bundle, as a referrer of the manifest
)

// Media types and annotations of cosign's signatures.
const (
	TypeCosignPayload = "application/vnd.dev.cosign.simplesigning.v1+json"
	TypeBundle        = "application/vnd.dev.sigstore.bundle.v0.3+json"

	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationChain       = "dev.sigstore.cosign/chain"
	annotationRekor       = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
	// annotationKey is ours: the public key, so that a first meeting has
	// something to remember. It vouches for nothing.
	annotationKey = "run.loper.signature.key"
)

// Signature is a signature as it was found. Nothing in it is to be believed
// before it was verified.
type Signature struct {
	Form Form `json:"form"`
	// Body is the OpenPGP message, cosign's payload, or the bundle.
	Body []byte `json:"body"`
	// Annotations are those of cosign's layer.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Of is the manifest that it was found with.
	Of oci.Digest `json:"of"`
}

// Equal tells whether both are the same signature of the same manifest.
func (s Signature) Equal(o Signature) bool {
	return s.Form == o.Form && s.Of == o.Of && bytes.Equal(s.Body, o.Body) && maps.Equal(s.Annotations, o.Annotations)
}

// raw is the signature itself in cosign's form.
func (s Signature) raw() ([]byte, error) {
	text, ok := s.Annotations[annotationSignature]
	if !ok {
		return nil, fmt.Errorf("it has no annotation %s", annotationSignature)
	}
	sig, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	return sig, nil
}

// verifyKey checks a signature of cosign's forms with a key and returns what it says.
func (s Signature) verifyKey(k Key) (claims, error) {
	switch s.Form {
	case Cosign:
		sig, err := s.raw()
		if err != nil {
			return claims{}, err
		}
		if err := k.Verify(s.Body, sig); err != nil {
			return claims{}, err
		}
		return parsePayload(s.Body, cosignType)
	case Bundle:
		b, err := parseBundle(s.Body)
		if err != nil {
			return claims{}, err
		}
		return b.verifyKey(k)
	}
	return claims{}, fmt.Errorf("a signature of the form %q is not made by a key alone", s.Form)
}

// keyless tells whether the signature brings a certificate for its key.
func (s Signature) keyless() bool {
	switch s.Form {
	case Cosign:
		return s.Annotations[annotationCertificate] != ""
	case Bundle:
		b, err := parseBundle(s.Body)
		return err == nil && b.certified()
	}
	return false
}

// ownKey is a key that comes with the signature and that nobody vouches for:
// our annotation, or what the entry of a transparency log names.
func (s Signature) ownKey() (Key, bool) {
	var candidates [][]byte
	switch s.Form {
	case Cosign:
		candidates = append(candidates, []byte(s.Annotations[annotationKey]))
		if r, err := parseRekor(s.Annotations[annotationRekor]); err == nil {
			candidates = append(candidates, entryKey(r.Payload.Body))
		}
	case Bundle:
		if b, err := parseBundle(s.Body); err == nil {
			candidates = append(candidates, []byte(s.Annotations[annotationKey]))
			for _, e := range b.Material.Entries {
				candidates = append(candidates, entryKey(e.Body))
			}
		}
	}
	for _, text := range candidates {
		if k, err := ParseKey(text); err == nil {
			return k, true
		}
	}
	return Key{}, false
}

// entryKey finds the public key that an entry of Rekor names: of a
// hashedrekord, or of a dsse.
func entryKey(body []byte) []byte {
	var entry struct {
		Spec struct {
			Signature struct {
				PublicKey struct{ Content []byte }
			}
			Signatures []struct{ Verifier []byte }
		}
	}
	if json.Unmarshal(body, &entry) != nil {
		return nil
	}
	if len(entry.Spec.Signatures) == 1 {
		return entry.Spec.Signatures[0].Verifier
	}
	return entry.Spec.Signature.PublicKey.Content
}
