package trust

import (
	"context"
	"fmt"
	"time"
)

// Options are how strict to be.
type Options struct {
	// Policy is a policy.json to be used in place of the user's or the system's.
	Policy string
	// Require refuses images that nobody is known to have signed.
	Require bool
	// Observe decides without recording who signed the first time.
	Observe bool
	// Verifier checks what needs another program.
	Verifier Verifier
}

// Forms says which signatures are wanted.
type Forms struct{ Simple, Cosign, Bundle bool }

// Find looks for the signatures of an image. Not finding any is no error. With
// an error it returns what it found elsewhere, which may be enough.
type Find func(ctx context.Context, forms Forms) ([]Signature, error)

// maxSignatures is how many signatures of an image are looked at. One that is
// accepted is enough, so that more would only keep us busy.
const maxSignatures = 64

// decision is one under way.
type decision struct {
	Options
	ctx     context.Context
	img     Image
	find    Find
	verdict Verdict
	found   map[Forms][]Signature
}

// Decide tells whether an image may be used. The error matches ErrRefused when
// it may not; every other error is about what could not be found out, and then
// it may not either.
func (o Options) Decide(ctx context.Context, img Image, find Find) (Verdict, error) {
	d := &decision{Options: o, ctx: ctx, img: img, find: find, found: map[Forms][]Signature{}}
	d.verdict = Verdict{
		Transport: img.Transport, Name: img.Ref.String(), Path: img.Path, Digests: img.Digests,
		Verified: time.Now().UTC(), Files: o.policyIDs(), Rule: ByNone,
	}
	if img.Ref.Domain == "" {
		d.verdict.Name = ""
		if img.Ref.Tag != "" {
			d.verdict.Name = ":" + img.Ref.Tag
		}
	}
	policy, err := LoadPolicy(o.Policy)
	if err != nil {
		return Verdict{}, err
	}
	list, scope, decided := policy.For(img)
	if decided {
		d.verdict.Rule, d.verdict.Scope = ByPolicy, scope
		for _, r := range list {
			if err := d.requirement(r); err != nil {
				return Verdict{}, refuse("the signature policy %s does not accept %s: %v", policy.Path, img, err)
			}
		}
	}
	if !decided || o.Require && !d.verdict.Signed() {
		if err := d.byKnown(decided); err != nil {
			return Verdict{}, err
		}
	}
	for _, list := range d.found {
		d.verdict.Found = append(d.verdict.Found, list...)
	}
	return d.verdict, nil
}

// signatures finds those of one kind, once.
func (d *decision) signatures(forms Forms) ([]Signature, error) {
	list, ok := d.found[forms]
	if ok {
		return list, nil
	}
	list, err := d.find(d.ctx, forms)
	if len(list) > maxSignatures {
		list = list[:maxSignatures]
	}
	if err != nil {
		return list, fmt.Errorf("look for signatures: %w", err)
	}
	d.found[forms] = list
	return list, nil
}

// rests adds a file that the decision rests on. Call it before reading the file.
func (d *decision) rests(paths ...string) {
	for _, path := range paths {
		d.verdict.Files = append(d.verdict.Files, identify(path))
	}
}

// reasons gathers why signatures do not count.
type reasons struct {
	first error
	count int
}

func (r *reasons) add(err error) {
	if r.first == nil {
		r.first = err
	}
	r.count++
}

// err is all of them in one.
func (r *reasons) err() error {
	switch r.count {
	case 0:
		return errUnsigned
	case 1:
		return fmt.Errorf("its signature does not count: %w", r.first)
	}
	return fmt.Errorf("none of its %d signatures counts; the first: %w", r.count, r.first)
}
