package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"loper.run/cmd/loper-verify/gpg"
	"loper.run/cmd/loper-verify/keyless"
)

// request is what loper asks. Bytes are base64 in JSON.
type request struct {
	Kind      string `json:"kind"` // "gpg" or "keyless"
	Signature []byte `json:"signature"`

	Keys [][]byte `json:"keys"` // gpg: key files

	// keyless: the trust root, as a whole or in parts
	TrustedRoot json.RawMessage `json:"trustedRoot"`
	FulcioCA    []byte          `json:"fulcioCA"`
	RekorKeys   [][]byte        `json:"rekorKeys"`

	// keyless: the signature, as a bundle or in parts, and of what and whom it has to be
	Bundle      json.RawMessage `json:"bundle"`
	Payload     []byte          `json:"payload"`
	Certificate string          `json:"certificate"`
	Chain       string          `json:"chain"`
	RekorBundle json.RawMessage `json:"rekorBundle"`
	Timestamp   json.RawMessage `json:"timestamp"`
	Artifact    string          `json:"artifact"`
	Identity    struct {
		Issuer    string `json:"issuer"`
		SAN       string `json:"san"`
		SANRegexp string `json:"sanRegexp"`
	} `json:"identity"`
}

// answer is what loper gets. Names in it are the signers' own words.
type answer struct {
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
	Payload []byte `json:"payload,omitempty"` // what is signed

	// gpg
	Fingerprint string `json:"fingerprint,omitempty"` // of the primary key
	Subkey      string `json:"subkey,omitempty"`      // of the key that signed, if that is a subkey
	Signer      string `json:"signer,omitempty"`      // the primary user id
	Created     int64  `json:"created,omitempty"`     // seconds since 1970

	// keyless
	PredicateType  string `json:"predicateType,omitempty"` // of a statement
	Issuer         string `json:"issuer,omitempty"`
	SAN            string `json:"san,omitempty"`
	IntegratedTime int64  `json:"integratedTime,omitempty"` // seconds since 1970: when a log or an authority saw the signature
}

// answerTo reads a request and makes the answer, one line of JSON. Its error is of the request: that nothing was checked.
func answerTo(data []byte) ([]byte, error) {
	var r request
	d := json.NewDecoder(bytes.NewReader(data))
	// A condition that this version does not know must not be left out.
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("the request: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the request: something follows it")
	}
	if r.Kind != "gpg" && r.Kind != "keyless" {
		return nil, fmt.Errorf("the request: no kind of signature %q; it is gpg or keyless", r.Kind)
	}
	a, err := check(r)
	if err != nil {
		a = answer{Error: oneLine(err)}
	}
	out, err := json.Marshal(a)
	return append(out, '\n'), err
}

// check checks the signature. A panic of a parser is a signature that is not good.
func check(r request) (a answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the signature could not be read: %v", p)
		}
	}()
	if r.Kind == "gpg" {
		s, err := gpg.Verify(r.Keys, r.Signature, time.Now())
		if err != nil {
			return answer{}, err
		}
		return answer{OK: true, Payload: s.Payload, Fingerprint: s.Fingerprint, Subkey: s.Subkey, Signer: s.Signer, Created: s.Created.Unix()}, nil
	}
	s, err := keyless.Verify(
		keyless.Root{TrustedRoot: r.TrustedRoot, FulcioCA: r.FulcioCA, RekorKeys: r.RekorKeys},
		keyless.Signature{Bundle: r.Bundle, Payload: r.Payload, Signature: r.Signature, Certificate: r.Certificate, Chain: r.Chain, RekorBundle: r.RekorBundle, Timestamp: r.Timestamp},
		r.Artifact, keyless.Identity(r.Identity))
	if err != nil {
		return answer{}, err
	}
	return answer{OK: true, Payload: s.Payload, PredicateType: s.PredicateType, Issuer: s.Issuer, SAN: s.SAN, IntegratedTime: s.Time.Unix()}, nil
}

// oneLine makes a text for people out of an error, which may hold words of the signature.
func oneLine(err error) string {
	const most = 500
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}
