package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"loper.run/image/oci"
)

const (
	// atOnce is the size up to which a blob is sent as the body of the request
	// that ends its upload: one round trip less, but nothing to resume.
	atOnce = 8 << 20
	// single is the size up to which a blob is sent with the very first
	// request, which not every registry reads.
	single = 64 << 10
	// firstChunk is how much is sent at once after the registry, or a proxy
	// before it, refused a body as too large; a quarter each time it does again.
	firstChunk = 16 << 20
	leastChunk = 1 << 20
)

// Upload is a blob to be stored in a registry.
type Upload struct {
	oci.Descriptor
	// Near, when not nil, lists repositories of the same registry that may have
	// the blob. It is asked when this one doesn't.
	Near func() []string
	// Open reads the content from an offset on. It may be called several times,
	// when a connection is cut; the reader before is of no use from then on.
	Open func(offset int64) (io.ReadCloser, error)
	// Sent, when not nil, is told how many bytes the registry was sent.
	Sent func(int64)
}

// Stored says how a repository came to have a blob.
type Stored struct {
	Existed bool
	Mounted string // the repository it was mounted from; "" when it was sent
}

// HasBlob asks whether a repository has a blob.
func (c *Client) HasBlob(ctx context.Context, path string, d oci.Descriptor) (bool, error) {
	return c.hasBlob(ctx, path, d, "")
}

func (c *Client) hasBlob(ctx context.Context, path string, d oci.Descriptor, actions string) (bool, error) {
	found := false
	err := c.retry(ctx, func() (bool, error) {
		resp, err := c.do(ctx, request{method: http.MethodHead, path: path, what: "blobs/" + d.Digest.String(), actions: actions, ok: []int{200, 404}})
		if err != nil {
			return false, err
		}
		resp.Body.Close()
		found = resp.StatusCode == http.StatusOK
		if n := resp.ContentLength; found && n > 0 && n != d.Size {
			return false, fmt.Errorf("blob %s: %w: the registry has %d bytes, the manifest says %d", d.Digest, errWrongSize, n, d.Size)
		}
		return false, nil
	})
	return found, err
}

// PutBlob makes a repository have a blob: it may be there, or in another
// repository of the registry, or is sent (distribution specification,
// "Pushing blobs"). What is sent is hashed on the way; content that proves
// not to be what the digest says is never completed.
func (c *Client) PutBlob(ctx context.Context, path string, b Upload) (Stored, error) {
	found, err := c.hasBlob(ctx, path, b.Descriptor, writing)
	if err != nil || found {
		return Stored{Existed: found}, err
	}
	u := &sending{Upload: b, c: c, path: path}
	var near []string
	if b.Near != nil {
		near = b.Near()
	}
	for _, from := range near {
		if mounted, err := u.mount(ctx, from); err != nil || mounted {
			return Stored{Mounted: from}, err
		}
	}
	u.src = newContent(b)
	defer u.src.close()
	err = c.retry(ctx, func() (bool, error) {
		before := u.done
		err := u.send(ctx)
		return u.done-before >= enough, err
	})
	if err != nil {
		u.cancel(ctx)
	}
	return Stored{}, err
}

// sending is a blob on its way.
type sending struct {
	Upload
	c    *Client
	path string
	src  *content

	at     *url.URL // where the registry wants the next step; nil: not begun
	done   int64    // bytes that the registry has
	unsure bool     // the registry may have more, or less
	chunk  int64    // the most bytes in one request; 0 is no limit
	least  int64    // the fewest, but in the last one
}

// request is one that writes to the repository.
func (u *sending) request(method string, ok ...int) request {
	return request{method: method, path: u.path, what: "blobs/uploads/", actions: writing, at: u.at, ok: ok}
}

// mount asks for a blob of another repository. A registry that doesn't do that
// begins an upload, which is then gone on with.
func (u *sending) mount(ctx context.Context, from string) (bool, error) {
	if from == u.path || u.at != nil {
		return false, nil
	}
	r := u.request(http.MethodPost, 201, 202)
	r.query = url.Values{"mount": {u.Digest.String()}, "from": {from}}.Encode()
	r.from = from
	resp, err := u.c.do(ctx, r)
	var status *StatusError
	if errors.As(err, &status) && status.Status < 500 {
		return false, nil // it may not be read there; here it may still be written
	}
	if err != nil {
		return false, err
	}
	defer discard(resp)
	if resp.StatusCode == http.StatusCreated {
		return true, nil
	}
	return false, u.moved(resp)
}

