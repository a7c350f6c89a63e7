// Package keyless checks signatures made with a short-lived certificate of a sigstore certificate authority (Fulcio), of
// which a transparency log (Rekor) or a timestamp authority says when it was used. Everything it trusts is handed to it:
// it asks no network and reads no files.
package keyless

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Signature is what was found beside an image: a bundle, or the parts that cosign stores as annotations of a layer.
type Signature struct {
	Bundle json.RawMessage // a sigstore bundle, versions 0.1 to 0.3

	Payload     []byte          // the signed text of simple signing
	Signature   []byte          // of the payload
	Certificate string          // PEM: dev.sigstore.cosign/certificate
	Chain       string          // PEM: dev.sigstore.cosign/chain; certificates between that one and the root's
	RekorBundle json.RawMessage // dev.sigstore.cosign/bundle; may be missing when there is a timestamp
	Timestamp   json.RawMessage // dev.sigstore.cosign/rfc3161timestamp; may be missing when there is a log entry
}

// Signed is a signature that was found good.
type Signed struct {
	Payload       []byte    // the signed text, or the attestation's statement; nil for a bundle that signs the manifest itself
	PredicateType string    // of an attestation's statement
	Issuer        string    // who vouched for the identity
	SAN           string    // the identity: an e-mail address, a URI
	Time          time.Time // when the certificate was used, as a log or a timestamp authority says
}

// Verify checks the signature against the trust root: that it is of the artifact (the digest of an image's manifest or
// index), made with a certificate that the root's authority gave and that was valid when a log or a timestamp authority
// saw the signature, and that the certificate is of the wanted identity. A root that has logs wants a log's entry, one
// that has certificate transparency logs wants the certificate in one of them.
func Verify(trust Root, s Signature, artifact string, want Identity) (*Signed, error) {
	algorithm, digest, err := splitDigest(artifact)
	if err != nil {
		return nil, err
	}
	accepts, err := want.compile()
	if err != nil {
		return nil, err
	}
	entity, intermediates, policy, err := s.entity(algorithm, digest)
	if err != nil {
		return nil, err
	}
	material, err := trust.material(intermediates)
	if err != nil {
		return nil, err
	}
	result, err := check(material, entity, policy)
	if err != nil {
		return nil, err
	}
	certificate := result.Signature.Certificate
	if certificate == nil {
		return nil, errors.New("signed with a key, not with a certificate")
	}
	if err := onlyOneName(entity); err != nil {
		return nil, err
	}
	if err := accepts(certificate.Issuer, certificate.SubjectAlternativeName); err != nil {
		return nil, err
	}
	signed := &Signed{Issuer: certificate.Issuer, SAN: certificate.SubjectAlternativeName, Time: result.VerifiedTimestamps[0].Timestamp}
	switch {
	case s.Bundle == nil:
		signed.Payload = s.Payload
		return signed, payloadNames(s.Payload, artifact)
	case result.Statement != nil:
		signed.PredicateType = result.Statement.GetPredicateType()
		signed.Payload = entity.GetDsseEnvelope().GetPayload()
	}
	return signed, nil
}

// check asks the library for everything but the identity.
func check(material root.TrustedMaterial, entity *bundle.Bundle, policy verify.ArtifactPolicyOption) (*verify.VerificationResult, error) {
	options := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(material.RekorLogs()) > 0 {
		options = append(options, verify.WithTransparencyLog(1))
	}
	if len(material.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	verifier, err := verify.NewVerifier(material, options...)
	if err != nil {
		return nil, err
	}
	result, err := verifier.Verify(entity, verify.NewPolicy(policy, verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return nil, err
	}
	if result.Signature == nil || len(result.VerifiedTimestamps) == 0 {
		return nil, errors.New("nothing says when the signature was made")
	}
	return result, nil
}

// entity is the signature as the library takes it, certificates that came with it, and what it has to be a signature of.
func (s Signature) entity(algorithm string, digest []byte) (*bundle.Bundle, certificates, verify.ArtifactPolicyOption, error) {
	if s.Bundle == nil {
		b, intermediates, err := s.annotations()
		return b, intermediates, verify.WithArtifact(bytes.NewReader(s.Payload)), err
	}
	if s.Payload != nil || s.Signature != nil || s.Certificate != "" || s.Chain != "" || s.RekorBundle != nil || s.Timestamp != nil {
		return nil, nil, nil, errors.New("both a bundle and the parts of one")
	}
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(s.Bundle); err != nil {
		return nil, nil, nil, fmt.Errorf("the bundle: %w", err)
	}
	return b, nil, verify.WithArtifactDigest(algorithm, digest), nil
}
