package image

import (
	"time"

	"loper.run/image/oci"
	"loper.run/image/store"
)

// document is a manifest, configuration or index, already verified.
type document struct {
	digest oci.Digest
	body   []byte
}

// newRecord keeps the documents of an image, whose layers must be in the store,
// and returns its record, yet to be put. The documents are the manifest, the
// configuration, and the indexes that led to it.
func (s *Store) newRecord(m *oci.Manifest, img *oci.Image, docs []document) (store.Image, error) {
	rec := store.Image{ID: docs[1].digest, Manifest: docs[0].digest, Layers: img.RootFS.DiffIDs, Platform: img.Platform, PulledAt: time.Now()}
	if img.Created != nil {
		rec.Created = *img.Created
	}
	for _, l := range m.Layers {
		rec.Packed = appendNew(rec.Packed, l.Digest)
	}
	counted := make(map[oci.Digest]bool)
	for _, d := range rec.Layers {
		l, err := s.files.Layer(d)
		if err != nil {
			return rec, err
		}
		if !counted[d] {
			rec.Size += l.Size
		}
		counted[d] = true
	}
	for i, d := range docs {
		if err := s.files.PutBlob(d.digest, d.body); err != nil {
			return rec, err
		}
		if i > 1 {
			rec.Blobs = append(rec.Blobs, d.digest)
		}
	}
	// The same configuration may have come with another manifest, by which a
	// name still finds it.
	if old, err := s.files.Image(rec.ID); err == nil {
		rec.Blobs = appendNew(rec.Blobs, append(old.Blobs, old.Manifest)...)
		rec.Packed = appendNew(rec.Packed, old.Packed...)
		rec.Digests, rec.Kept, rec.Signer = old.Digests, old.Kept, old.Signer
	}
	return rec, nil
}

func appendNew(list []oci.Digest, more ...oci.Digest) []oci.Digest {
next:
	for _, d := range more {
		for _, have := range list {
			if have == d {
				continue next
			}
		}
		list = append(list, d)
	}
	return list
}
