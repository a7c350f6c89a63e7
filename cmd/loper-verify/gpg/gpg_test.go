package gpg

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var text = []byte(`{"critical":{"identity":{"docker-reference":"registry.example/app:1"},"image":{"docker-manifest-digest":"sha256:00"},"type":"atomic container signature"},"optional":{}}`)

// long ago is a time that gpg is made to believe in.
const longAgo = "20200101T000000!"

func TestGoodSignatures(t *testing.T) {
	h := newHome(t)
	rsa := h.generate("Rita <rita@example.com>", "rsa2048", "sign", "never")
	ed := h.generate("Edda <edda@example.com>", "ed25519", "sign", "never")
	nist := h.generate("Nina <nina@example.com>", "nistp256", "sign", "never")
	sub := h.generate("Susi <susi@example.com>", "ed25519", "cert", "never")
	h.gpg(nil, "--quick-add-key", sub, "ed25519", "sign", "never")
	all := h.export()
	for name, c := range map[string]struct {
		keys    [][]byte
		message []byte
		want    Signed
	}{
		"RSA":                {[][]byte{all}, h.sign(rsa, text), Signed{Fingerprint: rsa, Signer: "Rita <rita@example.com>"}},
		"Ed25519":            {[][]byte{all}, h.sign(ed, text), Signed{Fingerprint: ed, Signer: "Edda <edda@example.com>"}},
		"ECDSA":              {[][]byte{all}, h.sign(nist, text), Signed{Fingerprint: nist, Signer: "Nina <nina@example.com>"}},
		"subkey":             {[][]byte{all}, h.sign(sub, text), Signed{Fingerprint: sub, Signer: "Susi <susi@example.com>"}},
		"a key file each":    {[][]byte{h.export(rsa), h.export(ed)}, h.sign(ed, text), Signed{Fingerprint: ed, Signer: "Edda <edda@example.com>"}},
		"the same key twice": {[][]byte{h.export(ed), h.export(ed)}, h.sign(ed, text), Signed{Fingerprint: ed, Signer: "Edda <edda@example.com>"}},
		"armored keys": {[][]byte{append(h.gpg(nil, "--armor", "--export", rsa), h.gpg(nil, "--armor", "--export", ed)...)},
			h.sign(ed, text), Signed{Fingerprint: ed, Signer: "Edda <edda@example.com>"}},
		"armored message": {[][]byte{all}, h.sign(ed, text, "--armor"), Signed{Fingerprint: ed, Signer: "Edda <edda@example.com>"}},
		"not compressed":  {[][]byte{all}, h.sign(ed, text, "--compress-algo", "none"), Signed{Fingerprint: ed, Signer: "Edda <edda@example.com>"}},
		"SHA-512":         {[][]byte{all}, h.sign(rsa, text, "--digest-algo", "SHA512"), Signed{Fingerprint: rsa, Signer: "Rita <rita@example.com>"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Verify(c.keys, c.message, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Payload, text) || got.Fingerprint != c.want.Fingerprint || got.Signer != c.want.Signer || time.Since(got.Created) > time.Minute {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if name == "subkey" != (got.Subkey != "" && got.Subkey != got.Fingerprint) {
				t.Errorf("subkey %q", got.Subkey)
			}
			if !gpgTakes(t, bytes.Join(c.keys, nil), c.message) {
				t.Error("gpg refuses it")
			}
		})
	}
}

// What gpg refuses is refused; what it takes all the same has its reason.
func TestRefusedSignatures(t *testing.T) {
	h := newHome(t)
	ed := h.generate("Edda <edda@example.com>", "ed25519", "sign", "never")
	other := h.generate("Otto <otto@example.com>", "ed25519", "sign", "never")
	stranger := newHome(t)
	unknown := stranger.generate("Udo <udo@example.com>", "ed25519", "sign", "never")
	rsa := h.generate("Rita <rita@example.com>", "rsa2048", "sign", "never")
	encrypting := h.generate("Erna <erna@example.com>", "ed25519", "sign", "never")
	h.gpg(nil, "--quick-add-key", encrypting, "cv25519", "encr", "never")
	weak := h.generate("Willi <willi@example.com>", "rsa1024", "sign", "never")
	expired := h.generate("Alte <alte@example.com>", "ed25519", "sign", "seconds=86400", "--faked-system-time", longAgo)
	byExpired := h.sign(expired, text, "--faked-system-time", longAgo)
	old := h.generate("Olaf <olaf@example.com>", "ed25519", "sign", "never", "--faked-system-time", longAgo)
	oldSub := h.generate("Sybille <sybille@example.com>", "ed25519", "cert", "never", "--faked-system-time", longAgo)
	h.gpg(nil, "--faked-system-time", longAgo, "--quick-add-key", oldSub, "ed25519", "sign", "seconds=86400")
	byOldSub := h.sign(oldSub, text, "--faked-system-time", longAgo)
	revoked := h.generate("Ruth <ruth@example.com>", "ed25519", "sign", "never")
	byRevoked, beforeRevocation := h.sign(revoked, text), h.export(revoked)
	certificate, err := os.ReadFile(filepath.Join(h.dir, "openpgp-revocs.d", revoked+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	h.gpg(bytes.Replace(certificate, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1), "--import")
	all := h.export()
	good := h.sign(ed, text)
	plain := h.sign(ed, text, "--compress-algo", "none")
	for name, c := range map[string]struct {
		keys     [][]byte
		message  []byte
		says     string
		gpgTakes bool
	}{
		"unknown key":                {[][]byte{all}, stranger.sign(unknown, text), "unknown key " + unknown[24:], false},
		"expired key":                {[][]byte{all}, byExpired, "has expired", false},
		"expired subkey":             {[][]byte{all}, byOldSub, "has expired", false},
		"revoked key":                {[][]byte{all}, byRevoked, "is revoked", false},
		"revoked in one file of two": {[][]byte{beforeRevocation, h.export(revoked)}, byRevoked, "is revoked", false},
		"expired signature":          {[][]byte{all}, h.sign(old, text, "--faked-system-time", longAgo, "--default-sig-expire", "seconds=60"), "expired", false},
		"signature of the future":    {[][]byte{all}, h.sign(ed, text, "--faked-system-time", "20991231T000000!"), "future", true},
		"SHA-1":                      {[][]byte{all}, h.sign(ed, text, "--digest-algo", "SHA1", "--allow-weak-digest-algos"), "insecure message hash", true},
		"MD5":                        {[][]byte{all}, h.sign(rsa, text, "--digest-algo", "MD5", "--allow-weak-digest-algos"), "without a signature", false},
		"RSA of 1024 bits":           {[][]byte{all}, h.sign(weak, text), "too weak", true},
		"critical notation":          {[][]byte{all}, h.sign(ed, text, "--sig-notation", "!rule@example.com=1"), "unknown critical notation", false},
		"two signatures":             {[][]byte{all}, h.sign(ed, text, "--local-user", other), "2 signatures", false},
		"two messages":               {[][]byte{all}, append(bytes.Clone(plain), plain...), "not those of one signed text", false},
		"bytes after the message":    {[][]byte{all}, append(bytes.Clone(plain), "more"...), "not a signed OpenPGP message", false},
		"a message after armor":      {[][]byte{all}, bytes.Repeat(h.sign(ed, text, "--armor"), 2), "follows the message's armor", true},
		"detached":                   {[][]byte{all}, h.gpg(text, "--local-user", ed, "--output", "-", "--detach-sign"), "not those of one signed text", false},
		"clear text":                 {[][]byte{all}, h.gpg(text, "--local-user", ed, "--output", "-", "--clear-sign"), "SIGNED MESSAGE", true},
		"encrypted":                  {[][]byte{all}, h.gpg(text, "--local-user", ed, "--recipient", encrypting, "--output", "-", "--sign", "--encrypt"), "encrypted", false},
		"not signed":                 {[][]byte{all}, h.gpg(text, "--output", "-", "--store"), "without a signature", false},
		"a key":                      {[][]byte{all}, h.export(ed), "not", false},
		"changed text":               {[][]byte{all}, bytes.Replace(plain, []byte("registry.example"), []byte("registry.exbmple"), 1), "not a good signature", false},
		"cut":                        {[][]byte{all}, good[:len(good)-10], "not", false},
		"empty":                      {[][]byte{all}, nil, "not those of one signed text", false},
		"a bomb":                     {[][]byte{all}, h.sign(ed, make([]byte, 64<<20), "--compress-level", "9"), "", true},
		"no keys":                    {nil, good, "no keys", true},
		"empty key file":             {[][]byte{nil}, good, "no OpenPGP keys", true},
		"one empty key file":         {[][]byte{all, {}}, good, "no OpenPGP keys", true},
		"a message as key file":      {[][]byte{good}, good, "key file 1", true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Verify(c.keys, c.message, time.Now())
			if err == nil {
				t.Fatalf("taken as signed by %s", got.Signer)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q, want %q", err, c.says)
			}
			if takes := gpgTakes(t, all, c.message); takes != c.gpgTakes {
				t.Errorf("gpg takes it: %v", takes)
			}
		})
	}
}