// send does what is left to do, and returns at the first failure.
func (u *sending) send(ctx context.Context) error {
	if u.unsure {
		if err := u.ask(ctx); err != nil {
			return err
		}
	}
	if u.at == nil {
		if done, err := u.begin(ctx); err != nil || done {
			return err
		}
	}
	if u.done == 0 && u.Size <= atOnce && (u.chunk == 0 || u.Size <= u.chunk) {
		return u.finish(ctx, u.Size)
	}
	for u.done < u.Size {
		if err := u.patch(ctx); err != nil {
			return err
		}
	}
	return u.finish(ctx, 0)
}

// begin opens an upload. A small blob goes with the request: it is done when
// the registry takes it.
func (u *sending) begin(ctx context.Context) (done bool, err error) {
	u.done = 0
	r := u.request(http.MethodPost, 202)
	if u.Size <= single && !u.c.noSingle.Load() {
		r.ok = []int{201, 202, 400, 404, 405, 411, 413, 415}
		r.query = url.Values{"digest": {u.Digest.String()}}.Encode()
		u.body(&r, 0, u.Size)
	}
	resp, err := u.c.do(ctx, r)
	if err != nil {
		return false, err
	}
	defer discard(resp)
	switch {
	case resp.StatusCode == http.StatusCreated:
		return true, nil
	case resp.StatusCode != http.StatusAccepted:
		u.c.noSingle.Store(true)
		return u.begin(ctx)
	case r.body != nil:
		u.c.noSingle.Store(true)
	}
	var least int64
	if n, err := fmt.Sscan(resp.Header.Get("OCI-Chunk-Min-Length"), &least); n == 1 && err == nil && least > 0 {
		u.least = least
	}
	return false, u.moved(resp)
}

// moved takes the place of the next step from an answer. A registry behind a
// proxy may not know that it is reached by HTTPS.
func (u *sending) moved(resp *http.Response) error {
	at, err := resp.Location()
	if err != nil {
		return fmt.Errorf("registry %s: upload of %s: its answer has no good Location: %w", u.c.domain, u.Digest.Short(), err)
	}
	if from := resp.Request.URL; at.Scheme == "http" && from.Scheme == "https" && at.Host == from.Host {
		at.Scheme = "https"
	}
	at.User, at.Fragment = nil, ""
	u.at = at
	return nil
}

// patch sends the next piece; all that is left when there is no limit.
func (u *sending) patch(ctx context.Context) error {
	n := u.Size - u.done
	if most := max(u.chunk, u.least); u.chunk > 0 && n > most {
		n = most
	}
	r := u.request(http.MethodPatch, 202, 201, 204)
	u.body(&r, u.done, n)
	if u.done > 0 || n < u.Size {
		// Sent whole it is a stream, for which not every registry knows ranges.
		r.header.Set("Content-Range", fmt.Sprintf("%d-%d", u.done, u.done+n-1))
	}
	resp, err := u.c.do(ctx, r)
	if err != nil {
		return u.failed(err)
	}
	defer discard(resp)
	if err := u.moved(resp); err != nil {
		return err
	}
	had, ok := haveRange(resp)
	switch {
	case !ok:
		had = u.done + n
	case had > u.done+n || had <= u.done:
		return fmt.Errorf("registry %s: upload of %s: it says that it has %d bytes after %d were sent", u.c.domain, u.Digest.Short(), had, u.done+n)
	}
	u.done = had
	return nil
}

// body makes n bytes from an offset on the content of a request.
func (u *sending) body(r *request, from, n int64) {
	r.header = http.Header{"Content-Type": {"application/octet-stream"}}
	r.size, r.body = n, func() (io.ReadCloser, error) { return u.src.open(from, n) }
}

// finish ends the upload, with n bytes of content, which is all or nothing.
func (u *sending) finish(ctx context.Context, n int64) error {
	at := *u.at
	if at.RawQuery != "" {
		at.RawQuery += "&"
	}
	at.RawQuery += "digest=" + url.QueryEscape(u.Digest.String())
	r := u.request(http.MethodPut, 201, 204)
	r.at = &at
	if n > 0 {
		u.body(&r, 0, n)
	}
	resp, err := u.c.do(ctx, r)
	if err != nil {
		if n > 0 {
			u.at = nil // what arrived may be hashed already: anew
		}
		return u.failed(err)
	}
	discard(resp)
	if d, err := oci.Parse(resp.Header.Get("Docker-Content-Digest")); err == nil && d.Algorithm() == u.Digest.Algorithm() && d != u.Digest {
		return fmt.Errorf("registry %s stored %s as %s", u.c.domain, u.Digest, d)
	}
	return nil
}
