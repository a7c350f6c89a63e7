package trust

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
)

// maxAll is how many bytes the signatures of one manifest may have together.
const maxAll = 8 << 20

// Registry returns a Find that asks the image's registry, and the places of
// simple signatures that registries.d names.
func Registry(c *registry.Client, img Image) Find {
	return func(ctx context.Context, forms Forms) ([]Signature, error) {
		places, err := LoadPlaces(img)
		if err != nil {
			return nil, err
		}
		g := &gathering{ctx: ctx, client: c, path: img.Ref.Path}
		for _, d := range img.Digests {
			if forms.Simple {
				g.start(func() ([]Signature, error) { return lookaside(ctx, places.Lookaside, img.Ref.Path, d) })
			}
			if forms.Cosign && places.Attachments {
				g.start(func() ([]Signature, error) { return g.tagged(d) })
			}
			if forms.Bundle && places.Attachments {
				g.start(func() ([]Signature, error) { return g.referring(d) })
			}
		}
		g.Wait()
		var all []Signature
		for _, list := range g.lists {
			all = append(all, list...)
		}
		for _, err := range g.errs {
			if err != nil {
				return all, err
			}
		}
		return all, nil
	}
}

// gathering asks several places at once.
type gathering struct {
	sync.WaitGroup
	ctx    context.Context
	client *registry.Client
	path   string
	lists  [][]Signature
	errs   []error
	mu     sync.Mutex
}

func (g *gathering) start(f func() ([]Signature, error)) {
	at := len(g.lists)
	g.mu.Lock()
	g.lists, g.errs = append(g.lists, nil), append(g.errs, nil)
	g.mu.Unlock()
	g.Go(func() {
		list, err := f()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.lists[at], g.errs[at] = list, err
	})
}

// signatureTag is where cosign keeps the signatures of a manifest.
func signatureTag(d oci.Digest) string { return fmt.Sprintf("%s-%s.sig", d.Algorithm(), d.Hex()) }

// tagged reads the signatures below cosign's tag.
func (g *gathering) tagged(d oci.Digest) ([]Signature, error) {
	tag := signatureTag(d)
	if len(tag) > 128 {
		return nil, nil // of a sha512, which no tag can hold
	}
	return g.manifest(reference.Reference{Path: g.path, Tag: tag}, d)
}

// manifest reads the signatures that are the layers of a manifest. One that is
// not there, or is something else, has none.
func (g *gathering) manifest(ref reference.Reference, of oci.Digest) (list []Signature, err error) {
	body, mediaType, _, err := g.client.Manifest(g.ctx, ref)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	doc, err := oci.ParseDocument(body, mediaType)
	if err != nil || doc.Manifest == nil {
		return nil, nil
	}
	total := int64(0)
	for _, l := range doc.Manifest.Layers {
		s := Signature{Annotations: l.Annotations, Of: of}
		switch {
		case l.MediaType == TypeCosignPayload:
			s.Form = Cosign
		case strings.HasPrefix(l.MediaType, bundlePrefix):
			s.Form = Bundle
		default:
			continue
		}
		total += l.Size
		if len(list) >= maxSignatures || total > maxAll {
			break
		}
		if s.Body, err = g.client.Small(g.ctx, g.path, l, maxSignature); err != nil {
			return nil, fmt.Errorf("signature of %s: %w", of.Short(), err)
		}
		list = append(list, s)
	}
	return list, nil
}

const (
	typeCosignArtifact  = "application/vnd.dev.cosign.artifact.sig.v1+json"
	annotationPredicate = "dev.sigstore.bundle.predicateType"
)

// referring reads the signatures whose manifests refer to d. Most referrers are
// something else, such as bills of materials.
func (g *gathering) referring(d oci.Digest) (list []Signature, err error) {
	all, err := g.client.Referrers(g.ctx, g.path, d, "")
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r oci.Descriptor) bool {
		predicate := r.Annotations[annotationPredicate]
		return !maySign(r.ArtifactType) || predicate != "" && predicate != cosignPredict
	})
	// The newest first is what most registries mean by the end of the list.
	slices.Reverse(all)
	for _, r := range all[:min(len(all), maxSignatures)] {
		more, err := g.manifest(reference.Reference{Path: g.path, Digest: r.Digest}, d)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list[:min(len(list), maxSignatures)], nil
}

// maySign tells whether an artifact of the type may be a signature. Where
// clients keep the list of referrers, cosign 2 writes the type of the empty
// configuration into it.
func maySign(artifactType string) bool {
	switch artifactType {
	case typeCosignArtifact, oci.TypeEmpty, "":
		return true
	}
	return strings.HasPrefix(artifactType, bundlePrefix)
}

// Stored returns a Find among signatures that were found before.
func Stored(all []Signature) Find {
	return func(_ context.Context, forms Forms) (list []Signature, err error) {
		for _, s := range all {
			switch {
			case s.Form == Simple && forms.Simple, s.Form == Cosign && forms.Cosign, s.Form == Bundle && forms.Bundle:
				list = append(list, s)
			}
		}
		return list, nil
	}
}
