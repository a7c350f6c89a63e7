package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"loper.run/cmd/loper-verify/keyless"
	"loper.run/test/env"
)

// The vectors are the same in each process, as fuzzing wants it.

// Whatever the request, there is an answer of one line, and it says either "ok" or why not.
func FuzzAnswer(f *testing.F) {
	l, repositories := readLayout(f, vectors)
	for repository, tags := range repositories {
		if repository != "v3-keyless-bundle" {
			continue
		}
		digest := env.Digest(tags["v1"])
		f.Add(ask(f, map[string]any{"kind": "keyless", "trustedRoot": json.RawMessage(readFile(f, vectors, "trusted_root.json")),
			"bundle": l.beside(f, digest, tags).Bundle, "artifact": digest}))
	}
	f.Add(`{"kind":"gpg","keys":["mDMEAAAA"],"signature":"iHUEABYKAB0="}`)
	f.Add(`{"kind":"keyless","fulcioCA":"","rekorKeys":[""],"payload":"e30=","signature":"AA==","certificate":"","chain":"","rekorBundle":{},"timestamp":{}}`)
	f.Fuzz(func(t *testing.T, data string) {
		out, err := answerTo([]byte(data))
		if err != nil {
			return
		}
		var a answer
		if bad := json.Unmarshal(out, &a); bad != nil || bytes.Count(out, []byte("\n")) != 1 || a.OK == (a.Error != "") {
			t.Errorf("%s: %v", out, bad)
		}
	})
}

// No change of a bundle makes it somebody else's, or of another image.
func FuzzBundle(f *testing.F) {
	l, repositories := readLayout(f, vectors)
	root := keyless.Root{TrustedRoot: readFile(f, vectors, "trusted_root.json")}
	digest := ""
	for _, repository := range []string{"v2-keyless-bundle", "v3-keyless-bundle", "v3-key-bundle", "v2-key-attestation-bundle"} {
		tags := repositories[repository]
		digest = env.Digest(tags["v1"])
		f.Add([]byte(l.beside(f, digest, tags).Bundle))
	}
	another := env.Digest([]byte("another"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := keyless.Signature{Bundle: data}
		if signed, err := keyless.Verify(root, b, digest, keyless.Identity{}); err == nil && (signed.SAN != tokenName || signed.Issuer != tokenIssuer) {
			t.Errorf("signed by %s of %s", signed.SAN, signed.Issuer)
		}
		if _, err := keyless.Verify(root, b, another, keyless.Identity{}); err == nil {
			t.Error("taken as of another image")
		}
	})
}

// The same of cosign's annotations, each of them.
func FuzzAnnotations(f *testing.F) {
	l, repositories := readLayout(f, vectors)
	root := keyless.Root{FulcioCA: readFile(f, vectors, "fulcio.pem"), RekorKeys: [][]byte{readFile(f, vectors, "rekor.pub")}}
	texts := map[string]bool{}
	digest := ""
	for _, repository := range []string{"v2-keyless-tag", "v3-keyless-tag", "v2-key-tag-logged"} {
		tags := repositories[repository]
		digest = env.Digest(tags["v1"])
		s := l.beside(f, digest, tags)
		texts[string(s.Payload)] = true
		f.Add(s.Payload, s.Signature, s.Certificate, s.Chain, []byte(s.RekorBundle))
	}
	f.Fuzz(func(t *testing.T, text, signature []byte, certificate, chain string, entry []byte) {
		s := keyless.Signature{Payload: text, Signature: signature, Certificate: certificate, Chain: chain, RekorBundle: entry}
		if got, err := keyless.Verify(root, s, digest, keyless.Identity{}); err == nil && (got.SAN != tokenName || !texts[string(text)]) {
			t.Errorf("%q signed by %s", text, got.SAN)
		}
	})
}
