package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// ErrNoList is matched by errors about a name that is not that of a list.
var ErrNoList = errors.New("no such manifest list")

// Entry says how an image is described in a list; what is empty stays as it is.
type Entry struct {
	OS, OSVersion, Architecture, Variant string
	OSFeatures, Features                 []string
	Annotations                          map[string]string
}

func (e Entry) change(d *oci.Descriptor) {
	if len(e.Annotations) > 0 {
		annotations := maps.Clone(d.Annotations)
		if annotations == nil {
			annotations = make(map[string]string)
		}
		maps.Copy(annotations, e.Annotations)
		d.Annotations = annotations
	}
	var p oci.Platform
	if d.Platform != nil {
		p = *d.Platform
	}
	for _, f := range []struct {
		to   *string
		text string
	}{{&p.OS, e.OS}, {&p.OSVersion, e.OSVersion}, {&p.Architecture, e.Architecture}, {&p.Variant, e.Variant}} {
		if f.text != "" {
			*f.to = f.text
		}
	}
	if len(e.OSFeatures) > 0 {
		p.OSFeatures = e.OSFeatures
	}
	if len(e.Features) > 0 {
		p.Features = e.Features
	}
	if p.OS != "" || p.Architecture != "" {
		d.Platform = &p
	}
}

// ListOptions says how a list is made.
type ListOptions struct {
	Amend       bool // add to a list that is there
	All         bool // of an image that has several platforms, take all
	Annotations map[string]string
}

// CreateList makes a list of images: an index of their manifests, under a name.
// The images are those of the store, or of registries.
func (s *Store) CreateList(ctx context.Context, name string, images []string, o ListOptions) (oci.Digest, error) {
	release, err := s.files.Use(ctx)
	if err != nil {
		return oci.Digest{}, err
	}
	defer release()
	ref, err := listName(name)
	if err != nil {
		return oci.Digest{}, err
	}
	var members []member
	for _, img := range images {
		found, err := s.members(ctx, img, o.All)
		if err != nil {
			return oci.Digest{}, fmt.Errorf("%.300s: %w", img, err)
		}
		members = append(members, found...)
	}
	return s.changeList(ref, func(l *list, exists bool) error {
		switch {
		case exists && !l.List && o.Amend:
			return fmt.Errorf("%w: %s is an image", ErrNoList, ref.Familiar())
		case exists && !o.Amend:
			return fmt.Errorf("%s is in use already: remove it first, or add to a list with --amend", ref.Familiar())
		}
		l.index.Annotations = merged(l.index.Annotations, o.Annotations)
		return l.add(members, Entry{})
	})
}

// AddToList adds an image to a list and returns the list's digest. An image
// that is in the list already is described anew.
func (s *Store) AddToList(ctx context.Context, name, image string, all bool, e Entry) (oci.Digest, error) {
	release, err := s.files.Use(ctx)
	if err != nil {
		return oci.Digest{}, err
	}
	defer release()
	ref, err := listName(name)
	if err != nil {
		return oci.Digest{}, err
	}
	if _, ok := s.list(name); !ok {
		return oci.Digest{}, fmt.Errorf("%w: %.300s", ErrNoList, name)
	}
	members, err := s.members(ctx, image, all)
	if err != nil {
		return oci.Digest{}, fmt.Errorf("%.300s: %w", image, err)
	}
	return s.editList(ref, func(l *list) error { return l.add(members, e) })
}

// AnnotateList changes how a list describes an image, which is given by its
// manifest's digest or by a name of the store.
func (s *Store) AnnotateList(ctx context.Context, name, image string, e Entry) (oci.Digest, error) {
	return s.editEntry(ctx, name, image, func(l *list, i int) { e.change(&l.index.Manifests[i]) })
}

// RemoveFromList takes an image, as AnnotateList finds it, out of a list.
func (s *Store) RemoveFromList(ctx context.Context, name, image string) (oci.Digest, error) {
	return s.editEntry(ctx, name, image, func(l *list, i int) {
		d := l.index.Manifests[i].Digest
		l.index.Manifests = slices.Delete(l.index.Manifests, i, i+1)
		l.Blobs = slices.DeleteFunc(l.Blobs, func(b oci.Digest) bool { return b == d })
		delete(l.Sources, d.String())
	})
}

func (s *Store) editEntry(ctx context.Context, name, image string, edit func(l *list, i int)) (oci.Digest, error) {
	release, err := s.files.Use(ctx)
	if err != nil {
		return oci.Digest{}, err
	}
	defer release()
	ref, err := listName(name)
	if err != nil {
		return oci.Digest{}, err
	}
	if !s.IsList(name) { // which is to be told before what is not in it
		return oci.Digest{}, fmt.Errorf("%w: %s", ErrNoList, ref.Familiar())
	}
	wanted, err := s.manifestsOf(image)
	if err != nil {
		return oci.Digest{}, err
	}
	return s.editList(ref, func(l *list) error {
		i := slices.IndexFunc(l.index.Manifests, func(d oci.Descriptor) bool { return slices.Contains(wanted, d.Digest) })
		if i < 0 {
			return fmt.Errorf("%.300s is not in the list %s", image, ref.Familiar())
		}
		edit(l, i)
		return nil
	})
}

