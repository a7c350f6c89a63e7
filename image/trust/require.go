package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

var errUnsigned = errors.New("it is not signed")

// requirement returns an error unless the image meets one requirement of a policy.
func (d *decision) requirement(r Requirement) error {
	switch r.Type {
	case acceptAnything:
		return nil
	case reject:
		return errors.New("it rejects all such images")
	case signedBy:
		return d.signedBy(r)
	case sigstoreSigned:
		return d.sigstoreSigned(r)
	}
	return fmt.Errorf("requirement %s cannot be checked by anybody", r.Type)
}

// signedBy wants a signature of simple signing by one of the keys.
func (d *decision) signedBy(r Requirement) error {
	if r.KeyType != "GPGKeys" {
		return fmt.Errorf("keyType %s cannot be checked by anybody", r.KeyType)
	}
	d.rests(r.Keys.Paths...)
	keys, err := r.Keys.read()
	if err != nil {
		return err
	}
	return d.any(Forms{Simple: true}, func(s Signature) (Signer, error) {
		signer, c, err := d.gpg(s, keys)
		if err == nil {
			err = d.matches(r.Identity, c)
		}
		return signer, err
	})
}

// sigstoreSigned wants one of cosign's signatures, by one of the keys or by a
// person whom an authority knows.
func (d *decision) sigstoreSigned(r Requirement) error {
	for _, s := range []source{r.Keys, r.Rekor} {
		d.rests(s.Paths...)
	}
	keys, err := readKeys(r.Keys)
	if err != nil {
		return err
	}
	logs, err := readKeys(r.Rekor)
	if err != nil {
		return err
	}
	check := func(s Signature) (Signer, claims, error) { return d.byKeys(s, keys, logs) }
	if f := r.Fulcio; f != nil {
		d.rests(f.CA.Paths...)
		ca, err := f.CA.read()
		if err != nil {
			return err
		}
		q := question{FulcioCA: bytes.Join(ca, []byte("\n")), Identity: &wanted{Issuer: f.Issuer, SAN: f.Email}}
		for _, k := range logs {
			q.RekorKeys = append(q.RekorKeys, k.PEM())
		}
		check = func(s Signature) (Signer, claims, error) { return d.certified(s, q) }
	}
	if r.PKI != nil {
		d.rests(r.PKI.Roots.Paths...)
		d.rests(r.PKI.Intermediates.Paths...)
		check = func(s Signature) (Signer, claims, error) { return byAuthority(s, r.PKI) }
	}
	return d.any(Forms{Cosign: true}, func(s Signature) (Signer, error) {
		signer, c, err := check(s)
		if err == nil {
			err = d.matches(r.Identity, c)
		}
		return signer, err
	})
}

// any looks for a signature that counts.
func (d *decision) any(forms Forms, check func(Signature) (Signer, error)) error {
	list, missed := d.signatures(forms)
	var why reasons
	for _, s := range list {
		signer, err := check(s)
		if err == nil {
			d.verdict.Signers = addSigner(d.verdict.Signers, signer)
			d.found[forms] = list
			return nil
		}
		if d.ctx.Err() != nil {
			return d.ctx.Err()
		}
		why.add(err)
	}
	if missed != nil {
		return missed
	}
	return why.err()
}

// matches wants claims about this image by the name that the policy wants.
func (d *decision) matches(id Identity, c claims) error {
	if err := c.covers(d.img.Digests); err != nil {
		return err
	}
	if !id.accepts(d.img, c.Reference) {
		return fmt.Errorf("it is of an image called %.300q, which %s does not accept here", c.Reference, id.Type)
	}
	return nil
}

// byKeys checks a signature with each of the keys, and with the transparency
// logs when there are any.
func (d *decision) byKeys(s Signature, keys, logs []Key) (Signer, claims, error) {
	for _, k := range keys {
		c, err := s.verifyKey(k)
		if errors.Is(err, errNotByKey) {
			continue
		}
		if err == nil && len(logs) > 0 {
			err = logged(s, k, logs)
		}
		return Signer{Kind: kindKey, Fingerprint: k.Fingerprint(), Key: string(k.PEM())}, c, err
	}
	if len(keys) == 1 {
		return Signer{}, claims{}, fmt.Errorf("%w %s", errNotByKey, keys[0].Fingerprint())
	}
	return Signer{}, claims{}, fmt.Errorf("it was made by none of %d keys", len(keys))
}

func logged(s Signature, k Key, logs []Key) error {
	entry, err := parseRekor(s.Annotations[annotationRekor])
	if err != nil {
		return err
	}
	sig, err := s.raw()
	if err != nil {
		return err
	}
	return entry.verify(logs, k, s.Body, sig)
}

// gpg checks a signature of simple signing with OpenPGP keys.
func (d *decision) gpg(s Signature, keys [][]byte) (Signer, claims, error) {
	a, err := d.Verifier.ask(d.ctx, question{Kind: "gpg", Keys: keys, Signature: s.Body})
	if err != nil {
		return Signer{}, claims{}, err
	}
	if a.Fingerprint == "" {
		return Signer{}, claims{}, errors.New("loper-verify names no key")
	}
	c, err := parsePayload(a.Payload, simpleType)
	return Signer{Kind: kindGPG, Fingerprint: a.Fingerprint, Name: oneLine(a.Signer)}, c, err
}

// certified checks a signature whose key has a certificate of the keyless kind.
func (d *decision) certified(s Signature, q question) (Signer, claims, error) {
	q.Kind = "keyless"
	q.Artifact = s.Of.String()
	switch s.Form {
	case Bundle:
		q.Bundle = s.Body
	case Cosign:
		sig, err := s.raw()
		if err != nil {
			return Signer{}, claims{}, err
		}
		if s.Annotations[annotationCertificate] == "" {
			return Signer{}, claims{}, errors.New("it has no certificate")
		}
		if _, err := parseRekor(s.Annotations[annotationRekor]); err != nil && q.RekorKeys != nil {
			return Signer{}, claims{}, err
		}
		q.Payload, q.Signature = s.Body, sig
		q.Certificate, q.Chain = s.Annotations[annotationCertificate], s.Annotations[annotationChain]
		for annotation, field := range map[string]*json.RawMessage{annotationRekor: &q.RekorBundle, annotationTimestamp: &q.Timestamp} {
			if text := s.Annotations[annotation]; text != "" {
				if !json.Valid([]byte(text)) {
					return Signer{}, claims{}, fmt.Errorf("its annotation %s is no JSON", annotation)
				}
				*field = []byte(text)
			}
		}
	}
	a, err := d.Verifier.ask(d.ctx, q)
	if err != nil {
		return Signer{}, claims{}, err
	}
	if a.SAN == "" || a.Issuer == "" {
		return Signer{}, claims{}, errors.New("its certificate names nobody")
	}
	if q.Identity != nil && (q.Identity.Issuer != "" && q.Identity.Issuer != a.Issuer || q.Identity.SAN != "" && q.Identity.SAN != a.SAN) {
		return Signer{}, claims{}, fmt.Errorf("it was made by %s (known to %s)", oneLine(a.SAN), oneLine(a.Issuer))
	}
	signer := Signer{Kind: kindKeyless, Issuer: a.Issuer, Subject: a.SAN}
	if s.Form == Bundle {
		c, err := parseStatement(a.Payload)
		return signer, c, err
	}
	if !bytes.Equal(a.Payload, s.Body) {
		return Signer{}, claims{}, errors.New("loper-verify speaks of another payload")
	}
	c, err := parsePayload(s.Body, cosignType)
	return signer, c, err
}
