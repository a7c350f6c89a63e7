package trust

import (
	"strings"
)

// Signer is who made a signature: the key with the fingerprint, of a person
// whom an issuer of identities knew when there is a certificate.
type Signer struct {
	Kind string `json:"kind"` // key, keyless or gpg
	// Fingerprint is the key's: sha256:… of cosign's kind, hexadecimal digits
	// of OpenPGP's. A keyless signer has none: its keys live for minutes.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Key is the public key in PEM, of the kind key.
	Key string `json:"key,omitempty"`
	// Issuer and Subject identify a keyless signer: who logged in where.
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Name is what a key says of its owner, or the file it came from. It
	// identifies nobody.
	Name string `json:"name,omitempty"`
}

// Kinds of signers.
const (
	kindKey     = "key"
	kindKeyless = "keyless"
	kindGPG     = "gpg"
)

// Is tells whether both are the same signer.
func (s Signer) Is(o Signer) bool {
	if s.Kind != o.Kind {
		return false
	}
	if s.Kind == kindKeyless {
		return s.Issuer != "" && s.Subject != "" && s.Issuer == o.Issuer && s.Subject == o.Subject
	}
	return s.Fingerprint != "" && strings.EqualFold(s.Fingerprint, o.Fingerprint)
}

// String is the signer in one line.
func (s Signer) String() string {
	text := ""
	switch s.Kind {
	case kindKeyless:
		return oneLine(s.Subject + " (known to " + s.Issuer + ")")
	case kindGPG:
		text = "the GPG key " + s.Fingerprint
	default:
		text = "the key " + s.Fingerprint
	}
	if s.Name != "" {
		text += " (" + s.Name + ")"
	}
	return oneLine(text)
}

// describe lists signers for a message.
func describe(list []Signer) string {
	var words []string
	for _, s := range list {
		words = append(words, s.String())
	}
	return strings.Join(words, " and ")
}

// addSigner adds s unless it is there.
func addSigner(list []Signer, s Signer) []Signer {
	for _, have := range list {
		if have.Is(s) {
			return list
		}
	}
	return append(list, s)
}

// KeySigner is who has a key; name says where the key came from.
func KeySigner(k Key, name string) Signer {
	return Signer{Kind: kindKey, Fingerprint: k.Fingerprint(), Key: string(k.PEM()), Name: name}
}

// FingerprintSigner is who has the key with a fingerprint: sha256:… of a key of
// cosign's kind, hexadecimal digits of an OpenPGP key.
func FingerprintSigner(fingerprint string) Signer {
	if strings.HasPrefix(fingerprint, "sha256:") {
		return Signer{Kind: kindKey, Fingerprint: strings.ToLower(fingerprint)}
	}
	return Signer{Kind: kindGPG, Fingerprint: strings.ToUpper(strings.ReplaceAll(fingerprint, " ", ""))}
}

// PersonSigner is whom an issuer of identities knows as subject.
func PersonSigner(issuer, subject string) Signer {
	return Signer{Kind: kindKeyless, Issuer: issuer, Subject: subject}
}
