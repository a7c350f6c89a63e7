package image

import (
	"context"
	"errors"
	"fmt"

	"loper.run/image/archive"
	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// Save writes images into an archive, with the names by which they are given: a
// repository means all of its tags, an id no name. platform (os/arch[/variant])
// picks one image of a name that has several; without, the name's whole index
// is saved when all its images are here, else the one that fits this machine
// best. Every byte is verified on its way.
func (s *Store) Save(ctx context.Context, w *archive.Writer, names []string, platform string) error {
	release, err := s.files.Use(ctx)
	if err != nil {
		return err
	}
	defer release()
	v := &save{s: s, w: w, platform: platform, at: make(map[oci.Digest]int)}
	for _, name := range names {
		if err := v.add(name); err != nil {
			return fmt.Errorf("save %.300s: %w", name, err)
		}
	}
	for _, img := range v.images {
		for _, part := range img.parts {
			if err := v.blobs(ctx, part); err != nil {
				return fmt.Errorf("save image %s: %w", part.id.Short(), err)
			}
		}
		for _, d := range img.documents {
			if err := w.Document(ctx, d.digest, d.body); err != nil {
				return err
			}
		}
		if err := w.Image(ctx, img.Saved); err != nil {
			return err
		}
	}
	return nil
}

// save is one archive on its way out.
type save struct {
	s        *Store
	w        *archive.Writer
	platform string
	images   []*saved
	at       map[oci.Digest]int // of a target, in images
}

// saved is one image of the archive.
type saved struct {
	archive.Saved
	parts     []*whole
	documents []document // manifests and indexes below the target
}

// add finds the images of a name.
func (v *save) add(name string) error {
	if name == Host || name == Hello {
		return errors.New("the image is built in and has no files that could be handed on")
	}
	ref, refErr := reference.Parse(name)
	if refErr == nil && ref.Tag == "" && ref.Digest.IsZero() && v.platform == "" {
		tags, err := v.s.tagsOf(ref.Name())
		if err != nil {
			return err
		}
		for _, n := range tags {
			if err := v.name(n); err != nil {
				return err
			}
		}
		if len(tags) > 0 {
			return nil
		}
	}
	id, err := v.s.pick(name, v.platform)
	if err != nil {
		return err
	}
	if refErr == nil {
		if n, err := v.s.lookup(ref); err == nil && n.Has(id) {
			if v.platform != "" {
				n.Image, n.Others = id, nil
			}
			return v.name(n)
		}
	}
	return v.image(id, oci.Digest{}, nil)
}

// name adds what a name of the store stands for.
func (v *save) name(n store.Name) error {
	ref, err := reference.Parse(n.Name)
	if err != nil {
		return err
	}
	var tag *reference.Reference
	if ref.Digest.IsZero() {
		tag = &ref
	}
	if v.platform == "" && len(n.Others) > 0 {
		if whole, err := v.index(n, tag); whole || err != nil {
			return err
		}
	}
	return v.image(n.Image, n.Manifest, tag)
}

// image adds one image, or a further name of it.
func (v *save) image(id, target oci.Digest, name *reference.Reference) error {
	w, err := v.s.whole(id, target)
	if err != nil {
		return err
	}
	v.put(&saved{Saved: archive.Saved{Target: w.desc, Body: w.body, Manifest: w.manifest}, parts: []*whole{w}}, name)
	return nil
}

func (v *save) put(img *saved, name *reference.Reference) {
	i, known := v.at[img.Target.Digest]
	if !known {
		i = len(v.images)
		v.images, v.at[img.Target.Digest] = append(v.images, img), i
	}
	if name != nil {
		v.images[i].Names = append(v.images[i].Names, *name)
	}
}

// index adds a whole index, if all its images are in the store.
func (v *save) index(n store.Name, name *reference.Reference) (bool, error) {
	body, err := v.s.files.Blob(n.Manifest, oci.MaxManifest)
	if err != nil {
		return false, nil
	}
	doc, err := oci.ParseDocument(body, "")
	if err != nil || doc.Index == nil {
		return false, err
	}
	have := make(map[oci.Digest]*whole) // by manifest
	for _, id := range n.Images() {
		w, err := v.s.whole(id, n.Manifest)
		if err != nil {
			return false, err
		}
		have[w.desc.Digest] = w
	}
	img := &saved{}
	for _, d := range doc.Index.Manifests {
		w := have[d.Digest]
		if w == nil {
			return false, nil
		}
		img.parts = append(img.parts, w)
		img.documents = append(img.documents, document{d.Digest, w.body})
		if w.id == n.Image {
			img.Manifest = w.manifest
		}
	}
	if img.Manifest == nil {
		return false, nil
	}
	img.Target = oci.Descriptor{MediaType: doc.MediaType, Digest: n.Manifest, Size: int64(len(body))}
	img.Body = body
	v.put(img, name)
	return true, nil
}

// blobs writes the configuration and the layers of one image.
func (v *save) blobs(ctx context.Context, w *whole) error {
	if err := w.manifest.CheckLayers(); err != nil {
		return err
	}
	if err := v.w.Document(ctx, w.manifest.Config.Digest, w.config); err != nil {
		return err
	}
	for i, d := range w.manifest.Layers {
		if v.w.Has(d.Digest) {
			continue
		}
		f, err := v.s.packedLayer(ctx, w, i)
		if err != nil {
			return err
		}
		err = v.w.Blob(ctx, d, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
