// Package gpg checks "simple signing" signatures: OpenPGP messages that hold a signed text (containers-signature(5)).
package gpg

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// maxPayload limits the signed text, in bytes, compressed or not. Real ones have a few hundred.
const maxPayload = 1 << 20

// Signed is a signature that was found good.
type Signed struct {
	Payload     []byte    // the signed text
	Fingerprint string    // of the signer's primary key, in hexadecimal
	Subkey      string    // fingerprint of the key that made the signature, when that is not the primary one
	Signer      string    // the primary user id, as it stands in the key
	Created     time.Time // when the signature was made, as the signer says
}

// Verify checks that message is one signed text, with one signature by one of the keys in the key files, each a keyring
// as "gpg --export" writes it, armored or not. What gpg refuses is refused, at the time now: a key that is revoked or has
// expired since, a signature that has expired. Refused besides: SHA-1, MD5 and RIPEMD-160, RSA keys below 2048 bits, DSA,
// several signatures, anything before or after the message, and encrypted messages.
func Verify(keyFiles [][]byte, message []byte, now time.Time) (*Signed, error) {
	keys, err := readKeys(keyFiles)
	if err != nil {
		return nil, err
	}
	message, err = binaryMessage(message)
	if err != nil {
		return nil, err
	}
	config := configuration(now)
	id, err := issuer(message, config)
	if err != nil {
		return nil, err
	}
	if id == 0 { // for the library, any key
		return nil, errors.New("a signature that does not say which key made it")
	}
	candidates := keys.EntitiesById(id)
	if len(candidates) == 0 {
		return nil, fmt.Errorf("signed by the unknown key %016X: it is none of the %d keys given", id, len(keys))
	}
	// The same key may come in several versions, of which only one is revoked: gpg, which merges them, refuses it.
	for _, e := range candidates {
		if e.Revoked(now) {
			return nil, fmt.Errorf("the key %X is revoked", e.PrimaryKey.Fingerprint)
		}
	}
	var failures error
	for _, e := range candidates {
		signed, err := check(e, id, message, config)
		if err == nil {
			return signed, nil
		}
		failures = errors.Join(failures, err)
	}
	return nil, failures
}

// configuration is of a verifier that knows the time now.
func configuration(now time.Time) *packet.Config {
	limit := int64(maxPayload)
	return &packet.Config{
		Time:                       func() time.Time { return now },
		MaxDecompressedMessageSize: &limit,
		// Keys older than key flags say nothing of what they are for; gpg takes them for everything.
		InsecureAllowAllKeyFlagsWhenMissing: true,
	}
}

// issuer is the id of the key that the message's only signature names. Nothing is verified.
func issuer(message []byte, config *packet.Config) (uint64, error) {
	details, _, err := read(nil, message, config)
	if err != nil {
		return 0, err
	}
	return details.SignatureCandidates[0].IssuerKeyId, nil
}

// check verifies the message by one key and its subkeys, of which one has the id.
func check(e *pgp.Entity, id uint64, message []byte, config *packet.Config) (*Signed, error) {
	details, payload, err := read(pgp.EntityList{e}, message, config)
	if err != nil {
		return nil, err
	}
	if details.SignatureError != nil {
		return nil, errors.Join(subkeyError(e, id, config), explain(e, details.SignatureError))
	}
	signature, by := details.Signature, details.SignedBy
	if !details.IsVerified || signature == nil || by == nil || by.Entity != e || by.PublicKey.KeyId != id {
		return nil, errors.New("the signature was not verified")
	}
	// The library asks whether the key was good when the signature says it was made; it has to be good today too.
	if _, err := e.VerifyPrimaryKey(config.Now(), config); err != nil {
		return nil, explain(e, err)
	}
	if _, ok := e.SigningKeyById(config.Now(), id, config); !ok {
		return nil, errors.Join(subkeyError(e, id, config), fmt.Errorf("the key %X may not sign any more", by.PublicKey.Fingerprint))
	}
	signed := &Signed{Payload: payload, Fingerprint: fingerprint(e.PrimaryKey), Created: signature.CreationTime}
	if !by.IsPrimary() {
		signed.Subkey = fingerprint(by.PublicKey)
	}
	if _, identity := e.PrimaryIdentity(config.Now(), config); identity != nil {
		signed.Signer = identity.Name
	}
	return signed, nil
}

