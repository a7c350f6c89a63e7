package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// ListPush says how a list is pushed.
type ListPush struct {
	// Alone pushes only the list: the registry has its images already.
	Alone bool
	// Docker makes it Docker's manifest list rather than OCI's index.
	Docker   bool
	Progress Progress // nil is quiet; PushList doesn't close it
}

// PushList sends a list and its images to a registry: to the one in its name,
// or to destination when that is not "". What is not here comes from where the
// list has it from. It returns what the registry has then.
func (s *Store) PushList(ctx context.Context, name, destination string, o ListPush) (oci.Descriptor, error) {
	n, ok := s.list(name)
	if !ok {
		return oci.Descriptor{}, fmt.Errorf("%w: %.300s", ErrNoList, name)
	}
	if destination == "" {
		destination = n.Name
	}
	if o.Progress == nil {
		o.Progress = quiet{}
	}
	to, err := pushTarget(destination)
	if err != nil {
		return oci.Descriptor{}, err
	}
	to = to.WithDefaultTag()
	release, err := s.files.Use(ctx)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer release()
	client, err := s.connect(to.Domain, o.Progress)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer client.Close()
	from := &local{s: s, show: o.Progress}
	defer from.close()
	from.know(n)
	push := &send{from: from, client: client, to: to, show: o.Progress, near: func(d oci.Digest) []string { return from.near(to.Domain, d) }}
	t, err := push.list(ctx, n, o)
	if err == nil {
		err = push.run(ctx, t, []string{to.Tag})
	}
	if err != nil {
		return oci.Descriptor{}, fmt.Errorf("push %s: %w", to.Familiar(), err)
	}
	return t.desc, nil
}

// list reads the list, as it is to be pushed.
func (s *send) list(ctx context.Context, n store.Name, o ListPush) (*outgoing, error) {
	body, err := s.from.document(ctx, oci.Descriptor{Digest: n.Manifest})
	if err != nil {
		return nil, err
	}
	if o.Docker {
		if body, err = dockerList(body); err != nil {
			return nil, err
		}
	}
	doc, err := oci.ParseDocument(body, "")
	if err != nil {
		return nil, err
	}
	t := &outgoing{desc: oci.Descriptor{MediaType: doc.MediaType, Digest: oci.FromBytes(body), Size: int64(len(body))}, body: body, doc: doc}
	for _, d := range doc.Index.Manifests {
		if o.Alone {
			break
		}
		child, err := s.read(ctx, d)
		if err != nil {
			return nil, err
		}
		t.children = append(t.children, child)
	}
	return t, nil
}

// dockerList writes an index as Docker's manifest list, which knows neither
// annotations nor artifacts.
func dockerList(body []byte) ([]byte, error) {
	var x oci.Index
	if err := json.Unmarshal(body, &x); err != nil {
		return nil, err
	}
	if x.Subject != nil {
		return nil, errors.New("the list has a subject, for which Docker's manifest list has no place: push it as an OCI index")
	}
	x.MediaType, x.ArtifactType, x.Annotations = oci.TypeDockerIndex, "", nil
	for i := range x.Manifests {
		d := &x.Manifests[i]
		d.Annotations, d.ArtifactType, d.Data = nil, "", nil
	}
	return json.Marshal(x)
}

// know notes where the images of a list can be had.
func (l *local) know(n store.Name) {
	l.gather()
	for manifest, source := range n.Sources {
		d, err := oci.Parse(manifest)
		ref, refErr := reference.Parse(source)
		body, bodyErr := l.s.files.Blob(d, oci.MaxManifest)
		if err != nil || refErr != nil || bodyErr != nil {
			continue
		}
		doc, err := oci.ParseDocument(body, "")
		if err != nil || doc.Manifest == nil {
			continue
		}
		for _, b := range append(doc.Manifest.Layers, doc.Manifest.Config) {
			l.places[b.Digest] = append(l.places[b.Digest], ref)
		}
	}
}

// ListBody returns the index or manifest behind a name: of the store, or else of
// a registry.
func (s *Store) ListBody(ctx context.Context, name string) ([]byte, error) {
	if n, ok := s.named(name); ok {
		return s.files.Blob(n.Manifest, oci.MaxManifest)
	}
	refs, _, err := candidates(name, nil)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, ref := range refs {
		client, err := s.connect(ref.Domain, quiet{})
		if err != nil {
			return nil, err
		}
		defer client.Close()
		body, _, _, err := client.Manifest(ctx, ref.WithDefaultTag())
		if err == nil {
			return body, nil
		}
		if failed == nil {
			failed = err
		}
	}
	return nil, failed
}

// IsList reports whether a name is that of a list in the store.
func (s *Store) IsList(name string) bool {
	_, ok := s.list(name)
	return ok
}

// RemoveList removes a list, but none of its images. It returns the name that
// is gone and the digest that the list had.
func (s *Store) RemoveList(name string) (string, oci.Digest, error) {
	n, ok := s.list(name)
	if !ok {
		return "", oci.Digest{}, fmt.Errorf("%w: %.300s", ErrNoList, name)
	}
	if err := s.files.DeleteName(n.Name); err != nil {
		return "", oci.Digest{}, err
	}
	return familiar(n.Name), n.Manifest, s.collect()
}