// manifestsOf lists the manifests that may be meant in a list by a digest or name.
func (s *Store) manifestsOf(image string) ([]oci.Digest, error) {
	if d, err := oci.Parse(image); err == nil {
		return []oci.Digest{d}, nil
	}
	if ref, err := reference.Parse(image); err == nil && !ref.Digest.IsZero() {
		return []oci.Digest{ref.Digest}, nil
	}
	ids, err := s.findAll(image)
	if err != nil {
		return nil, err
	}
	var all []oci.Digest
	for _, id := range ids {
		rec, err := s.files.Image(id)
		if err != nil {
			return nil, err
		}
		all = append(append(all, rec.Manifest), rec.Blobs...)
	}
	return all, nil
}

func listName(name string) (reference.Reference, error) {
	ref, err := reference.Parse(name)
	if err == nil && !ref.Digest.IsZero() {
		err = fmt.Errorf("%.300s: a list's name has no digest", name)
	}
	return ref.WithDefaultTag(), err
}

// list is a list while it is changed.
type list struct {
	store.Name
	index oci.Index
	s     *Store
}

// editList changes a list that is there.
func (s *Store) editList(ref reference.Reference, edit func(*list) error) (oci.Digest, error) {
	return s.changeList(ref, func(l *list, exists bool) error {
		if !exists || !l.List {
			return fmt.Errorf("%w: %s", ErrNoList, ref.Familiar())
		}
		return edit(l)
	})
}

// changeList changes a list or makes it, and returns the digest of its index.
func (s *Store) changeList(ref reference.Reference, edit func(l *list, exists bool) error) (d oci.Digest, err error) {
	err = s.files.UpdateName(ref.String(), func(old store.Name) (store.Name, error) {
		l := &list{Name: old, s: s, index: oci.Index{SchemaVersion: 2, MediaType: oci.TypeIndex, Manifests: []oci.Descriptor{}}}
		if old.List {
			body, err := s.files.Blob(old.Manifest, oci.MaxManifest)
			if err != nil {
				return old, fmt.Errorf("list %s: %w", ref.Familiar(), err)
			}
			if err := json.Unmarshal(body, &l.index); err != nil {
				return old, fmt.Errorf("list %s: %w", ref.Familiar(), err)
			}
		}
		if err := edit(l, old.Name != ""); err != nil {
			return old, err
		}
		body, err := json.Marshal(l.index)
		if err != nil {
			return old, err
		}
		if _, err := oci.ParseDocument(body, oci.TypeIndex); err != nil {
			return old, err // too many entries, for instance
		}
		d = oci.FromBytes(body)
		l.List, l.Manifest = true, d
		if err := s.files.PutBlob(d, body); err != nil {
			return old, err
		}
		return l.Name, l.images()
	})
	return d, err
}

// add puts manifests into the list, in place of what it had of them.
func (l *list) add(members []member, e Entry) error {
	for _, m := range members {
		for _, doc := range m.docs {
			if err := l.s.files.PutBlob(doc.digest, doc.body); err != nil {
				return err
			}
			l.Blobs = appendNew(l.Blobs, doc.digest)
		}
		e.change(&m.desc)
		if m.source != "" {
			if l.Sources == nil {
				l.Sources = make(map[string]string)
			}
			l.Sources[m.desc.Digest.String()] = m.source
		}
		if i := slices.IndexFunc(l.index.Manifests, func(d oci.Descriptor) bool { return d.Digest == m.desc.Digest }); i >= 0 {
			l.index.Manifests[i] = m.desc
			continue
		}
		l.index.Manifests = append(l.index.Manifests, m.desc)
	}
	return nil
}

// images finds which images of the list are in the store.
func (l *list) images() error {
	var ids []oci.Digest
	for _, d := range l.index.Manifests {
		body, err := l.s.files.Blob(d.Digest, oci.MaxManifest)
		if err != nil {
			continue
		}
		doc, err := oci.ParseDocument(body, d.MediaType)
		if err != nil || doc.Manifest == nil {
			continue
		}
		if _, err := l.s.files.Image(doc.Manifest.Config.Digest); err == nil {
			ids = appendNew(ids, doc.Manifest.Config.Digest)
		}
	}
	l.Image, l.Others = oci.Digest{}, nil
	if len(ids) == 0 {
		return nil
	}
	ids, _, err := l.s.byFit(ids, oci.Host())
	if err == nil {
		l.Image, l.Others = ids[0], ids[1:]
	}
	return err
}

func merged(a, b map[string]string) map[string]string {
	if len(b) == 0 {
		return a
	}
	all := maps.Clone(b)
	for k, v := range a {
		if _, ok := b[k]; !ok {
			all[k] = v
		}
	}
	return all
}
