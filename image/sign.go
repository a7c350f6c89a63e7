package image

import (
	"context"
	"errors"
	"fmt"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
	"loper.run/image/trust"
	"loper.run/internal/version"
)

// SignOptions says how to sign.
type SignOptions struct {
	Key trust.PrivateKey
	// Forms are those to be written; Simple is not.
	Forms trust.Forms
	// Recursive signs all that an index names too.
	Recursive bool
	// Identity is the name that the signature speaks of; "" is the image's own.
	Identity string
}

// Sign signs an image in its registry, and writes the signatures beside it. It
// returns the digests that it signed, the name's own first.
func Sign(ctx context.Context, name string, o SignOptions) (signed []oci.Digest, err error) {
	ref, client, err := atRegistry(name)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	identity := o.Identity
	if identity == "" {
		identity = reference.Reference{Domain: ref.Domain, Path: ref.Path, Tag: ref.Tag}.String()
	} else if _, err := reference.Parse(identity); err != nil {
		return nil, err
	}
	body, mediaType, digest, err := client.Manifest(ctx, ref)
	if errors.Is(err, registry.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", ref.Familiar(), err)
	}
	doc, err := oci.ParseDocument(body, mediaType)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", ref.Familiar(), err)
	}
	targets := []oci.Descriptor{{MediaType: doc.MediaType, Digest: digest, Size: int64(len(body))}}
	if o.Recursive && doc.Index != nil {
		targets = append(targets, doc.Index.Manifests...)
	}
	for _, target := range targets {
		if err := signOne(ctx, client, ref.Path, target, identity, o); err != nil {
			return signed, fmt.Errorf("sign %s@%s: %w", ref.FamiliarName(), target.Digest, err)
		}
		signed = append(signed, target.Digest)
	}
	return signed, nil
}

func signOne(ctx context.Context, c *registry.Client, path string, target oci.Descriptor, identity string, o SignOptions) error {
	var all []trust.Signature
	if o.Forms.Cosign {
		s, err := o.Key.SignCosign(target.Digest, identity)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	if o.Forms.Bundle {
		s, err := o.Key.SignBundle(target.Digest)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	for _, s := range all {
		if err := s.Publish(ctx, c, path, target); err != nil {
			return err
		}
	}
	return nil
}

// atRegistry is an image's name and the registry it is in.
func atRegistry(name string) (reference.Reference, *registry.Client, error) {
	ref, err := reference.Parse(name)
	if err != nil {
		return ref, nil, err
	}
	if !ref.Digest.IsZero() {
		ref.Tag = "" // the digest decides
	}
	ref = ref.WithDefaultTag()
	client, err := registry.New(ref.Domain)
	if err != nil {
		return ref, nil, err
	}
	client.UserAgent, client.Credentials = "loper/"+version.String(), registry.FileCredentials
	return ref, client, nil
}

// Verify decides about an image as its registry has it now, and leaves no
// trace: neither the image nor its signer is kept. who, when not nil, asks for
// somebody's signatures in place of what a policy or the known signers say; the
// findings are those.
func (s *Store) Verify(ctx context.Context, name string, o PullOptions, who *trust.Who) (v trust.Verdict, all []trust.Finding, err error) {
	platform, err := oci.ParsePlatform(o.Platform)
	if err != nil {
		return v, nil, err
	}
	ref, client, err := atRegistry(name)
	if err != nil {
		return v, nil, err
	}
	defer client.Close()
	o.Trust.Observe = true
	p := &pull{s: s, ref: ref, client: client, show: quiet{}, trust: o.Trust}
	if err := p.resolve(ctx, platform, o.Platform != ""); err != nil {
		return v, nil, fmt.Errorf("verify %s: %w", ref.Familiar(), err)
	}
	img := p.subject()
	find := trust.Registry(client, img)
	if who == nil {
		v, err = p.trust.Decide(ctx, img, find)
	} else {
		v = trust.Verdict{Digests: img.Digests}
		all, err = p.trust.Search(ctx, img, find, *who)
	}
	if err != nil {
		err = fmt.Errorf("verify %s: %w", ref.Familiar(), err)
	}
	return v, all, err
}
