package image

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
	"loper.run/image/store"
	"loper.run/internal/version"
)

// errNoSource tells of what came from no registry.
var errNoSource = errors.New("no registry is known to have it: load, build or pull the image again")

// from calls fetch with each repository that an image is known to come from,
// until it succeeds.
func (c *checker) from(digests []string, fetch func(*registry.Client, reference.Reference) error) error {
	failed := errNoSource
	for _, name := range digests {
		ref, err := reference.Parse(name)
		if err != nil {
			continue
		}
		client, err := registry.New(ref.Domain)
		if err != nil {
			failed = err
			continue
		}
		client.UserAgent, client.Credentials = "loper/"+version.String(), registry.FileCredentials
		err = fetch(client, ref)
		client.Close()
		if err == nil {
			return nil
		}
		failed = err
	}
	return failed
}

// sources are the repo@digest references of an image, by its record and by its names.
func (c *checker) sources(id oci.Digest, recorded []string) []string {
	all := append([]string{}, recorded...)
	for _, n := range c.Names {
		if ref, err := reference.Parse(n.Name); err == nil && n.Has(id) && ref.Domain != helloDomain {
			ref.Tag, ref.Digest = "", n.Manifest
			all = append(all, ref.String())
		}
	}
	return all
}

// fetchDocument fetches a manifest, an index or a configuration.
func (c *checker) fetchDocument(ctx context.Context, rec store.Image, d oci.Digest) error {
	return c.from(c.sources(rec.ID, rec.Digests), func(client *registry.Client, ref reference.Reference) error {
		var body []byte
		var err error
		if d == rec.ID {
			m, merr := c.manifest(rec)
			if merr != nil {
				return merr
			}
			body, err = client.Small(ctx, ref.Path, m.Config, oci.MaxConfig)
		} else {
			ref.Tag, ref.Digest = "", d
			body, _, _, err = client.Manifest(ctx, ref)
		}
		if err != nil {
			return err
		}
		if err := c.s.files.PutBlob(d, body); err != nil {
			return err
		}
		c.checks[d] = nil
		return nil
	})
}

// fetchPacked fetches a layer as it came, and puts it in the place of what is
// there.
func (c *checker) fetchPacked(ctx context.Context, rec store.Image, d oci.Descriptor) (string, error) {
	err := c.from(c.sources(rec.ID, rec.Digests), func(client *registry.Client, ref reference.Reference) error {
		part, err := c.s.files.Partial(ctx, d.Digest)
		if err != nil {
			return err
		}
		defer part.Close()
		for _, gap := range part.Missing(d.Size) {
			if _, err := client.Range(ctx, ref.Path, d, gap.From, gap.To, &atOffset{part, gap.From}); errors.Is(err, registry.ErrNoRanges) {
				_, err = client.Download(ctx, ref.Path, d, 0, &atOffset{part, 0})
				if err != nil {
					return err
				}
			} else if err != nil {
				return err
			}
		}
		if err := part.Seal(d.Digest); err != nil {
			return errors.Join(err, part.Reset())
		}
		c.checks[d.Digest] = nil
		return part.Publish()
	})
	return "fetched again", err
}

// atOffset appends to a download.
type atOffset struct {
	part *store.Partial
	at   int64
}

func (w *atOffset) Write(b []byte) (int, error) {
	n, err := w.part.WriteAt(b, w.at)
	w.at += int64(n)
	return n, err
}

// rebuild makes the record of an image anew.
func (c *checker) rebuild(ctx context.Context, id oci.Digest) error {
	digests := c.sources(id, nil)
	rec, err := c.s.files.Rebuild(id)
	if err == nil {
		for _, name := range digests {
			if ref, err := reference.Parse(name); err == nil && !strings.Contains(ref.Domain, helloDomain) {
				rec.Digests = appendNewText(rec.Digests, name)
			}
		}
		return c.s.files.PutImage(rec)
	}
	for _, n := range c.Names {
		if n.Has(id) {
			return c.pullAgain(ctx, n)
		}
	}
	return fmt.Errorf("its record can't be made anew (%w), and it has no name to pull it by: remove it", err)
}

func appendNewText(list []string, word string) []string {
	for _, have := range list {
		if have == word {
			return list
		}
	}
	return append(list, word)
}

// pullAgain pulls what a name stood for. What is there is not fetched again.
func (c *checker) pullAgain(ctx context.Context, n store.Name) error {
	ref, err := reference.Parse(n.Name)
	if err != nil {
		return err
	}
	if ref.Domain == helloDomain {
		_, err := c.s.hello()
		return err
	}
	exact := ref
	exact.Tag, exact.Digest = "", n.Manifest
	img, err := c.s.pullRef(ctx, exact, PullOptions{Progress: quiet{}})
	if err != nil {
		return err
	}
	return c.s.nameImage(ref.String(), img.ID, n.Manifest)
}

// repairName pulls what the file of a damaged name was called after.
func (c *checker) repairName(ctx context.Context, file string) (string, error) {
	name, err := url.PathUnescape(file)
	if err != nil || strings.HasPrefix(file, "%sha") {
		return "", errors.New("its name is not known: remove the file")
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return "", err
	}
	if _, err := c.s.pullRef(ctx, ref, PullOptions{Progress: quiet{}}); err != nil {
		return "", err
	}
	return "pulled again", nil
}
