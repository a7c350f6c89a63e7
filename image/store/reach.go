package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"loper.run/image/oci"
)

// reach finds what somebody may need: everything that a name or the record of
// an image leads to. Documents are followed by what they say and not by why they
// are here, so that an index inside an index, an artifact or a signature keeps
// what it is made of; and who speaks about a document that is needed is needed
// too. Only the parts of an image that an index lists and that has no record,
// which is that of a platform that was removed, are of no use.
type reach struct {
	s      *Store
	blobs  map[oci.Digest]bool // what is needed
	layers map[oci.Digest]bool
	images map[oci.Digest]bool // that have a record
	asked  map[oci.Digest]bool // documents that are needed for their own sake
	todo   []oci.Digest        // documents to look into
}

// document is what any document of an image may point at with.
type document struct {
	Config    *oci.Descriptor  `json:"config"`
	Layers    []oci.Descriptor `json:"layers"`
	Manifests []oci.Descriptor `json:"manifests"`
	Blobs     []oci.Descriptor `json:"blobs"`
	Subject   *oci.Descriptor  `json:"subject"`
}

func (s *Store) newReach() *reach {
	set := func() map[oci.Digest]bool { return map[oci.Digest]bool{} }
	return &reach{s: s, blobs: set(), layers: set(), images: set(), asked: set()}
}

// image keeps what the record of an image names.
func (r *reach) image(img Image) {
	r.images[img.ID] = true
	r.content(img.ID)
	r.document(img.Manifest)
	for _, d := range img.Blobs {
		r.document(d)
	}
	for _, d := range img.Packed {
		r.content(d)
	}
	for _, d := range img.Layers {
		r.layers[d] = true
	}
}

// content keeps a blob that is no document.
func (r *reach) content(d oci.Digest) {
	if !d.IsZero() {
		r.blobs[d] = true
	}
}

// document keeps a blob that may be a document, and what that points at.
func (r *reach) document(d oci.Digest) {
	if !d.IsZero() && !r.asked[d] {
		r.asked[d], r.blobs[d] = true, true
		r.todo = append(r.todo, d)
	}
}

// listed keeps a document that an index lists.
func (r *reach) listed(d oci.Digest) {
	if !r.blobs[d] && !d.IsZero() {
		r.blobs[d] = true
		r.todo = append(r.todo, d)
	}
}

// follow looks into the documents that were found until no more are.
func (r *reach) follow() {
	for len(r.todo) > 0 {
		d := r.todo[len(r.todo)-1]
		r.todo = r.todo[:len(r.todo)-1]
		doc, ok := r.s.document(d)
		if !ok {
			continue // absent, damaged or no document: it leads nowhere
		}
		for _, m := range doc.Manifests {
			r.listed(m.Digest)
		}
		if doc.Subject != nil {
			r.listed(doc.Subject.Digest)
		}
		if !r.asked[d] && doc.isImage() && !r.images[doc.Config.Digest] {
			continue
		}
		if doc.Config != nil {
			r.content(doc.Config.Digest)
		}
		for _, l := range append(doc.Layers, doc.Blobs...) {
			r.content(l.Digest)
		}
	}
}

// isImage tells an image's manifest from that of an artifact, such as a
// signature, which may call its configuration an image's.
func (doc *document) isImage() bool {
	if doc.Config == nil || len(doc.Layers) == 0 {
		return false
	}
	m := oci.Manifest{Config: *doc.Config, Layers: doc.Layers}
	return m.CheckConfig() == nil && m.CheckLayers() == nil
}

// document reads a blob as a document.
func (s *Store) document(d oci.Digest) (doc document, ok bool) {
	body, err := s.Blob(d, oci.MaxManifest)
	if err != nil || len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &doc) != nil {
		return document{}, false
	}
	return doc, true
}

// referrers keeps the documents among the loose blobs whose subject is kept.
func (r *reach) referrers(loose []oci.Digest) {
	subjects := map[oci.Digest]oci.Digest{}
	for _, d := range loose {
		if doc, ok := r.s.document(d); ok && doc.Subject != nil {
			subjects[d] = doc.Subject.Digest
		}
	}
	for more := true; more; {
		more = false
		for d, subject := range subjects {
			if r.blobs[subject] && !r.blobs[d] {
				r.document(d)
				r.follow()
				more = true
			}
		}
	}
}

// damaged keeps what an image whose record can't be read is made of, as far as
// its blobs tell: the configuration lists the layers, and a manifest that names
// the configuration lists them packed. Without its configuration nobody can
// make anything of the unpacked layers.
func (r *reach) damaged(id oci.Digest, loose []oci.Digest) {
	r.images[id] = true
	img, err := r.s.rebuild(id, loose)
	if err == nil {
		r.image(img)
		r.follow()
	}
}

// Rebuild makes the record of an image whose own can't be read from the
// documents in the store, yet to be put.
func (s *Store) Rebuild(id oci.Digest) (Image, error) {
	all, err := s.listBlobs()
	if err != nil {
		return Image{}, err
	}
	return s.rebuild(id, all)
}

// rebuild makes the record of an image from its blobs, of which the manifest is
// among those given.
func (s *Store) rebuild(id oci.Digest, among []oci.Digest) (Image, error) {
	body, err := s.Blob(id, oci.MaxConfig)
	if err != nil {
		return Image{}, fmt.Errorf("configuration: %w", err)
	}
	config, err := oci.DecodeImage(body)
	if err != nil {
		return Image{}, err
	}
	img := Image{ID: id, Layers: config.RootFS.DiffIDs, Kept: true}
	if config.Created != nil {
		img.Created = *config.Created
	}
	manifests := map[oci.Digest]bool{}
	var indexes []oci.Digest
	for _, d := range among {
		doc, ok := s.document(d)
		switch {
		case !ok:
		case doc.Config != nil && doc.Config.Digest == id && len(doc.Layers) == len(img.Layers):
			if img.Manifest.IsZero() {
				img.Manifest = d
			} else {
				img.Blobs = append(img.Blobs, d)
			}
			manifests[d] = true
			for _, l := range doc.Layers {
				img.Packed = append(img.Packed, l.Digest)
			}
		case doc.Manifests != nil:
			indexes = append(indexes, d)
		}
	}
	for _, d := range indexes {
		doc, _ := s.document(d)
		for _, m := range doc.Manifests {
			if manifests[m.Digest] {
				img.Blobs = append(img.Blobs, d)
				break
			}
		}
	}
	if img.Manifest.IsZero() {
		return img, errors.New("none of the manifests here is of this image")
	}
	seen := map[oci.Digest]bool{}
	for _, d := range img.Layers {
		l, err := s.readLayer(d)
		if err == nil && !seen[d] {
			img.Size += l.Size
		}
		seen[d] = true
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, ErrDamaged) {
			return img, err
		}
	}
	return img, nil
}
