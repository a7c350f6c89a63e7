package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// Tag gives the image behind source another name, taking it from the image
// that had it.
func (s *Store) Tag(source, target string) error {
	source = s.longName(source)
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
	n := store.Name{Image: img.ID, Manifest: img.Manifest}
	// A name stands for more than an image: it gives its index and further platforms on.
	if from, err := reference.Parse(source); err == nil {
		if named, err := s.lookup(from); err == nil && named.Has(img.ID) {
			n = named
		}
	}
	n.Name = ref.WithDefaultTag().String()
	if err = s.files.SetName(n); isNotExist(err) {
		return notFound(source) // it was removed in this moment
	}
	return err
}

// InUseError says that containers need an image.
type InUseError struct {
	Name  string
	Users []string // ids or names of containers, or where it is mounted
}

// Error names the first container.
func (e *InUseError) Error() string {
	more := ""
	if len(e.Users) > 1 {
		more = fmt.Sprintf(" and %d more", len(e.Users)-1)
	}
	user := e.Users[0]
	if strings.HasPrefix(user, "/") {
		return fmt.Sprintf("image %s is mounted at %s: unmount it first", e.Name, user)
	}
	if len(user) == 64 {
		user = user[:12]
	}
	return fmt.Sprintf("image %s is used by container %s%s: remove the container first", e.Name, user, more)
}

// Remove takes a name from an image, and deletes the image with its last name;
// a name for several platforms goes with all its images.
// Given an id it removes all names, if they are of one repository or force is
// set. users tells which containers need an image: such an image is refused. By
// name and with force it loses the name and stays for its containers.
// The returned texts are what was untagged and deleted, also beside an error.
func (s *Store) Remove(name string, force bool, users func(id oci.Digest) []string) (untagged, deleted []string, err error) {
	return s.RemoveFor(name, "", force, users)
}

// RemoveFor is Remove for the one image of a name that fits a platform best; ""
// is Remove. Images of further platforms keep the name.
func (s *Store) RemoveFor(name, platform string, force bool, users func(id oci.Digest) []string) (untagged, deleted []string, err error) {
	if name == Host || name == Hello {
		return nil, nil, fmt.Errorf("image %s is built in", name)
	}
	name = s.longName(name)
	if n, ok := s.list(name); ok && platform == "" {
		if err := s.files.DeleteName(n.Name); err != nil {
			return nil, nil, err
		}
		return []string{familiar(n.Name)}, nil, s.collect()
	}
	ids, err := s.findAll(name)
	if err != nil {
		return nil, nil, err
	}
	only := platform != "" && len(ids) > 1
	if platform != "" {
		id, err := s.pick(name, platform)
		if err != nil {
			return nil, nil, err
		}
		ids = []oci.Digest{id}
	}
	plan, err := s.planRemoval(name, ids, force, users)
	if err != nil {
		return nil, nil, err
	}
	return s.carryOut(plan, only)
}

// removal is what happens to one image.
type removal struct {
	id    oci.Digest
	mine  []reference.Reference // all its names
	gone  []reference.Reference // those it loses
	last  bool                  // it is deleted
	stays bool                  // but when somebody came to need it, only loses its names
	check func() error          // nobody needs it
}

// planRemoval decides for all images before anything happens to one of them.
func (s *Store) planRemoval(name string, ids []oci.Digest, force bool, users func(id oci.Digest) []string) ([]removal, error) {
	var plan []removal
	for _, id := range ids {
		mine, err := s.namesOf(id)
		if err != nil {
			return nil, err
		}
		r := removal{id: id, mine: mine, check: func() error {
			if users == nil {
				return nil
			}
			if ids := users(id); len(ids) > 0 {
				return &InUseError{name, ids}
			}
			return nil
		}}
		if r.gone, r.last, err = s.doomed(name, id, mine, force); err != nil {
			return nil, err
		}
		if r.last {
			r.stays = force && !byID(name, id)
			if err := r.check(); err != nil && !r.stays {
				return nil, err
			} else if err != nil {
				r.last = false
			}
		}
		plan = append(plan, r)
	}
	return plan, nil
}

// carryOut removes. With only set, images of other platforms keep the names.
func (s *Store) carryOut(plan []removal, only bool) (untagged, deleted []string, err error) {
	var lost []reference.Reference
	for _, r := range plan {
		var err error
		if r.last {
			err = s.files.DeleteImage(context.Background(), r.id, r.check)
		}
		if _, inUse := errors.AsType[*InUseError](err); inUse && r.stays {
			r.last, err = false, nil
		}
		switch {
		case isNotExist(err):
			return nil, deleted, notFound(r.id.Short()) // somebody else was faster
		case err != nil:
			return nil, deleted, err
		case r.last:
			deleted = append(deleted, r.id.String())
			lost = append(lost, r.mine...)
		case only:
			for _, ref := range r.gone {
				if err := s.files.UpdateName(ref.String(), func(n store.Name) (store.Name, error) { return n.Without(r.id), nil }); err != nil {
					return nil, deleted, err
				}
			}
		default:
			for _, ref := range r.gone {
				if err := s.files.DeleteName(ref.String()); err != nil && !isNotExist(err) {
					return untagged, deleted, err
				}
			}
			lost = append(lost, r.gone...)
		}
	}
	for _, ref := range lost {
		if _, err := s.files.Name(ref.String()); isNotExist(err) && !slices.Contains(untagged, ref.Familiar()) {
			untagged = append(untagged, ref.Familiar())
		}
	}
	if len(deleted) > 0 {
		err = s.collect()
	}
	return untagged, deleted, err
}

// list returns what a name of a list made here means.
func (s *Store) list(name string) (store.Name, bool) {
	ref, err := reference.Parse(name)
	if err != nil {
		return store.Name{}, false
	}
	n, err := s.lookup(ref)
	return n, err == nil && n.List
}

// familiar is a full name as people write it.
func familiar(name string) string {
	if ref, err := reference.Parse(name); err == nil {
		return ref.Familiar()
	}
	return name
}

// Protect tells the store how to ask which layers containers are made of, by
// their directories: those stay, whatever becomes of their images. Containers of
// the ids beside are to be left out.
func (s *Store) Protect(inUse func(beside []string) ([]string, error)) { s.files.InUse = inUse }

// byID reports whether name is the id, or its beginning.
func byID(name string, id oci.Digest) bool {
	return strings.HasPrefix(id.Hex(), withoutAlgorithm(name))
}

// doomed picks the names that go with name, and tells whether none will be left.
func (s *Store) doomed(name string, id oci.Digest, mine []reference.Reference, force bool) (gone []reference.Reference, last bool, err error) {
	if byID(name, id) {
		repos := make(map[string]bool)
		for _, r := range mine {
			repos[r.Name()] = true
		}
		if len(repos) > 1 && !force {
			return nil, false, fmt.Errorf("conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", short(id))
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
		if !n.Has(id) {
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
		for _, id := range n.Images() {
			named[id] = true
		}
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
