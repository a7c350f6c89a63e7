package image

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"

	"loper.run/image/oci"
	"loper.run/image/progress"
	"loper.run/image/reference"
	"loper.run/image/registry"
)

// uploads is how many blobs go out at once.
const uploads = 4

// maxDocuments bounds what one index may lead to.
const maxDocuments = oci.MaxEntries

// send is an image, or an index of several, on its way into a repository.
type send struct {
	from   origin
	client *registry.Client
	to     reference.Reference
	show   Progress
	// near lists repositories of the registry that may have a blob.
	near func(oci.Digest) []string
}

// outgoing is a manifest or index, with what an index leads to.
type outgoing struct {
	desc     oci.Descriptor
	body     []byte // nil: the registry has it, with all that it leads to
	doc      *oci.Document
	children []*outgoing
}

// incomplete says that the origin lacks a manifest of an index.
type incomplete struct{ err error }

func (e *incomplete) Error() string { return e.err.Error() }
func (e *incomplete) Unwrap() error { return e.err }

// read reads a document and all that it leads to. What the origin doesn't have
// may be at the registry already; else the error is incomplete.
func (s *send) read(ctx context.Context, d oci.Descriptor) (*outgoing, error) {
	left := maxDocuments
	return s.descend(ctx, d, 0, &left)
}

func (s *send) descend(ctx context.Context, d oci.Descriptor, depth int, left *int) (*outgoing, error) {
	if depth > oci.MaxDepth {
		return nil, fmt.Errorf("more than %d indexes, one inside the other", oci.MaxDepth)
	}
	if *left--; *left < 0 {
		return nil, fmt.Errorf("the index leads to more than %d manifests", maxDocuments)
	}
	body, ok := d.Embedded()
	if !ok {
		var err error
		if body, err = s.from.document(ctx, d); err != nil {
			if s.client == nil {
				return nil, err
			}
			if has, hasErr := s.client.HasManifest(ctx, s.to.Path, d.Digest); hasErr == nil && has && depth > 0 {
				return &outgoing{desc: d}, nil
			}
			if isNotExist(err) || errors.Is(err, registry.ErrNotFound) {
				err = &incomplete{err}
			}
			return nil, err
		}
	}
	doc, err := oci.ParseDocument(body, d.MediaType)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest.Short(), err)
	}
	d.Size, d.MediaType = int64(len(body)), doc.MediaType
	t := &outgoing{desc: d, body: body, doc: doc}
	if doc.Index == nil {
		return t, nil
	}
	for _, child := range doc.Index.Manifests {
		c, err := s.descend(ctx, child, depth+1, left)
		if err != nil {
			return nil, err
		}
		t.children = append(t.children, c)
	}
	return t, nil
}

// run sends all blobs, then the manifests from below, the uppermost last with
// its tags: nobody can see an image that isn't whole.
func (s *send) run(ctx context.Context, t *outgoing, tags []string) error {
	if err := s.blobs(ctx, t); err != nil {
		return err
	}
	for _, c := range t.children {
		if err := s.manifests(ctx, c); err != nil {
			return err
		}
	}
	return s.put(ctx, t, tags)
}

func (s *send) manifests(ctx context.Context, t *outgoing) error {
	for _, c := range t.children {
		if err := s.manifests(ctx, c); err != nil {
			return err
		}
	}
	if t.body == nil {
		return nil
	}
	return s.put(ctx, t, nil)
}

func (s *send) put(ctx context.Context, t *outgoing, tags []string) error {
	if err := s.client.PutManifest(ctx, s.to.Path, t.body, t.desc.MediaType, t.desc.Digest, tags...); err != nil {
		return fmt.Errorf("manifest %s: %w", t.desc.Digest.Short(), err)
	}
	return nil
}

// job is one blob.
type job struct {
	oci.Descriptor
	layer bool // it is shown
}

// jobs lists the blobs of all manifests, each once, the largest first: it takes
// longest, and would be alone at the end.
func jobs(t *outgoing) []job {
	var all []job
	seen := make(map[oci.Digest]bool)
	add := func(d oci.Descriptor, layer bool) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			all = append(all, job{d, layer})
		}
	}
	var walk func(*outgoing)
	walk = func(t *outgoing) {
		if t.doc != nil && t.doc.Manifest != nil {
			for _, l := range t.doc.Manifest.Layers {
				add(l, true)
			}
			add(t.doc.Manifest.Config, false)
		}
		for _, c := range t.children {
			walk(c)
		}
	}
	walk(t)
	sort.SliceStable(all, func(i, j int) bool { return all[i].Size > all[j].Size })
	return all
}

// blobs sends what the repository lacks, several at once.
func (s *send) blobs(ctx context.Context, t *outgoing) error {
	all := jobs(t)
	for _, j := range all {
		if j.layer {
			s.show.Update(j.Digest.Short(), progress.Preparing, 0, 0)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan job)
	var workers sync.WaitGroup
	for range min(uploads, len(all)) {
		workers.Go(func() {
			for j := range queue {
				if err := s.blob(ctx, j); err != nil {
					if ctx.Err() == nil && j.layer {
						s.show.Update(j.Digest.Short(), progress.Failed, 0, 0)
					}
					cancel(fmt.Errorf("blob %s: %w", j.Digest.Short(), err))
				}
			}
		})
	}
	for _, j := range all {
		select {
		case queue <- j:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

func (s *send) blob(ctx context.Context, j job) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	show := func(state progress.State, done int64) {
		if j.layer {
			s.show.Update(j.Digest.Short(), state, done, j.Size)
		}
	}
	if j.IsForeign() {
		// Registries need not hold it, and mostly may not.
		show(progress.Skipped, 0)
		return nil
	}
	up := registry.Upload{Descriptor: j.Descriptor, Open: opener(ctx, s.from, j.Descriptor), Sent: func(n int64) { show(progress.Pushing, n) }}
	if s.near != nil {
		up.Near = func() []string { return s.near(j.Digest) }
	}
	stored, err := s.client.PutBlob(ctx, s.to.Path, up)
	var bad *oci.MismatchError
	switch {
	case errors.As(err, &bad):
		return fmt.Errorf("what is to be sent is damaged: %w", err)
	case err != nil:
		return err
	case stored.Existed:
		show(progress.Kept, 0)
	case stored.Mounted != "":
		show(progress.Mounted(stored.Mounted), 0)
	default:
		show(progress.Pushed, j.Size)
	}
	return nil
}
