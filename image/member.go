package image

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"loper.run/image/oci"
	"loper.run/image/reference"
)

// member is an image on its way into a list.
type member struct {
	desc   oci.Descriptor
	docs   []document // its manifest, and below an index what that leads to
	source string     // repository that has it; "" is only here
}

// members finds the manifests behind a name: of the store, or else of a
// registry; a name that begins with docker:// is a registry's. Of an index it
// is the image for this machine, or all.
func (s *Store) members(ctx context.Context, name string, all bool) ([]member, error) {
	bare, remote := strings.CutPrefix(name, "docker://")
	bare = strings.TrimPrefix(bare, "containers-storage:")
	if !remote {
		found, err := s.membersHere(bare, all)
		if !errors.Is(err, ErrNotFound) {
			return found, err
		}
	}
	refs, _, err := candidates(bare, nil)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, ref := range refs {
		found, err := s.membersThere(ctx, ref.WithDefaultTag(), all)
		if err == nil {
			return found, nil
		}
		if failed == nil {
			failed = err
		}
	}
	return nil, failed
}

// membersHere finds them in the store.
func (s *Store) membersHere(name string, all bool) ([]member, error) {
	ids, err := s.findAll(name)
	if err != nil {
		return nil, err
	}
	if !all {
		ids = ids[:1]
	}
	var found []member
	for _, id := range ids {
		rec, err := s.files.Image(id)
		if err != nil {
			return nil, err
		}
		body, err := s.files.Blob(rec.Manifest, oci.MaxManifest)
		if err != nil {
			return nil, err
		}
		config, err := s.files.Blob(id, oci.MaxConfig)
		if err != nil {
			return nil, err
		}
		m, err := newMember(rec.Manifest, body, "", func(oci.Descriptor) ([]byte, error) { return config, nil })
		if err != nil {
			return nil, err
		}
		if len(rec.Digests) > 0 {
			if ref, err := reference.Parse(rec.Digests[0]); err == nil {
				m.source = ref.Name()
			}
		}
		found = append(found, m)
	}
	return found, nil
}

// membersThere finds them at a registry.
func (s *Store) membersThere(ctx context.Context, ref reference.Reference, all bool) ([]member, error) {
	client, err := s.connect(ref.Domain, quiet{})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	config := func(d oci.Descriptor) ([]byte, error) { return client.Small(ctx, ref.Path, d, oci.MaxConfig) }
	body, mediaType, digest, err := client.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	doc, err := oci.ParseDocument(body, mediaType)
	if err != nil {
		return nil, err
	}
	if doc.Manifest != nil {
		m, err := newMember(digest, body, mediaType, config)
		m.source = ref.Name()
		return []member{m}, err
	}
	entries := doc.Index.Manifests
	if !all {
		d, ok := doc.Index.Select(oci.Host())
		if !ok {
			return nil, fmt.Errorf("%w for the platform %s: there is %s: take all with --all", errNoPlatform, oci.Host(), doc.Index.Platforms())
		}
		entries = []oci.Descriptor{d}
	}
	var found []member
	for _, d := range entries {
		body, _, _, err := client.Manifest(ctx, reference.Reference{Domain: ref.Domain, Path: ref.Path, Digest: d.Digest})
		if err != nil {
			return nil, err
		}
		m, err := newMember(d.Digest, body, d.MediaType, config)
		if err != nil {
			return nil, err
		}
		if d.Platform != nil {
			m.desc.Platform = d.Platform
		}
		m.desc.Annotations, m.source = d.Annotations, ref.Name()
		found = append(found, m)
	}
	return found, nil
}

// newMember describes a manifest, with the platform that its configuration tells.
func newMember(digest oci.Digest, body []byte, mediaType string, config func(oci.Descriptor) ([]byte, error)) (member, error) {
	doc, err := oci.ParseDocument(body, mediaType)
	if err != nil {
		return member{}, err
	}
	m := member{desc: doc.AsReferrer(digest, int64(len(body))), docs: []document{{digest, body}}}
	m.desc.Annotations = nil
	if doc.Manifest == nil {
		return m, nil
	}
	if doc.Manifest.Kind() != "" {
		return m, nil // an artifact is for all
	}
	m.desc.ArtifactType = ""
	text, err := config(doc.Manifest.Config)
	if err != nil {
		return m, err
	}
	img, err := oci.DecodeImage(text)
	if err != nil {
		return m, err
	}
	p := img.Platform
	m.desc.Platform = &p
	return m, nil
}
