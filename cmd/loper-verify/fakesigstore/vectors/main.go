// Command vectors writes signatures that image/trust is tested with, made by a fake sigstore:
//
//	go run ./fakesigstore/vectors >../../image/trust/testdata/keyless.json
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"loper.run/cmd/loper-verify/fakesigstore"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	const manifest = `{"schemaVersion":2}`
	digest := fakesigstore.Digest([]byte(manifest))
	s := must(fakesigstore.New())
	out := map[string]any{
		"trustedRoot": json.RawMessage(must(s.TrustedRoot(fakesigstore.Services{Log: true, CT: true}))),
		"ca":          string(fakesigstore.PEM(s.Root)), "log": string(s.LogKey()),
		"digest": digest, "reference": "registry.example/app", "issuer": "https://accounts.example", "subject": "release@example.com",
	}
	leaf := fakesigstore.Leaf{Issuer: "https://accounts.example", Emails: []string{"release@example.com"}, From: time.Now().Add(-time.Hour)}
	signer := must(s.Signer(leaf))
	leaf.Emails = []string{"mallory@example.com"}
	mallory := must(s.Signer(leaf))
	late := *signer
	late.At = late.Certificate.NotAfter.Add(time.Hour)
	annotated := func(w *fakesigstore.Signer) map[string]any {
		payload := fakesigstore.SimpleSigning("registry.example/app", digest)
		sig, logged, err := w.Sign(payload)
		if err != nil {
			panic(err)
		}
		return map[string]any{"body": payload, "annotations": map[string]string{
			"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig),
			"dev.sigstore.cosign/certificate":    string(fakesigstore.PEM(w.Certificate)),
			"dev.sigstore.cosign/chain":          string(fakesigstore.PEM(s.Intermediate, s.Root)),
			"dev.sigstore.cosign/bundle":         string(logged.Annotation()),
		}, "form": "cosign", "of": digest}
	}
	bundle := func(w *fakesigstore.Signer, predicate, of string) map[string]any {
		return map[string]any{"form": "bundle", "of": digest, "body": fakesigstore.JSON(must(w.StatementBundle("0.3", predicate, of)))}
	}
	const signing = "https://sigstore.dev/cosign/sign/v1"
	out["annotated"], out["annotatedMallory"], out["annotatedLate"] = annotated(signer), annotated(mallory), annotated(&late)
	out["bundle"], out["bundleMallory"] = bundle(signer, signing, digest), bundle(mallory, signing, digest)
	out["bundleAttestation"] = bundle(signer, "https://spdx.dev/Document", digest)
	out["bundleElsewhere"] = bundle(signer, signing, fakesigstore.Digest([]byte("other")))

	// A key without a certificate, logged.
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	pub := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&k.PublicKey))})
	payload := fakesigstore.SimpleSigning("registry.example/app", digest)
	sum := sha256.Sum256(payload)
	sig := must(ecdsa.SignASN1(rand.Reader, k, sum[:]))
	entry := must(s.Append(fakesigstore.HashedRekord(payload, sig, pub), time.Now()))
	out["key"] = string(pub)
	out["keyLogged"] = map[string]any{"form": "cosign", "of": digest, "body": payload, "annotations": map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig),
		"dev.sigstore.cosign/bundle":         string(entry.Annotation()),
	}}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "\t")
	if err := enc.Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
