package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// Key is a public key that signatures are checked with.
type Key struct {
	public crypto.PublicKey
	der    []byte // SubjectPublicKeyInfo
}

// ParseKey reads the first key of a PEM file: PUBLIC KEY, or RSA PUBLIC KEY.
func ParseKey(text []byte) (Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return Key{}, errors.New("public key: it is not in PEM")
	}
	var public crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return Key{}, fmt.Errorf("public key: the file holds a %.60q", block.Type)
	}
	if err != nil {
		return Key{}, fmt.Errorf("public key: %w", err)
	}
	return NewKey(public)
}

// NewKey returns a key of a kind that signs images: ECDSA on P-256, P-384 or
// P-521, Ed25519, or RSA of 2048 bits or more.
func NewKey(public crypto.PublicKey) (Key, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P224() {
			return Key{}, errors.New("public key: P-224 is too weak")
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if k.Size() < 256 {
			return Key{}, fmt.Errorf("public key: RSA of %d bits is too weak", 8*k.Size())
		}
	default:
		return Key{}, fmt.Errorf("public key: its kind %T does not sign images", public)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("public key: %w", err)
	}
	return Key{public, der}, nil
}

// Fingerprint names the key: the SHA-256 sum of its SubjectPublicKeyInfo.
func (k Key) Fingerprint() string {
	sum := sha256.Sum256(k.der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// PEM returns the key as cosign writes it.
func (k Key) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

// Verify returns an error unless the key made the signature of message. ECDSA
// and RSA (PKCS #1 1.5) sign its SHA-256 sum; the larger curves may sign the
// sum of their own size.
func (k Key) Verify(message, signature []byte) error {
	sum := sha256.Sum256(message)
	ok := false
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(p, sum[:], signature)
		if !ok && p.Curve == elliptic.P384() {
			long := sha512.Sum384(message)
			ok = ecdsa.VerifyASN1(p, long[:], signature)
		}
		if !ok && p.Curve == elliptic.P521() {
			long := sha512.Sum512(message)
			ok = ecdsa.VerifyASN1(p, long[:], signature)
		}
	case ed25519.PublicKey:
		ok = ed25519.Verify(p, message, signature)
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], signature) == nil
	}
	if !ok {
		return errNotByKey
	}
	return nil
}

var errNotByKey = errors.New("it was not made by the key")

// readKeys reads the keys of a source, one a file.
func readKeys(s source) ([]Key, error) {
	bodies, err := s.read()
	if err != nil {
		return nil, err
	}
	var keys []Key
	for i, body := range bodies {
		k, err := ParseKey(body)
		if err != nil {
			if i < len(s.Paths) {
				return nil, fmt.Errorf("%s: %w", s.Paths[i], err)
			}
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}
