// Package fakesigstore is a sigstore for tests: a certificate authority (Fulcio), a certificate transparency log, a
// transparency log (Rekor) and a timestamp authority, with keys of its own, at whatever time a test wants.
package fakesigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
)

// Sigstore is one deployment.
type Sigstore struct {
	Root         *x509.Certificate
	Intermediate *x509.Certificate

	intermediateKey *ecdsa.PrivateKey
	logKey, ctKey   *ecdsa.PrivateKey
	timestamps      *ca.VirtualSigstore
}

// New makes a deployment whose authorities are good from a day ago to ten years from now.
func New() (*Sigstore, error) {
	s := &Sigstore{}
	rootKey, err := newKey()
	if err != nil {
		return nil, err
	}
	for _, key := range []**ecdsa.PrivateKey{&s.intermediateKey, &s.logKey, &s.ctKey} {
		if *key, err = newKey(); err != nil {
			return nil, err
		}
	}
	if s.timestamps, err = ca.NewVirtualSigstore(); err != nil {
		return nil, err
	}
	authority := func(name string, pathLength int) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{"loper tests"}},
			NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(10, 0, 0),
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
			BasicConstraintsValid: true, IsCA: true, MaxPathLen: pathLength, MaxPathLenZero: pathLength == 0,
		}
	}
	template := authority("root", 1)
	if s.Root, err = certify(template, template, &rootKey.PublicKey, rootKey); err != nil {
		return nil, err
	}
	s.Intermediate, err = certify(authority("intermediate", 0), s.Root, &s.intermediateKey.PublicKey, rootKey)
	return s, err
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func certify(template, parent *x509.Certificate, public crypto.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Leaf is what a signer's certificate says.
type Leaf struct {
	Public crypto.PublicKey
	Issuer string    // who vouches for the names
	Emails []string  // the names
	From   time.Time // good for ten minutes from then on
	NoSCT  bool      // in no certificate transparency log
}

// Certificate gives a signer's certificate.
func (s *Sigstore) Certificate(l Leaf) (*x509.Certificate, error) {
	issuer, err := asn1.MarshalWithParams(l.Issuer, "utf8")
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), EmailAddresses: l.Emails,
		NotBefore: l.From, NotAfter: l.From.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(l.Issuer)},
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issuer},
		},
	}
	c, err := certify(template, s.Intermediate, l.Public, s.intermediateKey)
	if err != nil || l.NoSCT {
		return c, err
	}
	list, err := s.transparency(c)
	if err != nil {
		return nil, err
	}
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: list})
	return certify(template, s.Intermediate, l.Public, s.intermediateKey)
}

// Timestamp is a timestamp authority's answer (RFC 3161) for a signature: that it was there now.
func (s *Sigstore) Timestamp(signature []byte) ([]byte, error) {
	return s.timestamps.TimestampResponse(signature)
}

// Services says which of the deployment's services a trust root names, besides the certificate authority.
type Services struct{ Log, CT, Timestamps bool }

// TrustedRoot is the deployment's trusted_root.json.
func (s *Sigstore) TrustedRoot(with Services) ([]byte, error) {
	from, to := time.Now().AddDate(0, 0, -1), time.Now().AddDate(10, 0, 0)
	log := func(key *ecdsa.PrivateKey) map[string]*root.TransparencyLog {
		id := keyID(&key.PublicKey)
		return map[string]*root.TransparencyLog{"it": {
			BaseURL: "https://log.example", ID: id[:], ValidityPeriodStart: from, ValidityPeriodEnd: to,
			HashFunc: crypto.SHA256, PublicKey: &key.PublicKey, SignatureHashFunc: crypto.SHA256,
		}}
	}
	var logs, ct map[string]*root.TransparencyLog
	var stamps []root.TimestampingAuthority
	if with.Log {
		logs = log(s.logKey)
	}
	if with.CT {
		ct = log(s.ctKey)
	}
	if with.Timestamps {
		stamps = s.timestamps.TimestampingAuthorities()
	}
	authority := &root.FulcioCertificateAuthority{Root: s.Root, Intermediates: []*x509.Certificate{s.Intermediate}, ValidityPeriodStart: from, ValidityPeriodEnd: to, URI: "https://ca.example"}
	t, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{authority}, ct, stamps, logs)
	if err != nil {
		return nil, err
	}
	return t.MarshalJSON()
}

// LogKey is the log's public key in PEM, as policy.json names it.
func (s *Sigstore) LogKey() []byte { return publicPEM(&s.logKey.PublicKey) }

// CTKey is the certificate transparency log's public key in PEM.
func (s *Sigstore) CTKey() []byte { return publicPEM(&s.ctKey.PublicKey) }

func keyID(public *ecdsa.PublicKey) [32]byte {
	der, _ := x509.MarshalPKIXPublicKey(public)
	return sha256.Sum256(der)
}

func publicPEM(public *ecdsa.PublicKey) []byte {
	der, _ := x509.MarshalPKIXPublicKey(public)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// PEM is certificates in PEM, one after the other.
func PEM(certificates ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
