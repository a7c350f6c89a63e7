package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"loper.run/image/archive"
	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/trust"
)

// LoadOptions says what to take of an archive and how to show it.
type LoadOptions struct {
	// Platform is os/arch[/variant]; "" is the host's, or the only one there is.
	Platform string
	Progress Progress // nil is quiet; Load doesn't close it
	// Trust is how strict to be about signatures, by what a policy says of the
	// archive's transport and path.
	Trust trust.Options
}

// Loaded is an image that came out of an archive.
type Loaded struct {
	ID    oci.Digest
	Names []string // familiar names that it has got
}

// OpenArchive opens an archive of images, in any form that package archive
// knows; f becomes the archive's.
func (s *Store) OpenArchive(ctx context.Context, f *os.File) (*archive.Archive, error) {
	return archive.Read(ctx, f, s.files.Root())
}

// Load makes all images of an archive be in the store, each byte verified, and
// gives them the names that the archive has for them. Images that came before
// an error stay.
func (s *Store) Load(ctx context.Context, a *archive.Archive, o LoadOptions) ([]Loaded, error) {
	platform, err := oci.ParsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = quiet{}
	}
	release, err := s.files.Use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	load := &load{s: s, from: a, show: o.Progress, platform: platform, asked: o.Platform != ""}
	var all []*arrival
	for _, img := range a.Images {
		arr, err := load.resolve(img)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", label(img), err)
		}
		if err := load.decide(ctx, arr, o.Trust); err != nil {
			return nil, err
		}
		all = append(all, arr)
	}
	if err := load.layers(ctx, all); err != nil {
		return nil, err
	}
	var done []Loaded
	for i, arr := range all {
		one, err := load.publish(arr)
		if err != nil {
			return done, fmt.Errorf("%s: %w", label(a.Images[i]), err)
		}
		done = append(done, one)
	}
	return done, nil
}

// label is how an image of an archive is called in errors.
func label(img archive.Image) string {
	if len(img.Names) > 0 {
		return fmt.Sprintf("image %.300s", img.Names[0])
	}
	return "image " + img.Target.Digest.Short()
}

// load is one archive on its way in.
type load struct {
	s        *Store
	from     *archive.Archive
	show     Progress
	platform oci.Platform
	asked    bool // for the platform
}

// arrival is one image of an archive.
type arrival struct {
	names    []reference.Reference
	target   oci.Digest
	manifest *oci.Manifest
	image    *oci.Image
	docs     []document // the manifest, the configuration, the indexes
	verdict  trust.Verdict
}

// resolve reads the small documents of an image.
func (l *load) resolve(img archive.Image) (*arrival, error) {
	arr := &arrival{target: img.Target.Digest}
	for _, name := range img.Names {
		ref, err := reference.Parse(name)
		if err != nil {
			return nil, err
		}
		if ref.Digest.IsZero() {
			arr.names = append(arr.names, ref.WithDefaultTag())
		}
	}
	var indexes []document
	for d := img.Target; len(indexes) <= oci.MaxDepth; {
		body, err := l.from.Small(d, oci.MaxManifest)
		if err != nil {
			return nil, err
		}
		doc, err := oci.ParseDocument(body, d.MediaType)
		if err != nil {
			return nil, err
		}
		if doc.Manifest != nil {
			arr.manifest, arr.docs = doc.Manifest, []document{{d.Digest, body}}
			return arr, l.configuration(arr, indexes)
		}
		indexes = append(indexes, document{d.Digest, body})
		if d, err = l.choose(doc.Index); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("more than %d indexes, one inside the other", oci.MaxDepth)
}

// choose picks the manifest of the platform out of those that the archive has
// of an index; of a single one nothing is asked but what the user asked.
func (l *load) choose(x *oci.Index) (oci.Descriptor, error) {
	here := &oci.Index{}
	for _, d := range x.Manifests {
		if d.Platform != nil && d.Platform.OS == "unknown" {
			continue // no image, but something about one
		}
		if c, err := l.from.Open(d); err == nil {
			c.Close()
			here.Manifests = append(here.Manifests, d)
		}
	}
	if d, ok := here.Select(l.platform); ok {
		return d, nil
	}
	if len(here.Manifests) == 1 && !l.asked {
		return here.Manifests[0], nil
	}
	return oci.Descriptor{}, fmt.Errorf("%w for the platform %s: there is %s", errNoPlatform, l.platform, here.Platforms())
}

func (l *load) configuration(arr *arrival, indexes []document) error {
	m := arr.manifest
	if err := errors.Join(m.CheckConfig(), m.CheckLayers()); err != nil {
		return err
	}
	body, err := l.from.Small(m.Config, oci.MaxConfig)
	if err != nil {
		return err
	}
	if arr.image, err = oci.ParseImage(body, m); err != nil {
		return err
	}
	if l.asked && l.platform.Fit(arr.image.Platform) == 0 {
		return fmt.Errorf("the image is for %.60s, not for %s", arr.image.Platform, l.platform)
	}
	arr.docs = append(append(arr.docs, document{m.Config.Digest, body}), indexes...)
	return nil
}

// publish records an image and its names.
func (l *load) publish(arr *arrival) (Loaded, error) {
	rec, err := l.s.newRecord(arr.manifest, arr.image, arr.docs)
	if err != nil {
		return Loaded{}, err
	}
	rec.Kept, rec.PulledAt = true, time.Now()
	if err := l.s.files.PutImage(rec); err != nil {
		return Loaded{}, err
	}
	if err := l.s.keepVerdict(&rec, arr.verdict); err != nil {
		return Loaded{}, err
	}
	done := Loaded{ID: rec.ID}
	for _, ref := range arr.names {
		if err := l.s.nameImage(ref.String(), rec.ID, arr.target); err != nil {
			return done, err
		}
		done.Names = append(done.Names, ref.Familiar())
	}
	return done, nil
}
