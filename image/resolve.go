package image

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// Resolve finds an image by name, repo@digest, id or the beginning of an id;
// "host" and "hello" are always there. ErrNotFound tells that there is none.
func (s *Store) Resolve(name string) (*Image, error) {
	switch name {
	case Host:
		return hostImage(), nil
	case Hello:
		return s.hello()
	}
	id, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return s.loadNamed(id)
}

// Find is Resolve for those who run an image: it doesn't look for the image's
// other names, which takes time when there are many images. Names is empty.
func (s *Store) Find(name string) (*Image, error) {
	if name == Host || name == Hello {
		return s.Resolve(name)
	}
	id, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return s.load(id)
}

// ResolveFor is Resolve for the platform os/arch[/variant] where a name has
// images for several; "" is Resolve. ErrNotFound tells that none fits.
func (s *Store) ResolveFor(name, platform string) (*Image, error) {
	if platform == "" || name == Host || name == Hello {
		return s.Resolve(name)
	}
	id, err := s.pick(name, platform)
	if err != nil {
		return nil, err
	}
	return s.loadNamed(id)
}

// FindFor is Find for a platform, as ResolveFor is Resolve for one.
func (s *Store) FindFor(name, platform string) (*Image, error) {
	if platform == "" || name == Host || name == Hello {
		return s.Find(name)
	}
	id, err := s.pick(name, platform)
	if err != nil {
		return nil, err
	}
	return s.load(id)
}

// pick returns the image of a name that fits a platform best; with "" the one
// that the name means.
func (s *Store) pick(name, platform string) (oci.Digest, error) {
	p, err := oci.ParsePlatform(platform)
	if err != nil {
		return oci.Digest{}, err
	}
	ids, err := s.findAll(name)
	if err != nil {
		return oci.Digest{}, err
	}
	if platform == "" {
		return ids[0], nil
	}
	ids, fit, err := s.byFit(ids, p)
	if err != nil {
		return oci.Digest{}, err
	}
	if fit == 0 {
		return oci.Digest{}, fmt.Errorf("%w for the platform %s", notFound(name), p)
	}
	return ids[0], nil
}

// byFit puts the images that fit a platform best first, and tells how well the
// first fits.
func (s *Store) byFit(ids []oci.Digest, p oci.Platform) (sorted []oci.Digest, fit int, err error) {
	fits := make(map[oci.Digest]int)
	for _, id := range ids {
		body, err := s.files.Blob(id, oci.MaxConfig)
		if err != nil {
			return nil, 0, fmt.Errorf("image %s: configuration: %w: pull it again", id.Short(), err)
		}
		doc, err := oci.DecodeImage(body)
		if err != nil {
			return nil, 0, fmt.Errorf("image %s: %w", id.Short(), err)
		}
		fits[id] = p.Fit(doc.Platform)
	}
	sorted = append(sorted, ids...)
	sort.SliceStable(sorted, func(i, j int) bool { return fits[sorted[i]] > fits[sorted[j]] })
	return sorted, fits[sorted[0]], nil
}

// find returns the id behind a name or a part of an id.
func (s *Store) find(name string) (oci.Digest, error) {
	ids, err := s.findAll(name)
	if err != nil {
		return oci.Digest{}, err
	}
	return ids[0], nil
}

// findAll returns the ids behind a name, for several platforms, or the one
// behind a part of an id.
func (s *Store) findAll(name string) ([]oci.Digest, error) {
	if ref, err := reference.Parse(name); err == nil {
		n, err := s.lookup(ref)
		if err == nil {
			return imagesOf(name, n)
		}
		if !isNotExist(err) {
			return nil, err
		}
	} else if len(name) != 64 && !strings.HasPrefix(name, "sha256:") && !strings.HasPrefix(name, "sha512:") {
		return nil, err
	}
	prefix := withoutAlgorithm(name)
	if isIDPrefix(prefix) {
		ids, err := s.files.FindImages(prefix)
		if len(ids) > 1 {
			err = fmt.Errorf("image id %s is ambiguous: %d images begin so", prefix, len(ids))
		}
		if err != nil || len(ids) == 1 {
			return ids, err
		}
	}
	// Last, since only now configuration has to be read.
	_, n, err := s.lookupShort(name)
	if err != nil {
		return nil, err
	}
	return imagesOf(name, n)
}

// imagesOf returns the ids that a name stands for.
func imagesOf(name string, n store.Name) ([]oci.Digest, error) {
	if n.Image.IsZero() {
		return nil, fmt.Errorf("%w: %.300s is a list, and none of its images is here", ErrNotFound, name)
	}
	return n.Images(), nil
}

