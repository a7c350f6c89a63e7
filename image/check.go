package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"loper.run/image/oci"
	"loper.run/image/store"
	"loper.run/internal/tree"
)

// Depth is how thoroughly a Check looks.
type Depth int

// Quick looks whether all is there and has the right size, and reads documents.
// Usual compares the layers' trees with what they were, but for what the files
// hold. Deep reads everything.
const (
	Quick Depth = iota - 1
	Usual
	Deep
)

// Check looks for what is damaged in a store, and repairs it.
type Check struct {
	Depth Depth
	// Repair mends what is damaged, and fetches for it only what is.
	Repair bool
	// Age is how old what nobody needs must be to be told.
	Age time.Duration
	// Hold keeps containers that do not run from being started with the layers
	// in these directories, and names those that run; nil: there are none.
	Hold func(dirs []string) (release func(), running []string, err error)
	// Report is told of each problem, after its repair was tried.
	Report func(Problem)
}

// Problem is something that is not as it should be.
type Problem struct {
	Kind string `json:"kind"` // image, name, blob, layer, leftover; of engines: container, volume, network
	Name string `json:"name"` // which one
	What string `json:"problem"`
	// Harmless is what takes space and nothing else.
	Harmless bool `json:"harmless,omitempty"`
	// Images and Containers are those that suffer from it.
	Images     []string `json:"images,omitempty"`
	Containers []string `json:"containers,omitempty"`
	Repaired   bool     `json:"repaired,omitempty"`
	// Repair is what was done, or why it could not be.
	Repair string `json:"repair,omitempty"`
}

// checker is one Check under way.
type checker struct {
	*store.Inventory
	s      *Store
	o      Check
	checks map[oci.Digest]error // of blobs
	users  map[oci.Digest][]oci.Digest
}

// Check looks at everything in the store. What it finds goes to o.Report; the
// error is only of what kept it from looking.
func (s *Store) Check(ctx context.Context, o Check) error {
	release, err := s.files.Use(ctx)
	if err != nil {
		return err
	}
	err = s.check(ctx, o)
	release()
	if err != nil {
		return err
	}
	left, err := s.files.Leftovers(o.Age)
	if err != nil {
		return err
	}
	if len(left) > 0 && o.Repair {
		err = s.collect()
	}
	for _, path := range left {
		p := Problem{Kind: "leftover", Name: path, What: "nobody needs it", Harmless: true}
		if o.Repair && s.files.Gone(map[string]tree.Usage{path: {Entries: 1}}).Entries == 1 {
			p.Repaired, p.Repair = true, "removed"
		}
		o.Report(p)
	}
	return err
}

