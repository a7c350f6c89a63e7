package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry/conf"
)

// endpointKey tells endpoints apart.
type endpointKey struct {
	domain   string
	insecure bool
}

// chain is where the images of one repository may be had, in the order to ask.
type chain struct{ sources []*source }

// source is a repository on one endpoint.
type source struct {
	at     *endpoint
	chain  *chain
	path   string // of the repository there
	mirror bool
}

type sourceKey struct{}

func (s *source) do(ctx context.Context, r request) (*http.Response, error) {
	r.path = s.path
	return s.at.do(context.WithValue(ctx, sourceKey{}, s), r)
}

// sourceOf returns the source that an answer is of.
func sourceOf(resp *http.Response) *source {
	s, _ := resp.Request.Context().Value(sourceKey{}).(*source)
	return s
}

// drop takes a mirror out for good. The primary source stays: there is nobody
// else to ask.
func (s *source) drop() bool {
	if !s.mirror {
		return false
	}
	n := len(s.chain.sources)
	s.chain.sources = slices.DeleteFunc(s.chain.sources, func(o *source) bool { return o == s })
	return len(s.chain.sources) < n
}

// sources lists whom to ask. Mirrors and other locations are for reading, as
// with Podman: what changes something goes to the registry in the name.
func (c *Client) sources(r *request) ([]*source, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.path == "" || !r.reads() {
		_, table, err := c.table(r.path)
		if err != nil {
			return nil, err
		}
		e, err := c.endpoint(c.domain, table != nil && table.Insecure)
		return []*source{{at: e, path: r.path}}, err
	}
	name, manifest := strings.CutPrefix(r.what, "manifests/")
	byDigest := !manifest || strings.Contains(name, ":")
	// What follows the manifest comes from where that came from.
	ch := c.chains[r.path]
	if ch == nil || !byDigest {
		var err error
		if ch, err = c.newChain(r.path, byDigest); err != nil {
			return nil, err
		}
		c.chains[r.path] = ch
	}
	return slices.Clone(ch.sources), nil
}

// table finds what registries.conf says of a repository, and refuses a blocked one.
func (c *Client) table(path string) (name string, table *conf.Registry, err error) {
	if name = c.domain; path != "" {
		name += "/" + path
	}
	table = c.conf.Find(name)
	if table != nil && table.Blocked {
		return name, nil, blocked(name, table)
	}
	return name, table, nil
}

func blocked(name string, table *conf.Registry) error {
	return fmt.Errorf("%s is blocked by %s (prefix %q)", name, table.Where(), table.Prefix)
}

// newChain follows registries.conf from a name to endpoints.
func (c *Client) newChain(path string, byDigest bool) (*chain, error) {
	links, err := links(c.conf, c.domain+"/"+path, byDigest)
	if err != nil {
		return nil, err
	}
	ch := new(chain)
	for _, l := range links {
		e, err := c.endpoint(l.ref.Domain, l.insecure)
		if err != nil {
			return nil, err
		}
		ch.sources = append(ch.sources, &source{at: e, chain: ch, path: l.ref.Path, mirror: l.mirror})
	}
	return ch, nil
}

// link is a place where an image may be had, by its name there.
type link struct {
	ref      reference.Reference
	insecure bool
	mirror   bool
	line     int // of the table in its file
}

// links lists where registries.conf says that the images of a repository may be
// had, in the order to ask. A blocked one is an error. As with Podman, tags and
// digests don't count as parts of the name.
func links(config *conf.Config, name string, byDigest bool) ([]link, error) {
	table := config.Find(name)
	if table == nil {
		ref, err := reference.Parse(name)
		return []link{{ref: ref}}, err
	}
	if table.Blocked {
		return nil, blocked(name, table)
	}
	var all []link
	add := func(e conf.Endpoint, mirror bool, line int) error {
		there := e.Rewrite(name, table.Prefix)
		ref, err := reference.Parse(there)
		if err != nil {
			return fmt.Errorf("%s leads from %s to %s: %w", table.Where(), name, there, err)
		}
		all = append(all, link{ref, e.Insecure, mirror, line})
		return nil
	}
	for _, m := range table.PullMirrors(byDigest) {
		if err := add(m.Endpoint, true, m.Line); err != nil {
			return nil, err
		}
	}
	return all, add(table.Endpoint, false, table.Line)
}

// endpoint returns the one endpoint of a registry.
func (c *Client) endpoint(domain string, insecure bool) (*endpoint, error) {
	insecure = insecure || c.Insecure
	key := endpointKey{domain, insecure}
	if e := c.endpoints[key]; e != nil {
		return e, nil
	}
	e, err := newEndpoint(c, domain, insecure)
	if err == nil {
		c.endpoints[key] = e
	}
	return e, err
}

// answered remembers who answered: the rest of an image comes from where its
// manifest was.
func (c *Client) answered(s *source, r *request) {
	if s.chain == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case strings.HasPrefix(r.what, "manifests/"):
		s.chain.move(s, 0)
	case strings.HasPrefix(r.what, "blobs/") && !slices.Contains(c.served[r.what], s):
		c.served[r.what] = append(c.served[r.what], s)
	}
}

// failed makes who could not be reached the last to be asked.
func (c *Client) failed(s *source, r *request, err error) {
	var status *StatusError
	if s.chain == nil || errors.As(err, &status) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.chain.move(s, len(s.chain.sources)-1)
}

func (ch *chain) move(s *source, to int) {
	if i := slices.Index(ch.sources, s); i >= 0 {
		ch.sources = slices.Insert(slices.Delete(ch.sources, i, i+1), to, s)
	}
}

// sourcesError is what went wrong at each source of a repository.
type sourcesError struct {
	primary error // shown first, and what the error is
	mirrors []error
}

func (e *sourcesError) add(s *source, err error) {
	if s.mirror {
		e.mirrors = append(e.mirrors, err)
	} else {
		e.primary = err
	}
}

// single returns the error itself when there was one source only.
func (e *sourcesError) single() error {
	switch {
	case len(e.mirrors) == 0:
		return e.primary
	}
	return e
}

func (e *sourcesError) Error() string {
	var words []string
	for _, m := range e.mirrors {
		words = append(words, m.Error())
	}
	return fmt.Sprintf("%v (mirrors failed too: %s)", e.primary, strings.Join(words, "; "))
}

func (e *sourcesError) Unwrap() error { return e.primary }

// retryable is whether any source may answer the next time, and how long the
// most patient one asked to wait.
func (e *sourcesError) retryable() (wait time.Duration, again bool) {
	for _, err := range append(e.mirrors, e.primary) {
		if w, ok := retryable(err); ok {
			wait, again = max(wait, w), true
		}
	}
	return wait, again
}

// blamed is a mirror's fault that another source may not have.
type blamed struct{ err error }

func (b *blamed) Error() string { return b.err.Error() }
func (b *blamed) Unwrap() error { return b.err }

// blame drops the mirror whose answer was no good, so that the next try asks
// others. One whose connection broke is asked last.
func (c *Client) blame(resp *http.Response, err error) error {
	s := sourceOf(resp)
	if err == nil || s == nil || !s.mirror {
		return err
	}
	var broken *cutError
	var mismatch *oci.MismatchError
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.As(err, &broken):
		s.chain.move(s, len(s.chain.sources)-1)
	case errors.As(err, &mismatch), errors.Is(err, errTooLarge), errors.Is(err, errWrongSize):
		if s.drop() {
			return &blamed{err}
		}
	}
	return err
}