// read reads the whole message, which must have the form of one signed text with one signature. With a keyring the
// details say afterwards whether the signature is good.
func read(keys pgp.KeyRing, message []byte, config *packet.Config) (*pgp.MessageDetails, []byte, error) {
	r := bytes.NewReader(message)
	details, err := pgp.ReadMessage(r, keys, nil, config)
	switch {
	case errors.Is(err, pgperrors.ErrKeyIncorrect):
		return nil, nil, errors.New("not a signature: an encrypted message")
	case err != nil:
		return nil, nil, malformed(err)
	case details.IsEncrypted:
		return nil, nil, errors.New("not a signature: an encrypted message")
	case len(details.SignatureCandidates) == 0:
		return nil, nil, errors.New("a message without a signature")
	case len(details.SignatureCandidates) > 1:
		return nil, nil, fmt.Errorf("%d signatures in one message, where one is wanted", len(details.SignatureCandidates))
	}
	payload, err := io.ReadAll(io.LimitReader(details.UnverifiedBody, maxPayload+1))
	if err != nil {
		return nil, nil, malformed(err)
	}
	if len(payload) > maxPayload {
		return nil, nil, fmt.Errorf("a signed text of more than %d bytes", maxPayload)
	}
	if r.Len() != 0 {
		return nil, nil, fmt.Errorf("%d bytes follow the signed message", r.Len())
	}
	return details, payload, nil
}

// malformed says what is wrong with the message's form.
func malformed(err error) error {
	var sequence pgperrors.ErrMalformedMessage
	if errors.As(err, &sequence) { // it tells the states of an automaton
		return errors.New("the parts of the OpenPGP message are not those of one signed text")
	}
	return fmt.Errorf("not a signed OpenPGP message: %w", err)
}

// explain names the key in errors of the library that tell only what is wrong with it.
func explain(e *pgp.Entity, err error) error {
	var weak pgperrors.WeakAlgorithmError
	switch {
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return fmt.Errorf("the key %X has expired", e.PrimaryKey.Fingerprint)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return fmt.Errorf("the key %X is revoked", e.PrimaryKey.Fingerprint)
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return errors.New("the signature has expired, or is from the future")
	case errors.As(err, &weak):
		return fmt.Errorf("the key %X is too weak: %s", e.PrimaryKey.Fingerprint, string(weak))
	}
	return fmt.Errorf("not a good signature of the key %X: %w", e.PrimaryKey.Fingerprint, err)
}

// subkeyError says what is wrong with the subkey of that id today, if anything is: the library tells only that no key fits.
func subkeyError(e *pgp.Entity, id uint64, config *packet.Config) error {
	for _, s := range e.Subkeys {
		if s.PublicKey.KeyId != id {
			continue
		}
		switch _, err := s.Verify(config.Now(), config); {
		case errors.Is(err, pgperrors.ErrKeyRevoked):
			return fmt.Errorf("the subkey %X is revoked", s.PublicKey.Fingerprint)
		case errors.Is(err, pgperrors.ErrKeyExpired):
			return fmt.Errorf("the subkey %X has expired", s.PublicKey.Fingerprint)
		}
	}
	return nil
}

func fingerprint(k *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(k.Fingerprint))
}

// binaryMessage takes the armor off, if there is one, around which only white space may stand.
func binaryMessage(message []byte) ([]byte, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(message), []byte("-----BEGIN PGP ")) {
		return message, nil
	}
	r := bufio.NewReader(bytes.NewReader(bytes.TrimSpace(message)))
	block, err := armor.Decode(r)
	if err != nil {
		return nil, fmt.Errorf("the message's armor: %w", err)
	}
	if block.Type != pgp.MessageType {
		return nil, fmt.Errorf("not a signed message but a %q", block.Type)
	}
	data, err := io.ReadAll(io.LimitReader(block.Body, maxPayload*2))
	if err != nil {
		return nil, fmt.Errorf("the message's armor: %w", err)
	}
	// The library may leave the last line.
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 && string(rest) != "-----END "+pgp.MessageType+"-----" {
		return nil, errors.New("something follows the message's armor")
	}
	return data, nil
}
