package image

import (
	"context"
	"errors"
	"fmt"

	"loper.run/image/oci"
	"loper.run/image/registry"
)

// below lists the documents that a tree leads to, the lowest first.
func (t *outgoing) below() []*outgoing {
	var all []*outgoing
	for _, c := range t.children {
		all = append(append(all, c.below()...), c)
	}
	return all
}

// firstManifest is that of the image for this machine, or else of the first.
func (t *outgoing) firstManifest() *oci.Manifest {
	var first *oci.Manifest
	for _, d := range append(t.below(), t) {
		if d.doc == nil || d.doc.Manifest == nil {
			continue
		}
		if p := d.desc.Platform; p != nil && oci.Host().Fit(*p) > 0 {
			return d.doc.Manifest
		}
		if first == nil {
			first = d.doc.Manifest
		}
	}
	return first
}

// maxReferrers bounds what may hang on one image, referrers of referrers included.
const maxReferrers = 500

// referrers copies what refers to the manifests of an image, and to that in turn:
// by the list of the registry, and by the tags under which cosign keeps
// signatures, attestations and bills of materials.
func (s *send) referrers(ctx context.Context, src *copySource, t *outgoing) error {
	copied := make(map[oci.Digest]bool)
	todo := append(t.below(), t)
	for len(todo) > 0 {
		of := todo[0].desc.Digest
		todo = todo[1:]
		list, err := src.client.Referrers(ctx, src.ref.Path, of, "")
		if err != nil {
			return fmt.Errorf("referrers of %s: %w", of.Short(), err)
		}
		for _, d := range list {
			if copied[d.Digest] {
				continue
			}
			copied[d.Digest] = true
			if len(copied) > maxReferrers {
				return fmt.Errorf("the image has more than %d referrers", maxReferrers)
			}
			d.Platform, d.Annotations = nil, nil
			r, err := s.read(ctx, d)
			if err == nil {
				err = s.run(ctx, r, nil)
			}
			if err != nil {
				return fmt.Errorf("referrer %s: %w", d.Digest.Short(), err)
			}
			todo = append(todo, append(r.below(), r)...)
		}
		for _, suffix := range []string{"sig", "att", "sbom"} {
			if err := s.tagged(ctx, src, fmt.Sprintf("%s-%s.%s", of.Algorithm(), of.Hex(), suffix)); err != nil {
				return err
			}
		}
	}
	return nil
}

// tagged copies what a tag stands for, if there is such a tag.
func (s *send) tagged(ctx context.Context, src *copySource, tag string) error {
	if len(tag) > 128 {
		return nil
	}
	ref := src.ref
	ref.Tag, ref.Digest = tag, oci.Digest{}
	body, mediaType, digest, err := src.client.Manifest(ctx, ref)
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	from := &send{from: &begun{src.from, digest, body}, client: s.client, to: s.to, show: s.show, near: s.near}
	t, err := from.read(ctx, oci.Descriptor{MediaType: mediaType, Digest: digest})
	if err == nil {
		err = from.run(ctx, t, []string{tag})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", tag, err)
	}
	return nil
}
