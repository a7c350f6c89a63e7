package image

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// PushOptions says what to push and how to show it.
type PushOptions struct {
	// Platform picks one image of a name that has several; "" is the whole
	// index, or the host's best when not all of it is here.
	Platform string
	// AllTags pushes all tags of the repository.
	AllTags  bool
	Progress Progress // nil is quiet; Push doesn't close it
}

// Pushed is what a registry got.
type Pushed struct {
	Name string         // whole, with the tag
	Desc oci.Descriptor // of the manifest or index
}

// Push sends an image to a registry: to the one in its name, or to destination
// when that is not "". The very bytes go out that came in, so that the digest
// stays the same; the manifest last, when all that it names is there.
func (s *Store) Push(ctx context.Context, name, destination string, o PushOptions) ([]Pushed, error) {
	if name == Host || name == Hello {
		return nil, fmt.Errorf("push %s: the image is built in", name)
	}
	if o.Progress == nil {
		o.Progress = quiet{}
	}
	if destination == "" {
		if _, ok := s.named(name); !ok && !o.AllTags {
			return nil, noTag(name)
		}
		destination = s.longName(name)
	}
	to, err := pushTarget(destination)
	if err != nil {
		return nil, err
	}
	release, err := s.files.Use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	find := s.pushGoals
	if o.AllTags {
		find = s.allTags
	}
	goals, err := find(name, to, o)
	if err != nil {
		return nil, err
	}
	client, err := s.connect(to.Domain, o.Progress)
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", to.Familiar(), err)
	}
	defer client.Close()
	from := &local{s: s, show: o.Progress}
	defer from.close()
	o.Progress.Message("The push refers to repository [" + to.Name() + "]")
	push := &pushing{send{from: from, client: client, to: to, show: o.Progress, near: func(d oci.Digest) []string { return from.near(to.Domain, d) }}, from}
	var done []Pushed
	for _, g := range goals {
		desc, err := push.goal(ctx, g)
		if err != nil {
			return done, fmt.Errorf("push %s: %w", to.Familiar(), err)
		}
		for _, tag := range g.tags {
			o.Progress.Message(fmt.Sprintf("%s: digest: %s size: %d", tag, desc.Digest, desc.Size))
			done = append(done, Pushed{to.Name() + ":" + tag, desc})
		}
		if err := s.nameDigest(to, g, desc.Digest); err != nil {
			return done, err
		}
	}
	return done, nil
}

// pushTarget reads where to push to, which may be written as podman does.
func pushTarget(destination string) (reference.Reference, error) {
	bare := strings.TrimPrefix(destination, "docker://")
	switch scheme, _, _ := strings.Cut(bare, ":"); scheme {
	case "dir", "oci", "oci-archive", "docker-archive", "docker-daemon", "containers-storage":
		return reference.Reference{}, fmt.Errorf("push to %s: only registries are pushed to: use 'loper image copy' or 'loper save'", destination)
	}
	ref, err := reference.Parse(bare)
	if err != nil {
		return ref, err
	}
	if !ref.Digest.IsZero() {
		return ref, fmt.Errorf("push to %s: a digest can't be pushed to, only a tag", destination)
	}
	return ref, nil
}

// goal is a manifest or index and the tags it gets.
type goal struct {
	target oci.Digest
	ids    []oci.Digest // images that it has here, the best first
	only   bool         // one platform was asked for
	tags   []string
}

// pushGoals finds what is to be pushed.
func (s *Store) pushGoals(name string, to reference.Reference, o PushOptions) ([]goal, error) {
	to = to.WithDefaultTag()
	id, err := s.pick(name, o.Platform)
	n, named := s.named(name)
	if errors.Is(err, ErrNotFound) && !named {
		return nil, noTag(name)
	}
	if err != nil && !n.List {
		return nil, err
	}
	g := goal{target: n.Manifest, ids: n.Images(), tags: []string{to.Tag}}
	if !named || o.Platform != "" {
		rec, err := s.files.Image(id)
		if err != nil {
			return nil, err
		}
		g.target, g.ids, g.only = rec.Manifest, []oci.Digest{id}, true
	}
	return []goal{g}, nil
}

// noTag says so in docker's words.
func noTag(name string) error {
	return fmt.Errorf("%w: an image does not exist locally with the tag: %.300s", ErrNotFound, name)
}

// named returns what a name, and not an id, means in the store.
func (s *Store) named(name string) (store.Name, bool) {
	ref, err := reference.Parse(s.longName(name))
	if err != nil {
		return store.Name{}, false
	}
	n, err := s.lookup(ref)
	return n, err == nil
}

// allTags finds the tags of a repository; those of one target are one goal.
func (s *Store) allTags(name string, to reference.Reference, _ PushOptions) ([]goal, error) {
	ref, err := reference.Parse(s.longName(name))
	if err != nil {
		return nil, err
	}
	if ref.Tag != "" || !ref.Digest.IsZero() || to.Tag != "" {
		return nil, errors.New("tag can't be used with --all-tags/-a")
	}
	names, err := s.files.Names()
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return nil, err
	}
	at := make(map[oci.Digest]int)
	var goals []goal
	for _, n := range names {
		r, err := reference.Parse(n.Name)
		if err != nil || r.Tag == "" || r.Name() != ref.Name() {
			continue
		}
		i, ok := at[n.Manifest]
		if !ok {
			i = len(goals)
			at[n.Manifest] = i
			goals = append(goals, goal{target: n.Manifest, ids: n.Images()})
		}
		goals[i].tags = append(goals[i].tags, r.Tag)
	}
	if len(goals) == 0 {
		return nil, noTag(name)
	}
	sort.SliceStable(goals, func(i, j int) bool { return goals[i].tags[0] < goals[j].tags[0] })
	return goals, nil
}

// pushing is what goes out of the store.
type pushing struct {
	send
	from *local
}

// goal pushes a target; of an index that is not all here the one image that
// fits this machine best.
func (s *pushing) goal(ctx context.Context, g goal) (oci.Descriptor, error) {
	t, err := s.read(ctx, oci.Descriptor{Digest: g.target})
	var partly *incomplete
	if errors.As(err, &partly) && !g.only && len(g.ids) > 0 {
		var rec store.Image
		if rec, err = s.from.s.files.Image(g.ids[0]); err != nil {
			return oci.Descriptor{}, err
		}
		s.show.Message(fmt.Sprintf("Not all multiplatform-content is present and only the available single-platform image was pushed: %s -> %s", g.target, rec.Manifest))
		t, err = s.read(ctx, oci.Descriptor{Digest: rec.Manifest})
	}
	if err != nil {
		return oci.Descriptor{}, err
	}
	return t.desc, s.run(ctx, t, g.tags)
}

// nameDigest notes by which digest the registry has an image now.
func (s *Store) nameDigest(to reference.Reference, g goal, digest oci.Digest) error {
	to.Tag, to.Digest = "", digest
	for _, id := range g.ids {
		if digest != g.target && id != g.ids[0] {
			break
		}
		if err := s.nameImage(to.String(), id, digest); err != nil {
			return err
		}
	}
	return nil
}
