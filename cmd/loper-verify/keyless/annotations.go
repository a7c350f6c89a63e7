package keyless

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
)

// mediaType is of the bundles that need no proof that an entry is in the log, only the log's promise: annotations have
// no more.
const mediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// annotations makes a bundle of what cosign stores as annotations, and returns the certificates that came along.
func (s Signature) annotations() (*bundle.Bundle, certificates, error) {
	if len(s.Payload) == 0 || len(s.Signature) == 0 {
		return nil, nil, errors.New("neither a bundle nor a payload with its signature")
	}
	leaf, err := parseCertificates([]byte(s.Certificate))
	if err != nil {
		return nil, nil, fmt.Errorf("the signature's certificate: %w", err)
	}
	if len(leaf) > 1 {
		return nil, nil, fmt.Errorf("the signature's certificate: %d of them", len(leaf))
	}
	var chain certificates
	if strings.TrimSpace(s.Chain) != "" {
		if chain, err = parseCertificates([]byte(s.Chain)); err != nil {
			return nil, nil, fmt.Errorf("the certificate's chain: %w", err)
		}
	}
	digest := sha256.Sum256(s.Payload)
	material := &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_X509CertificateChain{
		X509CertificateChain: &protocommon.X509CertificateChain{Certificates: []*protocommon.X509Certificate{{RawBytes: leaf[0].Raw}}},
	}}
	if s.RekorBundle != nil {
		entry, err := logEntry(s.RekorBundle)
		if err != nil {
			return nil, nil, fmt.Errorf("the log's entry: %w", err)
		}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if s.Timestamp != nil {
		var t struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal(s.Timestamp, &t); err != nil {
			return nil, nil, fmt.Errorf("the timestamp: %w", err)
		}
		material.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: t.SignedRFC3161Timestamp}},
		}
	}
	b, err := bundle.NewBundle(&protobundle.Bundle{
		MediaType: mediaType, VerificationMaterial: material,
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: digest[:]},
			Signature:     s.Signature,
		}},
	})
	return b, chain, err
}

// logEntry reads cosign's annotation: an entry of the log, and the log's signed promise to include it.
func logEntry(data []byte) (*protorekor.TransparencyLogEntry, error) {
	var annotation struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal(data, &annotation); err != nil {
		return nil, err
	}
	p := annotation.Payload
	if len(annotation.SignedEntryTimestamp) == 0 {
		return nil, errors.New("without the log's signature")
	}
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(p.Body, &kind); err != nil {
		return nil, fmt.Errorf("its body: %w", err)
	}
	id, err := hex.DecodeString(p.LogID)
	if err != nil {
		return nil, fmt.Errorf("the log's id: %w", err)
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: p.LogIndex, LogId: &protocommon.LogId{KeyId: id}, IntegratedTime: p.IntegratedTime, CanonicalizedBody: p.Body,
		KindVersion:      &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: annotation.SignedEntryTimestamp},
	}, nil
}

// payloadNames checks that the signed text speaks of the artifact.
func payloadNames(payload []byte, artifact string) error {
	var text struct {
		Critical struct {
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(payload, &text); err != nil {
		return fmt.Errorf("the signed text: %w", err)
	}
	if text.Critical.Image.Digest != artifact {
		return fmt.Errorf("a signature of %q and not of %s", text.Critical.Image.Digest, artifact)
	}
	return nil
}

// splitDigest reads "sha256:…" or "sha512:…".
func splitDigest(artifact string) (algorithm string, digest []byte, err error) {
	algorithm, text, _ := strings.Cut(artifact, ":")
	digest, err = hex.DecodeString(text)
	if size := map[string]int{"sha256": 32, "sha512": 64}[algorithm]; err != nil || size == 0 || len(digest) != size {
		return "", nil, fmt.Errorf("%q is no digest of an image", artifact)
	}
	return algorithm, digest, nil
}