// lookup reads the name of a reference. A digest says more than a tag beside it.
func (s *Store) lookup(ref reference.Reference) (store.Name, error) {
	if !ref.Digest.IsZero() {
		ref.Tag = ""
	}
	return s.files.Name(ref.WithDefaultTag().String())
}

// loadNamed reads an image with all its names.
func (s *Store) loadNamed(id oci.Digest) (*Image, error) {
	img, err := s.load(id)
	if err != nil {
		return nil, err
	}
	// A damaged name of some other image is no reason not to show this one.
	names, err := s.files.Names()
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return nil, err
	}
	img.addNames(names)
	img.Verdicts, _ = s.verdicts(id) // without them it is unsigned
	return img, nil
}

// load reads an image without its names.
func (s *Store) load(id oci.Digest) (*Image, error) {
	rec, err := s.files.Image(id)
	if err != nil {
		if isNotExist(err) {
			err = notFound(id.Short())
		}
		return nil, err
	}
	body, err := s.files.Blob(id, oci.MaxConfig)
	if err != nil {
		return nil, fmt.Errorf("image %s: configuration: %w: pull it again", id.Short(), err)
	}
	doc, err := oci.DecodeImage(body)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", id.Short(), err)
	}
	img := fromRecord(rec)
	img.Platform, img.Config, img.Author, img.History = doc.Platform, doc.Config, doc.Author, doc.History
	for _, d := range img.DiffIDs {
		l, err := s.files.Layer(d)
		if err != nil {
			return nil, fmt.Errorf("image %s: layer %s: %w: pull it again", id.Short(), d.Short(), err)
		}
		img.Layers = append(img.Layers, l.Dir)
	}
	return img, nil
}

func fromRecord(rec store.Image) *Image {
	return &Image{ID: rec.ID, Manifest: rec.Manifest, Created: rec.Created, Size: rec.Size, Signer: rec.Signer, DiffIDs: rec.Layers, Platform: rec.Platform}
}

// addNames picks the names that are the image's own.
func (img *Image) addNames(names []store.Name) {
	for _, n := range names {
		if !n.Has(img.ID) {
			continue
		}
		ref, err := reference.Parse(n.Name)
		switch {
		case err != nil || ref.Domain == helloDomain:
			continue
		case ref.Digest.IsZero():
			img.Names = append(img.Names, ref.Familiar())
		default:
			img.Digests = append(img.Digests, ref.Familiar())
		}
	}
	sort.Strings(img.Names)
	sort.Strings(img.Digests)
}

// List returns the images in the store, the newest first, without
// configurations and layers' directories, which Resolve reads. Damaged records
// are left out and told in the error, beside the good ones.
func (s *Store) List() ([]*Image, error) {
	var names []store.Name
	var err2 error
	var both sync.WaitGroup
	both.Go(func() { names, err2 = s.files.ListNames() })
	recs, err := s.files.ListImages()
	both.Wait()
	byImage := make(map[oci.Digest][]store.Name, len(names))
	for _, n := range names {
		for _, id := range n.Images() {
			byImage[id] = append(byImage[id], n)
		}
	}
	imgs := make([]*Image, 0, len(recs))
	for _, rec := range recs {
		own := byImage[rec.ID]
		if len(own) == 0 && len(rec.Digests) == 0 && !rec.Kept || len(own) == 1 && strings.HasPrefix(own[0].Name, helloDomain+"/") {
			continue // of a pull that was killed before its end, or hello
		}
		img := fromRecord(rec)
		img.addNames(own)
		imgs = append(imgs, img)
	}
	slices.SortFunc(imgs, func(a, b *Image) int {
		return cmp.Or(b.Created.Compare(a.Created), a.ID.Compare(b.ID))
	})
	return imgs, errors.Join(err, err2)
}

// Lock keeps an image from being removed until unlock is called: Remove waits
// for it. It notes that the image was used.
func (s *Store) Lock(img *Image) (unlock func(), err error) {
	if img.Builtin == Host {
		return func() {}, nil
	}
	unlock, err = s.files.LockImage(img.ID)
	if err == nil {
		s.files.Touch(img.ID)
	}
	if err != nil && isNotExist(err) {
		err = notFound(img.ID.Short())
	}
	return unlock, err
}

// Has reports whether the store has an image of that id.
func (s *Store) Has(id oci.Digest) bool {
	_, err := s.files.Image(id)
	return err == nil
}
