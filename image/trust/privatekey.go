package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"
)

// sealed is cosign's encrypted private key: PKCS #8 in a secretbox, whose key
// scrypt makes of a password.
type sealed struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct {
			N int `json:"N"`
			R int `json:"r"`
			P int `json:"p"`
		} `json:"params"`
		Salt []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

const (
	sealedType    = "ENCRYPTED SIGSTORE PRIVATE KEY"
	sealedTypeOld = "ENCRYPTED COSIGN PRIVATE KEY"
)

// PrivateKey signs images.
type PrivateKey struct {
	signer crypto.Signer
	Public Key
}

// ParsePrivateKey reads a private key in PEM: cosign's encrypted one, for which
// password is called, or a plain one in PKCS #8 or SEC 1.
func ParsePrivateKey(text []byte, password func() ([]byte, error)) (PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return PrivateKey{}, errors.New("private key: it is not in PEM")
	}
	der := block.Bytes
	switch block.Type {
	case "PRIVATE KEY":
	case "EC PRIVATE KEY":
		k, err := x509.ParseECPrivateKey(der)
		if err != nil {
			return PrivateKey{}, fmt.Errorf("private key: %w", err)
		}
		return newPrivateKey(k)
	case "RSA PRIVATE KEY":
		k, err := x509.ParsePKCS1PrivateKey(der)
		if err != nil {
			return PrivateKey{}, fmt.Errorf("private key: %w", err)
		}
		return newPrivateKey(k)
	case sealedType, sealedTypeOld:
		word, err := password()
		if err != nil {
			return PrivateKey{}, fmt.Errorf("private key: %w", err)
		}
		if der, err = unseal(der, word); err != nil {
			return PrivateKey{}, fmt.Errorf("private key: %w", err)
		}
	default:
		return PrivateKey{}, fmt.Errorf("private key: the file holds a %.60q", block.Type)
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("private key: %w", err)
	}
	return newPrivateKey(k)
}

func newPrivateKey(k any) (PrivateKey, error) {
	signer, ok := k.(crypto.Signer)
	if !ok {
		return PrivateKey{}, fmt.Errorf("private key: its kind %T does not sign", k)
	}
	public, err := NewKey(signer.Public())
	return PrivateKey{signer, public}, err
}

// Sign signs a message as Key.Verify checks it.
func (p PrivateKey) Sign(message []byte) ([]byte, error) {
	switch p.signer.(type) {
	case ed25519.PrivateKey:
		return p.signer.Sign(nil, message, crypto.Hash(0))
	case *ecdsa.PrivateKey, *rsa.PrivateKey:
		sum := sha256.Sum256(message)
		return p.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	return nil, fmt.Errorf("private key: its kind %T does not sign images", p.signer)
}

func unseal(data, password []byte) ([]byte, error) {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	p := s.KDF.Params
	switch {
	case s.KDF.Name != "scrypt" || s.Cipher.Name != "nacl/secretbox":
		return nil, fmt.Errorf("it is encrypted by %.40q and %.40q, which is not known", s.KDF.Name, s.Cipher.Name)
	case p.N < 2 || p.N > 1<<20 || p.R < 1 || p.R > 16 || p.P < 1 || p.P > 16:
		return nil, fmt.Errorf("scrypt's parameters N=%d, r=%d, p=%d would take too much", p.N, p.R, p.P)
	case len(s.Cipher.Nonce) != 24:
		return nil, fmt.Errorf("its nonce has %d bytes", len(s.Cipher.Nonce))
	}
	key, err := scrypt.Key(password, s.KDF.Salt, p.N, p.R, p.P, 32)
	if err != nil {
		return nil, err
	}
	der, ok := secretbox.Open(nil, s.Ciphertext, (*[24]byte)(s.Cipher.Nonce), (*[32]byte)(key))
	if !ok {
		return nil, errors.New("the password is wrong")
	}
	return der, nil
}

// GenerateKey makes a key on P-256: the private one as cosign encrypts it, and
// the public one, both in PEM.
func GenerateKey(password []byte) (private, public []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	var s sealed
	s.KDF.Name, s.Cipher.Name = "scrypt", "nacl/secretbox"
	s.KDF.Params.N, s.KDF.Params.R, s.KDF.Params.P = 1<<16, 8, 1
	s.KDF.Salt, s.Cipher.Nonce = make([]byte, 32), make([]byte, 24)
	rand.Read(s.KDF.Salt)
	rand.Read(s.Cipher.Nonce)
	key, err := scrypt.Key(password, s.KDF.Salt, s.KDF.Params.N, s.KDF.Params.R, s.KDF.Params.P, 32)
	if err != nil {
		return nil, nil, err
	}
	s.Ciphertext = secretbox.Seal(nil, der, (*[24]byte)(s.Cipher.Nonce), (*[32]byte)(key))
	body, err := json.Marshal(s)
	if err != nil {
		return nil, nil, err
	}
	own, err := NewKey(k.Public())
	return pem.EncodeToMemory(&pem.Block{Type: sealedType, Bytes: body}), own.PEM(), err
}
