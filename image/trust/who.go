package trust

import (
	"context"
	"errors"
	"fmt"
)

// Who is whose signature is wanted: of one of the keys, or of a person whom a
// certificate names. Empty fields accept anybody; something must be given.
type Who struct {
	Keys []Key
	// Issuer and Subject are the certificate's; SubjectRegexp matches the subject.
	Issuer, Subject, SubjectRegexp string
	// TrustedRoot is sigstore's trusted_root.json; nil takes the user's.
	TrustedRoot []byte
}

// Finding is a signature that was verified.
type Finding struct {
	Signer Signer `json:"signer"`
	Form   Form   `json:"form"`
	// Reference is the name that the signature has for the image, "" in a bundle.
	Reference string `json:"reference,omitempty"`
	Digest    string `json:"digest"`
}

// Search returns the signatures of an image that were made by who is wanted,
// and why the others don't count when there is none.
func (o Options) Search(ctx context.Context, img Image, find Find, w Who) ([]Finding, error) {
	d := &decision{Options: o, ctx: ctx, img: img, find: find, found: map[Forms][]Signature{}}
	list, missed := d.signatures(Forms{Cosign: true, Bundle: true})
	var all []Finding
	var why reasons
	for _, s := range list {
		signer, c, err := d.by(s, w)
		if err == nil {
			err = c.covers(img.Digests)
		}
		if err == nil && s.Form != Bundle && !(Identity{Type: matchRepository}).accepts(img, c.Reference) {
			err = fmt.Errorf("it is of an image called %.300q", c.Reference)
		}
		if err != nil {
			why.add(err)
			continue
		}
		all = append(all, Finding{signer, s.Form, c.Reference, s.Of.String()})
	}
	if len(all) == 0 && missed != nil {
		return nil, missed
	}
	if len(all) == 0 {
		return nil, refuse("%s: %v", img, why.err())
	}
	return all, nil
}

func (d *decision) by(s Signature, w Who) (Signer, claims, error) {
	if !s.keyless() {
		if len(w.Keys) == 0 {
			return Signer{}, claims{}, errors.New("it was made by a key without a certificate")
		}
		return d.byKeys(s, w.Keys, nil)
	}
	if w.Subject == "" && w.SubjectRegexp == "" || w.Issuer == "" {
		return Signer{}, claims{}, errors.New("it has a certificate: say whose it has to be")
	}
	root := w.TrustedRoot
	if root == nil {
		var err error
		if _, root, err = trustedRoot(); err != nil {
			return Signer{}, claims{}, err
		}
	}
	return d.certified(s, question{TrustedRoot: root, Identity: &wanted{w.Issuer, w.Subject, w.SubjectRegexp}})
}
