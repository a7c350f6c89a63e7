package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"loper.run/image/archive"
	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
	"loper.run/image/trust"
)

const (
	maxVerdicts   = 32      // of one image: it may have come by several names
	maxVerdict    = 1 << 20 // bytes of all of them
	maxSignatures = 8 << 20 // bytes of the signatures that are kept
)

// subject is what is decided about, which is what will be unpacked: the digest
// that the name was resolved to, and those that it led to.
func (p *pull) subject() trust.Image {
	img := trust.Image{Transport: "docker", Ref: p.ref, Digests: []oci.Digest{p.target}}
	for _, x := range p.indexes[min(1, len(p.indexes)):] {
		img.Digests = appendNew(img.Digests, x.digest)
	}
	img.Digests = appendNew(img.Digests, p.digest)
	return img
}

// decide asks whether the image may be used, before anything of it is fetched
// but its documents.
func (p *pull) decide(ctx context.Context) error {
	img := p.subject()
	if !p.fresh && p.stillGood(img) {
		return nil
	}
	v, err := p.trust.Decide(ctx, img, trust.Registry(p.client, img))
	if err != nil {
		return err
	}
	if v.Message != "" {
		p.show.Message(v.Message)
	}
	p.verdict = v
	return nil
}

// decide asks whether an image of an archive may be used.
func (l *load) decide(ctx context.Context, arr *arrival, o trust.Options) error {
	img := trust.Image{Transport: transportOf(l.from.Form), Path: l.from.Path, Digests: []oci.Digest{arr.target}}
	for _, doc := range arr.docs[min(2, len(arr.docs)):] {
		img.Digests = appendNew(img.Digests, doc.digest)
	}
	img.Digests = appendNew(img.Digests, arr.docs[0].digest)
	switch {
	case len(arr.names) == 0:
	case l.from.Form == archive.DockerArchive:
		img.Ref = arr.names[0]
	default:
		img.Ref.Tag = arr.names[0].Tag
	}
	v, err := o.Decide(ctx, img, func(context.Context, trust.Forms) ([]trust.Signature, error) {
		bodies, err := l.from.Signatures(64, 1<<20)
		var all []trust.Signature
		for _, body := range bodies {
			all = append(all, trust.Signature{Form: trust.Simple, Body: body, Of: arr.target})
		}
		return all, err
	})
	arr.verdict = v
	return err
}

// transportOf is the name of a form in a policy.
func transportOf(f archive.Form) string {
	switch f {
	case archive.OCIDir:
		return "oci"
	case archive.DockerDir:
		return "dir"
	}
	return string(f)
}

// stillGood takes over what was decided about the very image by that name when
// it was pulled before, if it was signed and all that was asked is unchanged.
func (p *pull) stillGood(img trust.Image) bool {
	all, err := p.s.verdicts(p.manifest.Config.Digest)
	if err != nil {
		return false
	}
	for _, v := range all {
		if v.Transport == img.Transport && v.Name == img.Ref.String() && slices.Equal(v.Digests, img.Digests) && v.Signed() && v.Fresh(p.trust) && v.StillKnown() {
			p.verdict = v
			return true
		}
	}
	return false
}

// verdicts reads what was decided about an image; none is os.ErrNotExist.
func (s *Store) verdicts(id oci.Digest) (all []trust.Verdict, err error) {
	data, err := s.files.Note(id, store.Verdicts, maxVerdict)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("image %s: verdicts: %w: %w", id.Short(), store.ErrDamaged, err)
	}
	return all, nil
}

// keepVerdict stores a verdict with its image, in place of an older one about
// the image by the same name, and the signatures that it is made of.
func (s *Store) keepVerdict(rec *store.Image, v trust.Verdict) error {
	old, _ := s.verdicts(rec.ID) // one that is damaged is made anew
	all := []trust.Verdict{v}
	for _, o := range old {
		if len(all) < maxVerdicts && !o.Same(v) {
			all = append(all, o)
		}
	}
	if v.Found != nil {
		if err := s.keepSignatures(rec.ID, v.Found); err != nil {
			return err
		}
	}
	if len(old) != len(all) || !old[0].Equal(v) {
		if err := s.files.PutNote(rec.ID, store.Verdicts, all); err != nil {
			return err
		}
	}
	signer := ""
	for _, v := range all {
		if signer == "" {
			signer = v.Signer()
		}
	}
	if rec.Signer == signer {
		return nil
	}
	rec.Signer = signer
	return s.files.PutImage(*rec)
}

func (s *Store) keepSignatures(id oci.Digest, found []trust.Signature) error {
	all := found
	for _, o := range s.signatures(id) {
		if !slices.ContainsFunc(all, o.Equal) {
			all = append(all, o)
		}
	}
	total := 0
	for i, g := range all {
		if total += len(g.Body) * 3 / 2; total > maxSignatures/2 {
			all = all[:i]
			break
		}
	}
	if data, err := json.Marshal(all); err != nil || len(data) > maxSignatures {
		return err // what doesn't fit is asked of the registry again
	}
	return s.files.PutNote(id, store.Signatures, all)
}

// signatures are those that were found when the image came.
func (s *Store) signatures(id oci.Digest) (all []trust.Signature) {
	if data, err := s.files.Note(id, store.Signatures, maxSignatures); err == nil && json.Unmarshal(data, &all) != nil {
		return nil
	}
	return all
}

// Allow returns an error when an image of the store may not run: what was
// decided when it came doesn't hold any more. As long as the policy is the same
// file that costs no more than to read the verdict and to look at the file.
// What was made here, and came from nowhere, is the user's own.
func (s *Store) Allow(ctx context.Context, img *Image, o trust.Options) error {
	if img.Builtin != "" {
		return nil
	}
	all, err := s.verdicts(img.ID)
	if err != nil && !isNotExist(err) {
		return err
	}
	var rec store.Image
	if len(all) == 0 {
		if rec, err = s.files.Image(img.ID); err != nil {
			return err
		}
		all = fromBefore(rec)
	}
	if len(all) == 0 {
		return nil
	}
	var refusal error
	for _, v := range all {
		if v.Fresh(o) && (v.Signed() || !o.Require) {
			return nil
		}
	}
	for _, v := range all {
		again, err := o.Again(ctx, v, s.signatures(img.ID))
		if err == nil {
			if rec.ID.IsZero() {
				if rec, err = s.files.Image(img.ID); err != nil {
					return err
				}
			}
			again.Found = nil
			return s.keepVerdict(&rec, again)
		}
		if refusal == nil || !errors.Is(refusal, trust.ErrRefused) {
			refusal = err
		}
	}
	return fmt.Errorf("image %s may not run: %w", img.ID.Short(), refusal)
}

// fromBefore stands for the verdicts of an image that was pulled by an older
// program, which asked for none.
func fromBefore(rec store.Image) (all []trust.Verdict) {
	for _, name := range rec.Digests {
		if ref, err := reference.Parse(name); err == nil {
			all = append(all, trust.Verdict{Transport: "docker", Name: ref.String(), Digests: []oci.Digest{ref.Digest, rec.Manifest}, Rule: trust.ByNone})
		}
	}
	return all
}
