package fakesigstore

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// Signer is somebody with a certificate of the deployment.
type Signer struct {
	Sigstore    *Sigstore
	Certificate *x509.Certificate
	Key         *ecdsa.PrivateKey
	At          time.Time // when the log sees what they sign
}

// Signer makes a key and has it certified; the log sees the signatures a minute later.
func (s *Sigstore) Signer(l Leaf) (*Signer, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	l.Public = &key.PublicKey
	c, err := s.Certificate(l)
	return &Signer{Sigstore: s, Certificate: c, Key: key, At: l.From.Add(time.Minute)}, err
}

// Sign signs data, and logs it.
func (s *Signer) Sign(data []byte) (signature []byte, logged *Entry, err error) {
	if signature, err = sign(s.Key, data); err != nil {
		return nil, nil, err
	}
	logged, err = s.Sigstore.Append(HashedRekord(data, signature, PEM(s.Certificate)), s.At)
	return signature, logged, err
}

// SimpleSigning is the text that cosign signs for an image.
func SimpleSigning(repository, digest string) []byte {
	return canonical(map[string]any{"optional": nil, "critical": map[string]any{
		"identity": map[string]any{"docker-reference": repository}, "image": map[string]any{"docker-manifest-digest": digest}, "type": "cosign container image signature"}})
}

// MessageBundle is a bundle, of version "0.1" to "0.3", that signs data, an image's manifest.
func (s *Signer) MessageBundle(version string, data []byte) (*protobundle.Bundle, error) {
	signature, logged, err := s.Sign(data)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(data)
	b := s.bundle(version, logged)
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: digest[:]}, Signature: signature}}
	return b, nil
}

// MessageBundleV2 is a bundle that signs data, with an entry of the log's second version and a timestamp of now.
func (s *Signer) MessageBundleV2(data []byte) (*protobundle.Bundle, error) {
	signature, err := sign(s.Key, data)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(data)
	logged, err := s.Sigstore.AppendV2(digest[:], signature, s.Certificate)
	if err != nil {
		return nil, err
	}
	stamp, err := s.Sigstore.Timestamp(signature)
	if err != nil {
		return nil, err
	}
	b := s.bundle("0.3", logged)
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: digest[:]}, Signature: signature}}
	b.VerificationMaterial.TlogEntries[0].IntegratedTime = 0
	b.VerificationMaterial.TlogEntries[0].InclusionPromise = nil
	b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}}}
	return b, nil
}

// StatementBundle is a bundle of version "0.1" to "0.3" with a statement about an image.
func (s *Signer) StatementBundle(version, predicateType, digest string) (*protobundle.Bundle, error) {
	const payloadType = "application/vnd.in-toto+json"
	algorithm, value, _ := strings.Cut(digest, ":")
	payload := canonical(map[string]any{"_type": "https://in-toto.io/Statement/v1", "predicateType": predicateType, "predicate": map[string]any{},
		"subject": []any{map[string]any{"digest": map[string]any{algorithm: value}}}})
	signature, err := sign(s.Key, fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload))
	if err != nil {
		return nil, err
	}
	envelope := canonical(map[string]any{"payload": payload, "payloadType": payloadType, "signatures": []any{map[string]any{"sig": signature}}})
	logged, err := s.Sigstore.Append(DSSE(envelope, payload, signature, PEM(s.Certificate)), s.At)
	if err != nil {
		return nil, err
	}
	b := s.bundle(version, logged)
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{Payload: payload, PayloadType: payloadType, Signatures: []*protodsse.Signature{{Sig: signature}}}}
	return b, nil
}

func (s *Signer) bundle(version string, logged *Entry) *protobundle.Bundle {
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(logged.Body, &kind); err != nil {
		panic(err) // canonical made it
	}
	material := &protobundle.VerificationMaterial{TlogEntries: []*protorekor.TransparencyLogEntry{{
		LogIndex: logged.Index, LogId: &protocommon.LogId{KeyId: logged.LogID}, IntegratedTime: logged.Time.Unix(), CanonicalizedBody: logged.Body,
		KindVersion:      &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: logged.SET},
		InclusionProof:   &protorekor.InclusionProof{LogIndex: 0, TreeSize: 1, RootHash: logged.RootHash, Checkpoint: &protorekor.Checkpoint{Envelope: logged.Checkpoint}},
	}}}
	leaf := &protocommon.X509Certificate{RawBytes: s.Certificate.Raw}
	mediaType := "application/vnd.dev.sigstore.bundle+json;version=" + version
	material.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{Certificates: []*protocommon.X509Certificate{leaf}}}
	if version == "0.3" {
		mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
		material.Content = &protobundle.VerificationMaterial_Certificate{Certificate: leaf}
	}
	return &protobundle.Bundle{MediaType: mediaType, VerificationMaterial: material}
}

// JSON is a bundle as it is stored.
func JSON(b *protobundle.Bundle) []byte {
	data, err := protojson.Marshal(b)
	if err != nil {
		panic(err) // a bundle that was made here
	}
	return data
}

// Digest names data as an image's manifest is named.
func Digest(data []byte) string {
	digest := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(digest[:])
}
