package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// byAuthority checks a signature whose key has a certificate of an ordinary
// authority. Nobody says when it was made, so the certificate must be valid now.
func byAuthority(s Signature, p *pki) (Signer, claims, error) {
	fail := func(err error) (Signer, claims, error) { return Signer{}, claims{}, err }
	roots, err := p.Roots.read()
	if err != nil {
		return fail(err)
	}
	intermediates, err := p.Intermediates.read()
	if err != nil {
		return fail(err)
	}
	text := s.Annotations[annotationCertificate]
	if text == "" {
		return fail(errors.New("it has no certificate"))
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return fail(errors.New("its certificate is not in PEM"))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fail(fmt.Errorf("its certificate: %w", err))
	}
	o := x509.VerifyOptions{Roots: pool(roots), Intermediates: pool(append(intermediates, []byte(s.Annotations[annotationChain]))), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	if _, err := cert.Verify(o); err != nil {
		return fail(fmt.Errorf("its certificate: %w", err))
	}
	if p.Email != "" && !slices.Contains(cert.EmailAddresses, p.Email) {
		return fail(fmt.Errorf("its certificate is for %.200q, not for %q", cert.EmailAddresses, p.Email))
	}
	if p.Hostname != "" {
		if err := cert.VerifyHostname(p.Hostname); err != nil {
			return fail(fmt.Errorf("its certificate: %w", err))
		}
	}
	k, err := NewKey(cert.PublicKey)
	if err != nil {
		return fail(err)
	}
	c, err := s.verifyKey(k)
	subject := p.Email
	if subject == "" {
		subject = p.Hostname
	}
	return Signer{Kind: kindKeyless, Issuer: cert.Issuer.String(), Subject: subject}, c, err
}

func pool(bodies [][]byte) *x509.CertPool {
	p := x509.NewCertPool()
	for _, b := range bodies {
		p.AppendCertsFromPEM(b)
	}
	return p
}
