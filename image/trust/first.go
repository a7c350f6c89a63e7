package trust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// byKnown decides by who is known to sign the repository. decided tells that a
// policy accepted the image without asking for a signature.
func (d *decision) byKnown(decided bool) error {
	repository := d.img.Repository()
	var known []Signer
	var err error
	if repository != "" {
		if known, err = KnownSigners(repository); err != nil {
			return err
		}
	}
	forms := Forms{Simple: true, Cosign: true, Bundle: true}
	list, missed := d.signatures(forms)
	if d.ctx.Err() != nil {
		return d.ctx.Err()
	}
	var why reasons
	if missed != nil {
		why.add(missed)
	}
	var signers []Signer
	for _, s := range list {
		if signer, err := d.signer(s, known); err == nil {
			signers = addSigner(signers, signer)
		} else if d.ctx.Err() != nil {
			return d.ctx.Err()
		} else {
			why.add(err)
		}
	}
	d.found[forms] = list
	if len(known) > 0 {
		err := d.compare(repository, known, signers, why)
		if err != nil && len(signers) == 0 && missed != nil {
			return missed // which says nothing of who signed
		}
		return err
	}
	if len(signers) == 0 {
		if d.Require && missed != nil {
			return missed
		}
		if d.Require {
			return refuse("a signature is required of %s, but %v", d.img, why.err())
		}
		if why.count > 0 {
			d.verdict.Note = oneLine(why.err().Error())
			d.verdict.Message = fmt.Sprintf("Unverified: %s: %s", d.img, d.verdict.Note)
		}
		return nil
	}
	d.verdict.Signers = signers
	if !decided {
		d.verdict.Rule = ByFirst
	}
	if repository == "" || d.Observe {
		return nil
	}
	signers = signers[:min(len(signers), maxSigners)]
	if err := Remember(repository, signers...); err != nil {
		d.verdict.Message = fmt.Sprintf("Signed by %s, which could not be recorded: %v", describe(signers), err)
		return nil
	}
	d.verdict.Message = fmt.Sprintf("First signed image of %s: from now on it has to be signed by %s", d.img.Ref.FamiliarName(), describe(signers))
	return nil
}

// compare wants one of the signers to be known.
func (d *decision) compare(repository string, known, signers []Signer, why reasons) error {
	for _, s := range signers {
		for _, k := range known {
			if s.Is(k) {
				d.verdict.Signers = addSigner(d.verdict.Signers, s)
				d.verdict.Rule = ByKnown
			}
		}
	}
	if d.verdict.Signed() {
		return nil
	}
	how := "this image is not signed"
	switch {
	case len(signers) > 0:
		how = "this image is signed by " + describe(signers)
	case why.count > 0:
		how = "of this image that can't be said: " + why.err().Error()
	}
	name := d.img.Ref.FamiliarName()
	return refuse("%s is known to be signed by %s, but %s; if that is as it should be, run 'loper image trust rm %s' and try again", name, describe(known), how, name)
}

// signer finds out who made a signature of this image.
func (d *decision) signer(s Signature, known []Signer) (Signer, error) {
	var signer Signer
	var c claims
	var err error
	switch {
	case s.Form == Simple:
		var keys [][]byte
		if keys, err = localKeyrings(); err != nil {
			return Signer{}, err
		}
		if len(keys) == 0 {
			return Signer{}, errors.New("a GPG signature needs the signer's key: put it into the directory keys beside known_signers")
		}
		signer, c, err = d.gpg(s, keys)
	case s.keyless():
		var root []byte
		if _, root, err = trustedRoot(); err != nil {
			return Signer{}, err
		}
		signer, c, err = d.certified(s, question{TrustedRoot: root})
	default:
		signer, c, err = d.byAnyKey(s, known)
	}
	if err != nil {
		return Signer{}, err
	}
	if err := c.covers(d.img.Digests); err != nil {
		return Signer{}, err
	}
	// A bundle names no repository; the digest is what it is about.
	if s.Form != Bundle && !(Identity{Type: matchRepository}).accepts(d.img, c.Reference) {
		return Signer{}, fmt.Errorf("it is of an image called %.300q", c.Reference)
	}
	return signer, nil
}

// byAnyKey checks a signature with the keys that are known, that lie in the
// directory keys, and that it brings itself.
func (d *decision) byAnyKey(s Signature, known []Signer) (Signer, claims, error) {
	for _, k := range known {
		if key, err := ParseKey([]byte(k.Key)); k.Kind == kindKey && err == nil {
			if c, err := s.verifyKey(key); !errors.Is(err, errNotByKey) {
				return Signer{Kind: kindKey, Fingerprint: key.Fingerprint(), Key: k.Key, Name: k.Name}, c, err
			}
		}
	}
	local, err := localKeys()
	if err != nil {
		return Signer{}, claims{}, err
	}
	if own, ok := s.ownKey(); ok {
		local = append(local, namedKey{own, ""})
	}
	for _, k := range local {
		if c, err := s.verifyKey(k.Key); !errors.Is(err, errNotByKey) {
			return Signer{Kind: kindKey, Fingerprint: k.Fingerprint(), Key: string(k.PEM()), Name: k.name}, c, err
		}
	}
	return Signer{}, claims{}, errors.New("its key is not known: put it into the directory keys beside known_signers")
}

type namedKey struct {
	Key
	name string
}

// keysDir has public keys that first meetings are checked with: *.pub and
// *.pem of cosign's kind, *.gpg and *.asc of OpenPGP's.
const keysDir = "keys"

const maxLocalKeys = 100

// localFiles reads the files of the directories keys with one of the suffixes.
func localFiles(suffixes ...string) (names []string, bodies [][]byte, err error) {
	for _, dir := range dirs() {
		dir = filepath.Join(dir, keysDir)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // missing, or not for us to read
		}
		for _, e := range entries {
			for _, suffix := range suffixes {
				if !strings.HasSuffix(e.Name(), suffix) || len(names) >= maxLocalKeys {
					continue
				}
				body, err := readTrusted(filepath.Join(dir, e.Name()))
				if err != nil {
					return nil, nil, fmt.Errorf("key: %w", err)
				}
				names, bodies = append(names, e.Name()), append(bodies, body)
			}
		}
	}
	return names, bodies, nil
}

func localKeys() (keys []namedKey, err error) {
	names, bodies, err := localFiles(".pub", ".pem")
	for i, body := range bodies {
		k, err := ParseKey(body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", names[i], err)
		}
		keys = append(keys, namedKey{k, names[i]})
	}
	return keys, err
}

func localKeyrings() (keys [][]byte, err error) {
	_, keys, err = localFiles(".gpg", ".asc")
	return keys, err
}
