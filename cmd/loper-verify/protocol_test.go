package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"loper.run/cmd/loper-verify/fakesigstore"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// ask makes a request of its fields.
func ask(t testing.TB, fields map[string]any) string {
	t.Helper()
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func gpgRequest(t testing.TB, payload string) map[string]any {
	t.Helper()
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}
	entity, err := pgp.NewEntity("Edda", "", "edda@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	var keys, message bytes.Buffer
	if err := entity.Serialize(&keys); err != nil {
		t.Fatal(err)
	}
	w, err := pgp.Sign(&message, []*pgp.Entity{entity}, nil, config)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(payload))
	w.Close()
	return map[string]any{"kind": "gpg", "keys": [][]byte{keys.Bytes()}, "signature": message.Bytes()}
}

func keylessRequest(t testing.TB) map[string]any {
	t.Helper()
	s, err := fakesigstore.New()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := s.Signer(fakesigstore.Leaf{Issuer: "https://accounts.example", Emails: []string{"release@example.com"}, From: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	digest := fakesigstore.Digest([]byte("{}"))
	b, err := signer.StatementBundle("0.3", "https://sigstore.dev/cosign/sign/v1", digest)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := s.TrustedRoot(fakesigstore.Services{Log: true, CT: true})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"kind": "keyless", "trustedRoot": json.RawMessage(trust), "bundle": json.RawMessage(fakesigstore.JSON(b)), "artifact": digest,
		"identity": map[string]any{"issuer": "https://accounts.example", "san": "release@example.com"}}
}

// The program as it is: confined, it finds both kinds of signature good.
func TestProgram(t *testing.T) {
	a, said, err := program(t, ask(t, gpgRequest(t, "{}")))
	if err != nil || !a.OK || string(a.Payload) != "{}" || len(a.Fingerprint) != 40 || a.Signer != "Edda <edda@example.com>" || a.Created == 0 {
		t.Errorf("%v %s: %+v", err, said, a)
	}
	r := keylessRequest(t)
	a, said, err = program(t, ask(t, r))
	if err != nil || !a.OK || a.SAN != "release@example.com" || a.Issuer != "https://accounts.example" || a.IntegratedTime == 0 || !strings.HasSuffix(a.PredicateType, "sign/v1") {
		t.Errorf("%v %s: %+v", err, said, a)
	}
	r["identity"] = map[string]any{"sanRegexp": "somebody@.*"}
	a, said, err = program(t, ask(t, r))
	if err != nil || a.OK || a.Error != `signed by "release@example.com", which is not like "somebody@.*"` || a.Payload != nil || a.SAN != "" {
		t.Errorf("%v %s: %+v", err, said, a)
	}
}

// What is no request is not answered.
func TestBadRequests(t *testing.T) {
	for name, c := range map[string]struct{ stdin, says string }{
		"nothing":              {"", "the request: EOF"},
		"no JSON":              {"hello", "invalid character"},
		"no kind":              {"{}", `no kind of signature ""`},
		"another kind":         {`{"kind":"x509"}`, `no kind of signature "x509"`},
		"an unknown condition": {`{"kind":"gpg","notAfter":1}`, `unknown field "notAfter"`},
		"two":                  {`{"kind":"gpg"}{"kind":"gpg"}`, "something follows"},
		"rubbish at its end":   {`{"kind":"gpg"}]`, "something follows"},
		"too much":             {`{"kind":"` + strings.Repeat("g", maxRequest) + `"}`, "more than"},
		"deep":                 {strings.Repeat("[", 100000), "the request"},
	} {
		_, said, err := program(t, c.stdin)
		if err == nil || !strings.HasPrefix(said, "loper-verify: ") || !strings.Contains(said, c.says) || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: %v: %q, want %q", name, err, said, c.says)
		}
	}
	a, said, err := program(t, `{"kind":"gpg"}`)
	if err != nil || a.OK || a.Error != "no keys to verify with" {
		t.Errorf("%v %s: %+v", err, said, a)
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct{ arg, says string }{{"--version", "loper-verify version "}, {"--help", "usage: loper-verify < REQUEST"}} {
		var out bytes.Buffer
		if err := run([]string{c.arg}, nil, &out); err != nil || !strings.HasPrefix(out.String(), c.says) {
			t.Errorf("%s: %v: %s", c.arg, err, &out)
		}
	}
	if err := run([]string{"--key=x"}, nil, nil); err == nil || !strings.Contains(err.Error(), "unknown argument") {
		t.Error(err)
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\r\nc":              "a; b; c",
		"red \x1b[31m alert\x00": "red \uFFFD[31m alert\uFFFD",
		"bad \xff":               "bad \uFFFD",
		"right \u202e left":      "right \uFFFD left",
	} {
		if got := oneLine(errors.New(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := oneLine(errors.New(strings.Repeat("ä", 10000))); len([]rune(got)) != 501 {
		t.Errorf("%d runes", len([]rune(got)))
	}
}
