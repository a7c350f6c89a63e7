package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// Tag gives the image behind source another name, taking it from the image
// that had it.
func (s *Store) Tag(source, target string) error {
	img, err := s.Resolve(source)
	if err != nil {
		return err
	}
	if img.Builtin == Host {
		return fmt.Errorf("tag %s: the image is built in and has no files of its own", source)
	}
	ref, err := reference.Parse(target)
	if err != nil {
		return err
	}
	if !ref.Digest.IsZero() {
		return fmt.Errorf("tag %s: a name with a digest can't be given", target)
	}
	release, err := s.files.Use(context.Background())
	if err != nil {
		return err
	}
	defer release()
	return s.files.SetName(store.Name{Name: ref.WithDefaultTag().String(), Image: img.ID, Manifest: img.Manifest})
}

// InUseError says that containers need an image.
type InUseError struct {
	Name  string
	Users []string // ids or names of containers
}

// Error names the first container.
func (e *InUseError) Error() string {
	more := ""
	if len(e.Users) > 1 {
		more = fmt.Sprintf(" and %d more", len(e.Users)-1)
	}
	user := e.Users[0]
	if len(user) == 64 {
		user = user[:12]
	}
	return fmt.Sprintf("image %s is used by container %s%s: remove the container first", e.Name, user, more)
}

// Remove takes a name from an image, and deletes the image with its last name.
// Given an id it removes all names, if they are of one repository or force is
// set. users tells which containers need an image: such an image is refused. By
// name and with force it loses the name and stays for its containers.
// The returned texts are what was untagged and deleted, also beside an error.
func (s *Store) Remove(name string, force bool, users func(id oci.Digest) []string) (untagged, deleted []string, err error) {
	if name == Host || name == Hello {
		return nil, nil, fmt.Errorf("image %s is built in", name)
	}
	id, err := s.find(name)
	if err != nil {
		return nil, nil, err
	}
	mine, err := s.namesOf(id)
	if err != nil {
		return nil, nil, err
	}
	doomed, last, err := s.doomed(name, id, mine, force)
	if err != nil {
		return nil, nil, err
	}
	check := func() error {
		if users == nil {
			return nil
		}
		if ids := users(id); len(ids) > 0 {
			return &InUseError{name, ids}
		}
		return nil
	}
	if last {
		err = s.files.DeleteImage(context.Background(), id, check)
		var inUse *InUseError
		switch {
		case err == nil:
			for _, r := range mine {
				untagged = append(untagged, r.Familiar())
			}
			return untagged, []string{id.String()}, s.collect()
		case !errors.As(err, &inUse) || !force || byID(name, id):
			return nil, nil, err
		}
	}
	for _, r := range doomed {
		if err := s.files.DeleteName(r.String()); err != nil && !isNotExist(err) {
			return untagged, nil, err
		}
		untagged = append(untagged, r.Familiar())
	}
	return untagged, nil, nil
}

// byID reports whether name is the id, or its beginning.
func byID(name string, id oci.Digest) bool {
	return strings.HasPrefix(id.Hex(), strings.TrimPrefix(name, "sha256:"))
}

// doomed picks the names that go with name, and tells whether none will be left.
func (s *Store) doomed(name string, id oci.Digest, mine []reference.Reference, force bool) (gone []reference.Reference, last bool, err error) {
	if byID(name, id) {
		repos := make(map[string]bool)
		for _, r := range mine {
			repos[r.Name()] = true
		}
		if len(repos) > 1 && !force {
			return nil, false, fmt.Errorf("image %s has names in several repositories: remove them by name, or all with force", short(id))
		}
		return mine, true, nil
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return nil, false, err
	}
	if !ref.Digest.IsZero() {
		ref.Tag = ""
	}
	ref = ref.WithDefaultTag()
	// A repository's digests go with its last tag, as they are no name that
	// anybody gave.
	tags, others := 0, 0
	for _, r := range mine {
		switch {
		case r == ref:
		case r.Name() != ref.Name():
			others++
		case r.Digest.IsZero():
			tags++
		}
	}
	for _, r := range mine {
		if r == ref || r.Name() == ref.Name() && !r.Digest.IsZero() && tags == 0 {
			gone = append(gone, r)
		}
	}
	return gone, tags+others == 0, nil
}

func (s *Store) namesOf(id oci.Digest) ([]reference.Reference, error) {
	names, err := s.files.Names()
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return nil, err
	}
	var refs []reference.Reference
	for _, n := range names {
		if n.Image != id {
			continue
		}
		if ref, err := reference.Parse(n.Name); err == nil {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// unnamedKeep is how long a pull may take between the record of an image and
// its name, which are two writes.
const unnamedKeep = time.Hour

// collect frees what no image needs, and the images of pulls that were killed
// before the image had a name. Somebody else's pull puts it off to a later call.
func (s *Store) collect() error {
	ctx := context.Background()
	recs, err := s.files.Images()
	if err != nil {
		return err
	}
	names, err := s.files.Names()
	if err != nil {
		return err
	}
	named := make(map[oci.Digest]bool)
	for _, n := range names {
		named[n.Image] = true
	}
	for _, rec := range recs {
		if !named[rec.ID] && len(rec.Digests) == 0 && !rec.Kept && time.Since(rec.PulledAt) > unnamedKeep {
			if err := s.files.DeleteImage(ctx, rec.ID, nil); err != nil && !isNotExist(err) {
				return err
			}
		}
	}
	_, err = s.files.Collect(ctx)
	if errors.Is(err, store.ErrBusy) {
		return nil
	}
	return err
}
