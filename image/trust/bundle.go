package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// bundle is the part of sigstore's bundle (sigstore_bundle.proto, in JSON) that
// a key needs. What has certificates is read by the Verifier.
type bundle struct {
	MediaType string
	Material  material
	Envelope  *envelope
}

type material struct {
	Key         *struct{ Hint string } `json:"publicKey"`
	Certificate json.RawMessage        `json:"certificate"`
	Chain       json.RawMessage        `json:"x509CertificateChain"`
	Entries     []struct {
		Body []byte `json:"canonicalizedBody"`
	} `json:"tlogEntries"`
}

// envelope is DSSE's (envelope.md).
type envelope struct {
	Payload     []byte `json:"payload"`
	PayloadType string `json:"payloadType"`
	Signatures  []struct {
		Sig []byte `json:"sig"`
	} `json:"signatures"`
}

const bundlePrefix = "application/vnd.dev.sigstore.bundle"

func parseBundle(data []byte) (*bundle, error) {
	b := &bundle{}
	err := object(data, func(key string) any {
		switch key {
		case "mediaType":
			return &b.MediaType
		case "verificationMaterial":
			return &b.Material
		case "dsseEnvelope":
			return &b.Envelope
		}
		return new(json.RawMessage)
	})
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if !strings.HasPrefix(b.MediaType, bundlePrefix) {
		return nil, fmt.Errorf("bundle: its type is %.100q", b.MediaType)
	}
	return b, nil
}

// certified tells whether a certificate names the signer.
func (b *bundle) certified() bool { return b.Material.Certificate != nil || b.Material.Chain != nil }

// verifyKey checks the envelope with a key. There is exactly one signature in a
// bundle: which of several counts is nothing to guess.
func (b *bundle) verifyKey(k Key) (claims, error) {
	e := b.Envelope
	switch {
	case e == nil:
		return claims{}, errors.New("bundle: it has no dsseEnvelope")
	case len(e.Signatures) != 1:
		return claims{}, fmt.Errorf("bundle: its envelope has %d signatures, not one", len(e.Signatures))
	}
	if err := k.Verify(preAuth(e.PayloadType, e.Payload), e.Signatures[0].Sig); err != nil {
		return claims{}, err
	}
	return e.claims()
}

// claims reads the statement of an envelope that was verified.
func (e *envelope) claims() (claims, error) {
	if e.PayloadType != statementType {
		return claims{}, fmt.Errorf("bundle: its payload is a %.100q", e.PayloadType)
	}
	return parseStatement(e.Payload)
}

const statementType = "application/vnd.in-toto+json"

// preAuth is what DSSE signs (protocol.md): type and body with their lengths.
func preAuth(kind string, body []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(body), body)
}
