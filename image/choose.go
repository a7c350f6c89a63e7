package image

import (
	"context"
	"errors"
	"fmt"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
)

// maxLooked bounds how many documents are fetched to find the one that fits.
const maxLooked = 32

var errNoPlatform = errors.New("no image")

// resolve goes from the name to a manifest for the platform and its
// configuration.
func (p *pull) resolve(ctx context.Context, platform oci.Platform, asked bool) error {
	top, err := p.top(ctx)
	if err != nil {
		return err
	}
	wanted := []oci.Platform{platform}
	if !asked {
		wanted = append(wanted, oci.Able()) // what is made for more than any processor has
	}
	for _, w := range wanted {
		d := descent{p: p, platform: w, left: maxLooked}
		if found, err := d.visit(ctx, top, nil, true); err != nil || found {
			return err
		}
	}
	return fmt.Errorf("%w for the platform %s: there is %s", errNoPlatform, platform, top.doc.Index.Platforms())
}

// fetched is a document on its way in.
type fetched struct {
	document
	doc *oci.Document
}

// top fetches what the name stands for.
func (p *pull) top(ctx context.Context) (fetched, error) {
	body, mediaType, digest, err := p.named(ctx)
	if errors.Is(err, registry.ErrNotFound) {
		return fetched{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return fetched{}, err
	}
	p.target = digest
	doc, err := oci.ParseDocument(body, mediaType)
	return fetched{document{digest, body}, doc}, err
}

// child fetches a document that an index names.
func (p *pull) child(ctx context.Context, d oci.Descriptor) (fetched, error) {
	body, err := p.blob(d.Digest, oci.MaxManifest)
	if err != nil {
		var ok bool
		if body, ok = d.Embedded(); !ok {
			ref := reference.Reference{Domain: p.ref.Domain, Path: p.ref.Path, Digest: d.Digest}
			if body, _, _, err = p.client.Manifest(ctx, ref); err != nil {
				return fetched{}, err
			}
		}
	}
	if int64(len(body)) != d.Size {
		return fetched{}, fmt.Errorf("manifest %s has %d bytes, its index says %d", d.Digest, len(body), d.Size)
	}
	doc, err := oci.ParseDocument(body, d.MediaType)
	return fetched{document{d.Digest, body}, doc}, err
}

// descent looks for the manifest of a platform, from an index downwards.
type descent struct {
	p        *pull
	platform oci.Platform
	left     int
}

// visit reports whether the image is in a document, and then leaves it in the
// pull. above are the indexes that led there. An image is taken as it is when
// sure; else its configuration has to say that it is for the platform.
func (d *descent) visit(ctx context.Context, f fetched, above []document, sure bool) (bool, error) {
	if len(above) >= oci.MaxDepth {
		return false, fmt.Errorf("more than %d indexes, one inside the other", oci.MaxDepth)
	}
	p := d.p
	if m := f.doc.Manifest; m != nil {
		if !sure && m.CheckImage() != nil {
			return false, nil
		}
		p.manifest, p.digest, p.body, p.indexes = m, f.digest, f.body, above
		if err := p.configuration(ctx); err != nil {
			return false, err
		}
		return sure || d.platform.Fit(p.image.Platform) > 0, nil
	}
	above = append(above[:len(above):len(above)], f.document)
	for _, c := range f.doc.Index.Candidates(d.platform) {
		if d.left--; d.left < 0 {
			return false, fmt.Errorf("the image for the platform %s is not among the first %d of the index", d.platform, maxLooked)
		}
		child, err := p.child(ctx, c)
		if err != nil {
			return false, err
		}
		only := len(f.doc.Index.Manifests) == 1
		if found, err := d.visit(ctx, child, above, c.Platform != nil || sure && only); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// platforms lists what an index has images for; nil when the name stands for an
// image alone.
func (p *pull) platforms(ctx context.Context, f fetched, depth int) (all []oci.Platform, err error) {
	if f.doc.Index == nil || depth >= oci.MaxDepth {
		return nil, nil
	}
	for _, d := range f.doc.Index.Manifests {
		switch {
		case d.Platform != nil && d.Platform.OS != "unknown":
			all = append(all, *d.Platform)
		case d.Platform == nil && d.IsIndex():
			child, err := p.child(ctx, d)
			if err != nil {
				return nil, err
			}
			more, err := p.platforms(ctx, child, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	if len(all) > maxLooked {
		return nil, fmt.Errorf("the index has images for %d platforms, more than %d", len(all), maxLooked)
	}
	return all, nil
}
