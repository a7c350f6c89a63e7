package keyless

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"crypto"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// Root is what a signature is checked against: a trusted_root.json, or a certificate authority and a log's keys as
// policy.json has them.
type Root struct {
	TrustedRoot json.RawMessage

	FulcioCA  []byte   // PEM: one or more certificates, each of which is trusted
	RekorKeys [][]byte // PEM: public keys, any of which may have signed a log's entry
}

type certificates []*x509.Certificate

// material is the root as the library takes it. The intermediates came with the signature: they lead to the root's
// certificates, or nowhere.
func (r Root) material(intermediates certificates) (root.TrustedMaterial, error) {
	switch {
	case r.TrustedRoot != nil && (r.FulcioCA != nil || r.RekorKeys != nil):
		return nil, errors.New("both a trusted root and the parts of one")
	case r.TrustedRoot != nil:
		t, err := root.NewTrustedRootFromJSON(r.TrustedRoot)
		if err != nil {
			return nil, fmt.Errorf("the trusted root: %w", err)
		}
		if len(t.FulcioCertificateAuthorities()) == 0 {
			return nil, errors.New("the trusted root names no certificate authority")
		}
		if len(t.RekorLogs()) == 0 && len(t.TimestampingAuthorities()) == 0 {
			return nil, errors.New("the trusted root names neither a transparency log nor a timestamp authority: nothing could say when a certificate was used")
		}
		return withIntermediates{t, intermediates}, nil
	}
	p := parts{logs: map[string]*root.TransparencyLog{}}
	authorities, err := parseCertificates(r.FulcioCA)
	if err != nil {
		return nil, fmt.Errorf("the certificate authority: %w", err)
	}
	for _, c := range authorities {
		p.authorities = append(p.authorities, &root.FulcioCertificateAuthority{Root: c})
	}
	if len(r.RekorKeys) == 0 {
		return nil, errors.New("no key of a transparency log: nothing could say when a certificate was used")
	}
	for _, data := range r.RekorKeys {
		if err := p.addLog(data); err != nil {
			return nil, fmt.Errorf("the transparency log's key: %w", err)
		}
	}
	return withIntermediates{&p, intermediates}, nil
}

// parts is a trust root of certificates and keys that say nothing of how long they are good.
type parts struct {
	root.BaseTrustedMaterial
	authorities []root.CertificateAuthority
	logs        map[string]*root.TransparencyLog // by the key's id
}

// FulcioCertificateAuthorities has one for each certificate.
func (p *parts) FulcioCertificateAuthorities() []root.CertificateAuthority { return p.authorities }

// RekorLogs has one for each key.
func (p *parts) RekorLogs() map[string]*root.TransparencyLog { return p.logs }

// addLog adds the log with a public key. A log's id is the hash of its key.
func (p *parts) addLog(data []byte) error {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) != 0 {
		return errors.New("not one public key in PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	if _, ok := key.(*ecdsa.PublicKey); !ok {
		return fmt.Errorf("a %T, where an ECDSA key is wanted", key)
	}
	id := sha256.Sum256(block.Bytes)
	p.logs[hex.EncodeToString(id[:])] = &root.TransparencyLog{
		ID: id[:], PublicKey: key, HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
		ValidityPeriodStart: time.Unix(0, 0), // the library wants one
	}
	return nil
}

// withIntermediates is a trust root, and certificates to find the way with.
type withIntermediates struct {
	root.TrustedMaterial
	more certificates
}

// FulcioCertificateAuthorities are the root's own, each with more ways to lead to it.
func (w withIntermediates) FulcioCertificateAuthorities() []root.CertificateAuthority {
	var all []root.CertificateAuthority
	for _, a := range w.TrustedMaterial.FulcioCertificateAuthorities() {
		if f, ok := a.(*root.FulcioCertificateAuthority); ok {
			more := *f
			more.Intermediates = append(append(certificates{}, f.Intermediates...), w.more...)
			a = &more
		}
		all = append(all, a)
	}
	return all
}

// parseCertificates reads one or more certificates in PEM, and nothing else.
func parseCertificates(data []byte) (certificates, error) {
	var all certificates
	for len(data) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a %q, where certificates are wanted", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all, data = append(all, c), rest
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return all, nil
}
