package gpg

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// forge makes the message "signature, text" by hand (RFC 9580, 5.2.3), with any hashed subpackets besides the time.
func forge(t *testing.T, key *packet.PrivateKey, issuer uint64, subpackets ...byte) []byte {
	t.Helper()
	created := []byte{5, 2}
	created = binary.BigEndian.AppendUint32(created, uint32(time.Now().Unix()))
	area := append(created, subpackets...)
	hashed := []byte{4, 0, 1, 8} // version 4, of binary data, RSA, SHA-256
	hashed = binary.BigEndian.AppendUint16(hashed, uint16(len(area)))
	hashed = append(hashed, area...)
	trailer := binary.BigEndian.AppendUint32([]byte{4, 0xff}, uint32(len(hashed)))
	digest := sha256.Sum256(bytes.Join([][]byte{text, hashed, trailer}, nil))
	number, err := rsa.SignPKCS1v15(rand.Reader, key.PrivateKey.(*rsa.PrivateKey), crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	body := append(hashed, 0, 10, 9, 16) // unhashed: the issuer's id
	body = binary.BigEndian.AppendUint64(body, issuer)
	body = append(body, digest[0], digest[1])
	body = binary.BigEndian.AppendUint16(body, uint16(len(number)*8))
	body = append(body, number...)
	literal := append([]byte{'b', 0, 0, 0, 0, 0}, text...)
	return append(onePacket(2, body), onePacket(11, literal)...)
}

func onePacket(tag byte, body []byte) []byte {
	header := []byte{0xc0 | tag, 0xff}
	return append(binary.BigEndian.AppendUint32(header, uint32(len(body))), body...)
}

func TestForgedSignatures(t *testing.T) {
	config := &packet.Config{RSABits: 2048, Algorithm: packet.PubKeyAlgoRSA, Time: func() time.Time { return time.Now().Add(-time.Hour) }}
	entity, err := pgp.NewEntity("Frieda", "", "frieda@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	var keys bytes.Buffer
	if err := entity.Serialize(&keys); err != nil {
		t.Fatal(err)
	}
	id := entity.PrimaryKey.KeyId
	verify := func(message []byte) error {
		_, err := Verify([][]byte{keys.Bytes()}, message, time.Now())
		return err
	}
	if err := verify(forge(t, entity.PrivateKey, id)); err != nil {
		t.Fatalf("a signature made by hand: %v", err)
	}
	for name, c := range map[string]struct {
		message []byte
		says    string
	}{
		"a critical subpacket of no meaning":    {forge(t, entity.PrivateKey, id, 2, 0x80|100, 1), "without a signature"},
		"no issuer":                             {forge(t, entity.PrivateKey, 0), "which key made it"},
		"another issuer":                        {forge(t, entity.PrivateKey, id+1), "unknown key"},
		"expired":                               {forge(t, entity.PrivateKey, id, 5, 3, 0, 0, 0, 0), ""}, // zero seconds mean for ever
		"a message of a thousand packets ahead": {append(bytes.Repeat(onePacket(10, []byte("PGP")), 1000), forge(t, entity.PrivateKey, id)...), ""},
	} {
		err := verify(c.message)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	// Every single changed bit is noticed, but for those that say nothing.
	message := forge(t, entity.PrivateKey, id)
	taken := 0
	for i := range message {
		changed := bytes.Clone(message)
		changed[i] ^= 1
		if signed, err := Verify([][]byte{keys.Bytes()}, changed, time.Now()); err == nil {
			taken++
			if !bytes.Equal(signed.Payload, text) {
				t.Errorf("byte %d changed: the text %q is taken", i, signed.Payload)
			}
		}
	}
	if taken > 16 { // the text's format, file name and date are not signed
		t.Errorf("%d bytes could be changed", taken)
	}
	t.Logf("%d of %d bytes say nothing", taken, len(message))
}

func FuzzVerify(f *testing.F) {
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}
	entity, err := pgp.NewEntity("Frieda", "", "frieda@example.com", config)
	if err != nil {
		f.Fatal(err)
	}
	var keys, message bytes.Buffer
	if err := entity.Serialize(&keys); err != nil {
		f.Fatal(err)
	}
	w, err := pgp.Sign(&message, []*pgp.Entity{entity}, nil, config)
	if err != nil {
		f.Fatal(err)
	}
	w.Write(text)
	w.Close()
	f.Add(keys.Bytes(), message.Bytes())
	f.Add(message.Bytes(), keys.Bytes())
	f.Add([]byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----"), []byte("-----BEGIN PGP MESSAGE-----\n\n-----END PGP MESSAGE-----"))
	f.Fuzz(func(t *testing.T, keyFile, message []byte) {
		signed, err := Verify([][]byte{keyFile}, message, time.Now())
		if err == nil && bytes.Equal(keyFile, keys.Bytes()) && !bytes.Equal(signed.Payload, text) {
			t.Errorf("taken as signed: %q", signed.Payload)
		}
	})
}
