package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/image/store"
	"loper.run/internal/tree"
)

// layer checks one layer's tree as far as the depth asks for.
func (c *checker) layer(ctx context.Context, d oci.Digest, users []oci.Digest) error {
	p := Problem{Kind: "layer", Name: d.String()}
	for _, id := range users {
		p.Images = append(p.Images, c.called(id)...)
	}
	mend := func() (string, error) { return c.mend(ctx, d, users) }
	_, err := c.s.files.Layer(d)
	switch {
	case isNotExist(err):
		p.What = "missing, or not whole"
		c.report(p, mend)
		return nil
	case err != nil:
		return err
	case c.o.Depth == Quick:
		return nil
	}
	found, err := c.s.files.CheckTree(ctx, d)
	switch {
	case errors.Is(err, store.ErrNoRecord) && c.o.Depth == Usual:
		return nil // only what its packed blob says could tell
	case errors.Is(err, store.ErrNoRecord):
		found = nil
	case errors.Is(err, tree.ErrRecord):
		p.What = "what it was is not known: " + err.Error()
		c.report(p, mend)
		return nil
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		p.What = "its tree cannot be read: " + err.Error()
		c.report(p, mend)
		return nil
	}
	if len(found) == 0 && c.o.Depth == Deep {
		return c.deep(ctx, d, users, p)
	}
	if len(found) > 0 {
		p.What = listed(found)
		c.report(p, mend)
	}
	return nil
}

// deep compares a layer with what its packed blob makes.
func (c *checker) deep(ctx context.Context, d oci.Digest, users []oci.Digest, p Problem) error {
	from, ok := c.source(d, users)
	if !ok {
		return nil // made here of what is no longer there: only its record can tell
	}
	staging, result, err := c.unpack(ctx, from, d)
	if isNotExist(err) || errors.Is(err, store.ErrDamaged) {
		return nil // the packed blob is missing, which may be, or bad, which was told
	}
	if err != nil {
		return err
	}
	defer staging.Abort()
	found, err := staging.Differences(ctx)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return nil
	}
	p.What = listed(found)
	c.report(p, func() (string, error) { return c.replace(ctx, d, staging, result, "its packed blob") })
	return nil
}

func listed(found []tree.Difference) string {
	const most = 3
	var words []string
	for i, d := range found {
		if i == most {
			words = append(words, "…")
			break
		}
		words = append(words, fmt.Sprintf("%q %s", d.Path, d.What))
	}
	return strings.Join(words, ", ")
}

// source is where a layer can be had from.
type source struct {
	rec  store.Image
	desc oci.Descriptor
}

// source finds the packed blob of a layer by an image that has it.
func (c *checker) source(d oci.Digest, users []oci.Digest) (source, bool) {
	for _, id := range users {
		rec, err := c.s.files.Image(id)
		if err != nil {
			continue
		}
		m, err := c.manifest(rec)
		if err != nil || len(m.Layers) != len(rec.Layers) {
			continue
		}
		for i, diff := range rec.Layers {
			if diff == d {
				return source{rec, m.Layers[i]}, true
			}
		}
	}
	return source{}, false
}

// unpack unpacks a packed blob of the store beside the layer. The error is
// os.ErrNotExist without the blob, and ErrDamaged when it is not what it was.
func (c *checker) unpack(ctx context.Context, from source, d oci.Digest) (*store.Staging, layer.Result, error) {
	blob, err := c.s.files.OpenBlob(from.desc.Digest)
	if err != nil {
		return nil, layer.Result{}, err
	}
	defer blob.Close()
	opts, err := c.s.unpackOptions()
	if err != nil {
		return nil, layer.Result{}, err
	}
	staging, err := c.s.files.MendLayer(ctx, d)
	if err != nil {
		return nil, layer.Result{}, err
	}
	in := io.NewSectionReader(blob, 0, from.desc.Size)
	result, err := c.s.unpackSource(ctx, layer.Source{File: blob}, in, from.desc, d, staging, opts)
	if err != nil {
		if isForeign(err) {
			err = fmt.Errorf("%w: %w", store.ErrDamaged, err)
		}
		return nil, result, errors.Join(err, staging.Abort())
	}
	return staging, result, nil
}

// mend unpacks a layer anew: from its packed blob when that is good, else from
// the registry.
func (c *checker) mend(ctx context.Context, d oci.Digest, users []oci.Digest) (string, error) {
	from, ok := c.source(d, users)
	if !ok {
		return "", errors.New("no image says where to get it from")
	}
	how := "its packed blob"
	staging, result, err := c.unpack(ctx, from, d)
	if isNotExist(err) || errors.Is(err, store.ErrDamaged) {
		if how, err = c.fetchPacked(ctx, from.rec, from.desc); err != nil {
			return "", err
		}
		staging, result, err = c.unpack(ctx, from, d)
	}
	if err != nil {
		return "", err
	}
	defer staging.Abort()
	return c.replace(ctx, d, staging, result, how)
}

// replace puts a layer that was unpacked anew in the place of the damaged one,
// when no container runs on that.
func (c *checker) replace(ctx context.Context, d oci.Digest, staging *store.Staging, result layer.Result, how string) (string, error) {
	for _, id := range c.users[d] { // or a container is being made of it
		unlock, err := c.s.files.LockImageAlone(ctx, id)
		if err != nil {
			return "", err
		}
		defer unlock()
	}
	release, err := c.hold(d)
	if err != nil {
		return "", err
	}
	defer release()
	if _, err := staging.Commit(result.Bytes, result.Entries); err != nil {
		return "", err
	}
	return "unpacked again: " + how, nil
}

// hold keeps containers away from a layer.
func (c *checker) hold(d oci.Digest) (release func(), err error) {
	if c.o.Hold == nil {
		return func() {}, nil
	}
	dir := filepath.Join(c.s.files.Root(), "layer", d.Algorithm().String(), d.Hex(), "diff")
	release, running, err := c.o.Hold([]string{dir})
	if err != nil {
		return nil, err
	}
	if len(running) > 0 {
		release()
		return nil, fmt.Errorf("in use by a container that runs: stop %s first", strings.Join(running, ", "))
	}
	return release, nil
}

// manifest reads the manifest of an image.
func (c *checker) manifest(rec store.Image) (*oci.Manifest, error) {
	body, err := c.s.files.Blob(rec.Manifest, oci.MaxManifest)
	if err != nil {
		return nil, err
	}
	doc, err := oci.ParseDocument(body, "")
	if err != nil {
		return nil, err
	}
	if doc.Manifest == nil {
		return nil, os.ErrNotExist
	}
	return doc.Manifest, nil
}
