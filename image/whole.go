package image

import (
	"fmt"

	"loper.run/image/oci"
	"loper.run/image/store"
)

// whole is an image of the store with the documents that are needed to hand it
// on, as it is.
type whole struct {
	id       oci.Digest
	desc     oci.Descriptor // of the manifest
	body     []byte         // of the manifest
	manifest *oci.Manifest
	config   []byte
	diffs    []oci.Digest
}

// whole reads the documents of an image. target is what a name for it stands
// for: with an index, the manifest that this has for the image; zero means the
// manifest that the image came with last.
func (s *Store) whole(id, target oci.Digest) (*whole, error) {
	rec, err := s.files.Image(id)
	if err != nil {
		return nil, err
	}
	if target.IsZero() {
		target = rec.Manifest
	}
	w, err := s.manifestOf(id, target, oci.MaxDepth)
	if err == nil && w == nil && target != rec.Manifest {
		w, err = s.manifestOf(id, rec.Manifest, 0)
	}
	switch {
	case err != nil:
		return nil, err
	case w == nil:
		return nil, fmt.Errorf("image %s has no manifest that says how it was packed", id.Short())
	}
	if w.config, err = s.files.Blob(id, oci.MaxConfig); err != nil {
		return nil, err
	}
	doc, err := oci.ParseImage(w.config, w.manifest)
	if err != nil {
		return nil, err
	}
	w.id, w.diffs = id, doc.RootFS.DiffIDs
	return w, nil
}

// manifestOf looks for the manifest of an image at a digest and, when that is
// an index, in there. It is nil when there is none.
func (s *Store) manifestOf(id, d oci.Digest, depth int) (*whole, error) {
	body, err := s.files.Blob(d, oci.MaxManifest)
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	doc, err := oci.ParseDocument(body, "")
	if err != nil {
		return nil, nil // the hello image has none
	}
	if m := doc.Manifest; m != nil {
		if m.Config.Digest != id {
			return nil, nil
		}
		desc := oci.Descriptor{MediaType: doc.MediaType, Digest: d, Size: int64(len(body))}
		return &whole{desc: desc, body: body, manifest: m}, nil
	}
	for _, entry := range doc.Index.Manifests {
		if depth == 0 || entry.Size > oci.MaxManifest {
			break
		}
		if w, err := s.manifestOf(id, entry.Digest, depth-1); w != nil || err != nil {
			return w, err
		}
	}
	return nil, nil
}

// tagsOf returns all names in a repository that have a tag.
func (s *Store) tagsOf(repository string) ([]store.Name, error) {
	all, err := s.files.Names()
	if err != nil {
		return nil, err
	}
	var found []store.Name
	for _, n := range all {
		if len(n.Name) > len(repository) && n.Name[:len(repository)] == repository && n.Name[len(repository)] == ':' {
			found = append(found, n)
		}
	}
	return found, nil
}