func (s *Store) check(ctx context.Context, o Check) error {
	have, err := s.files.Inventory()
	if err != nil {
		return err
	}
	c := &checker{Inventory: have, s: s, o: o, checks: map[oci.Digest]error{}, users: map[oci.Digest][]oci.Digest{}}
	for _, step := range []func(context.Context) error{c.documents, c.records, c.verdicts, c.packed, c.otherBlobs, c.layers, c.names} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// report tells of a problem once its repair, which may be nil, was tried.
func (c *checker) report(p Problem, repair func() (string, error)) {
	if c.o.Repair && repair != nil {
		done, err := repair()
		if err != nil {
			p.Repair = err.Error()
		} else {
			p.Repaired, p.Repair = true, done
		}
	}
	c.o.Report(p)
}

// blob checks a blob once: all of it when that is asked for or it is small.
func (c *checker) blob(ctx context.Context, d oci.Digest, want int64) error {
	if err, known := c.checks[d]; known {
		return err
	}
	size, err := c.s.files.BlobSize(d)
	switch {
	case err != nil:
	case want >= 0 && size != want:
		err = fmt.Errorf("%w: it has %d bytes, not %d", store.ErrDamaged, size, want)
	case c.o.Depth == Deep || size <= oci.MaxConfig:
		err = c.s.files.VerifyBlob(ctx, d)
	}
	if ctx.Err() == nil {
		c.checks[d] = err
	}
	return err
}

// documents checks the manifests, indexes and configurations of all records.
func (c *checker) documents(ctx context.Context) error {
	for _, rec := range c.Images {
		if rec.Manifest != rec.ID { // the hello image has none
			c.document(ctx, rec, "manifest", rec.Manifest)
		}
		c.document(ctx, rec, "configuration", rec.ID)
		for _, d := range rec.Blobs {
			c.document(ctx, rec, "document", d)
		}
	}
	return ctx.Err()
}

func (c *checker) document(ctx context.Context, rec store.Image, what string, d oci.Digest) {
	_, told := c.checks[d]
	if err := c.blob(ctx, d, -1); err != nil && !told {
		c.report(Problem{Kind: "blob", Name: d.String(), What: what + " is " + plainly(err), Images: c.called(rec.ID)}, func() (string, error) {
			return "fetched again", c.fetchDocument(ctx, rec, d)
		})
	}
}

// records tells of records that can't be read.
func (c *checker) records(ctx context.Context) error {
	for id, why := range c.Damaged {
		c.report(Problem{Kind: "image", Name: id.String(), What: plainly(why), Images: c.called(id)}, func() (string, error) {
			return "made anew from the image's documents", c.rebuild(ctx, id)
		})
	}
	return ctx.Err()
}

// packed checks the layers as they came. They may be missing, since they can be
// fetched again.
func (c *checker) packed(ctx context.Context) error {
	for _, rec := range c.Images {
		m, err := c.manifest(rec)
		if err != nil {
			continue // which was told
		}
		for _, l := range m.Layers {
			_, told := c.checks[l.Digest]
			err := c.blob(ctx, l.Digest, l.Size)
			if err == nil || told || isNotExist(err) {
				continue
			}
			c.report(Problem{Kind: "blob", Name: l.Digest.String(), What: "packed layer is " + plainly(err), Images: c.called(rec.ID)}, func() (string, error) {
				return c.fetchPacked(ctx, rec, l)
			})
		}
	}
	return ctx.Err()
}

// otherBlobs checks what no record names, such as signatures.
func (c *checker) otherBlobs(ctx context.Context) error {
	for _, d := range c.Blobs {
		_, told := c.checks[d]
		if err := c.blob(ctx, d, -1); err != nil && !told && !isNotExist(err) {
			c.report(Problem{Kind: "blob", Name: d.String(), What: plainly(err)}, func() (string, error) {
				_, err := c.s.files.DropBlob(d)
				return "removed: no image is made of it", err
			})
		}
	}
	return ctx.Err()
}

// layers checks the trees of all records, and those that no record has.
func (c *checker) layers(ctx context.Context) error {
	for _, rec := range c.Images {
		for _, d := range rec.Layers {
			c.users[d] = append(c.users[d], rec.ID)
		}
	}
	for _, d := range c.Layers {
		if c.users[d] == nil {
			c.users[d] = []oci.Digest{}
		}
	}
	for _, d := range sorted(c.users) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.layer(ctx, d, c.users[d]); err != nil {
			return fmt.Errorf("layer %s: %w", d.Short(), err)
		}
	}
	return nil
}

// names checks that each name leads somewhere.
func (c *checker) names(ctx context.Context) error {
	for file, why := range c.BadNames {
		c.report(Problem{Kind: "name", Name: file, What: plainly(why)}, func() (string, error) { return c.repairName(ctx, file) })
	}
	for _, n := range c.Names {
		var missing []string
		for _, id := range n.Images() {
			if _, err := c.s.files.Image(id); isNotExist(err) {
				missing = append(missing, id.Short())
			}
		}
		if len(missing) > 0 {
			c.report(Problem{Kind: "name", Name: n.Name, What: "is of an image that is missing: " + strings.Join(missing, ", ")}, func() (string, error) {
				return "pulled again", c.pullAgain(ctx, n)
			})
		}
		_, told := c.checks[n.Manifest]
		if err := c.blob(ctx, n.Manifest, -1); err != nil && !told && n.Image != n.Manifest {
			c.report(Problem{Kind: "name", Name: n.Name, What: "stands for a manifest that is " + plainly(err)}, func() (string, error) {
				return "pulled again", c.pullAgain(ctx, n)
			})
		}
	}
	return ctx.Err()
}

// called are the names of an image for people.
func (c *checker) called(id oci.Digest) (names []string) {
	for _, n := range c.Names {
		if n.Has(id) && !strings.Contains(n.Name, "@") {
			names = append(names, familiar(n.Name))
		}
	}
	if names == nil {
		names = []string{id.Short()}
	}
	sort.Strings(names)
	return names
}

// plainly is what an error says of something that was named already.
func plainly(err error) string {
	if errors.Is(err, store.ErrDamaged) {
		text := err.Error()
		if i := strings.Index(text, store.ErrDamaged.Error()); i >= 0 {
			return text[i:]
		}
	}
	if isNotExist(err) {
		return "missing"
	}
	return err.Error()
}

func sorted(m map[oci.Digest][]oci.Digest) []oci.Digest {
	list := make([]oci.Digest, 0, len(m))
	for d := range m {
		list = append(list, d)
	}
	slices.SortFunc(list, oci.Digest.Compare)
	return list
}
