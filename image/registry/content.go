package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"time"

	"loper.run/image/oci"
	"loper.run/image/reference"
)

const (
	maxTries = 5
	// enough is the progress that makes a cut connection worth trying again
	// without counting it.
	enough = 256 << 10
)

var accepted = []string{oci.TypeIndex, oci.TypeManifest, oci.TypeDockerIndex, oci.TypeDockerManifest}

// Manifest fetches an index or manifest by ref's digest, or else its tag. The
// body has the returned digest, which is ref's own when that has one.
func (c *Client) Manifest(ctx context.Context, ref reference.Reference) (body []byte, mediaType string, digest oci.Digest, err error) {
	name := ref.Tag
	if !ref.Digest.IsZero() {
		name = ref.Digest.String()
	}
	err = c.retry(ctx, func() (bool, error) {
		resp, err := c.do(ctx, request{path: ref.Path, what: "manifests/" + name, accept: accepted})
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		mediaType = resp.Header.Get("Content-Type")
		body, err = readBounded(resp, oci.MaxManifest)
		return false, err
	})
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		status.Op, status.Detail = "image "+ref.Path+suffix(ref), ""
	} else if errors.As(err, &status) && status.Op != "" {
		status.Op = ref.Path
	}
	if err != nil {
		return nil, "", oci.Digest{}, err
	}
	digest = oci.FromBytes(body)
	if !ref.Digest.IsZero() {
		h := ref.Digest.Hash()
		h.Write(body)
		if err := ref.Digest.Verify(h); err != nil {
			return nil, "", oci.Digest{}, fmt.Errorf("manifest of %s: %w", ref.Familiar(), err)
		}
		digest = ref.Digest
	}
	return body, mediaType, digest, nil
}

// Digest asks what a tag stands for now, which costs less than the manifest and
// counts against no limit of pulls. A registry that doesn't tell gives the zero
// digest. The answer is only the registry's word.
func (c *Client) Digest(ctx context.Context, ref reference.Reference) (oci.Digest, error) {
	resp, err := c.do(ctx, request{method: http.MethodHead, path: ref.Path, what: "manifests/" + ref.Tag, accept: accepted})
	if err != nil {
		return oci.Digest{}, err
	}
	resp.Body.Close()
	d, err := oci.Parse(resp.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return oci.Digest{}, nil
	}
	return d, nil
}

func suffix(ref reference.Reference) string {
	return strings.TrimPrefix(ref.String(), ref.Name())
}

// Small fetches a blob of at most limit bytes, such as a configuration, and
// checks its size and digest.
func (c *Client) Small(ctx context.Context, path string, d oci.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("blob %s has %d bytes, more than %d", d.Digest, d.Size, limit)
	}
	var body []byte
	err := c.retry(ctx, func() (bool, error) {
		resp, err := c.do(ctx, request{path: path, what: "blobs/" + d.Digest.String()})
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		body, err = readBounded(resp, limit)
		return false, err
	})
	if err != nil {
		return nil, err
	}
	if int64(len(body)) != d.Size {
		return nil, fmt.Errorf("blob %s has %d bytes, its descriptor says %d", d.Digest, len(body), d.Size)
	}
	h := d.Digest.Hash()
	h.Write(body)
	if err := d.Digest.Verify(h); err != nil {
		return nil, err
	}
	return body, nil
}

func readBounded(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", errTooLarge, resp.ContentLength, limit)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, cut(resp, int64(len(body)), err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
	}
	return body, nil
}

var (
	errTooLarge  = errors.New("answer too large")
	errWrongSize = errors.New("wrong size")
)

// Download appends the blob d from byte from on to w, resuming where a
// connection was cut. It returns the offset it came to, also with an error: all
// before that is in w. Only the size is checked here, the digest by whoever
// reads the content.
func (c *Client) Download(ctx context.Context, path string, d oci.Descriptor, from int64, w io.Writer) (int64, error) {
	at := from
	if at == d.Size {
		return at, nil
	}
	err := c.retry(ctx, func() (bool, error) {
		begin := at
		var err error
		at, err = c.stream(ctx, path, d, at, w)
		return at-begin >= enough, err
	})
	return at, err
}

func (c *Client) stream(ctx context.Context, path string, d oci.Descriptor, at int64, w io.Writer) (int64, error) {
	resp, err := c.do(ctx, request{path: path, what: "blobs/" + d.Digest.String(), offset: at})
	if err != nil {
		return at, err
	}
	defer resp.Body.Close()
	skip := int64(0)
	if at > 0 {
		var first int64
		if resp.StatusCode != http.StatusPartialContent {
			skip = at // the server does not know ranges
		} else if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &first); err != nil || first != at {
			return at, fmt.Errorf("blob %s: asked for bytes from %d, got %.60q", d.Digest, at, resp.Header.Get("Content-Range"))
		}
	}
	if n := resp.ContentLength; n >= 0 && n != d.Size-at+skip {
		return at, fmt.Errorf("blob %s: %w: the registry has %d bytes, the manifest says %d", d.Digest, errWrongSize, n+at-skip, d.Size)
	}
	if n, err := io.CopyN(io.Discard, resp.Body, skip); err != nil {
		return at, cut(resp, n, err)
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := readSome(resp.Body, buf)
		if int64(n) > d.Size-at {
			return at, fmt.Errorf("blob %s: %w: the registry sends more than the %d bytes that the manifest says", d.Digest, errWrongSize, d.Size)
		}
		if n > 0 {
			written, err := w.Write(buf[:n])
			at += int64(written)
			if err != nil {
				return at, &localError{err}
			}
		}
		switch {
		case err == io.EOF && at < d.Size:
			return at, cut(resp, at, io.ErrUnexpectedEOF)
		case err == io.EOF:
			return at, nil
		case err != nil:
			return at, cut(resp, at, err)
		}
	}
}

// readSome gathers a few reads into one buffer without waiting for a full one:
// small reads would become small writes.
func readSome(r io.Reader, buf []byte) (int, error) {
	n, err := r.Read(buf)
	for err == nil && n < len(buf)/4 {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// cutError is a body that broke off. However it did, the rest may be had again.
type cutError struct {
	host string
	at   int64
	err  error
}

func cut(resp *http.Response, at int64, err error) error {
	return &cutError{resp.Request.URL.Host, at, err}
}

func (e *cutError) Error() string {
	return fmt.Sprintf("connection to %s broke off at byte %d: %v", e.host, e.at, e.err)
}
func (e *cutError) Unwrap() error { return e.err }

// localError is a failure on our side, which no retry helps.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// retry calls f until it works, fails for good, or has failed too often in a
// row; f reports whether it got on before it failed.
func (c *Client) retry(ctx context.Context, f func() (progress bool, err error)) error {
	pause := c.Backoff
	if pause == 0 {
		pause = 250 * time.Millisecond
	}
	first := pause
	for try := 1; ; try++ {
		progress, err := f()
		if err == nil {
			return nil
		}
		if progress {
			try, pause = 1, first
		}
		wait, ok := c.retryable(err)
		if !ok || try >= maxTries || ctx.Err() != nil {
			return tried(err, try)
		}
		// Jitter keeps many clients of one registry from coming back at once.
		wait = max(wait, pause/2+rand.N(pause/2+1))
		pause = min(2*pause, 10*time.Second)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func tried(err error, n int) error {
	if n < 2 {
		return err
	}
	return fmt.Errorf("%w (tried %d times)", err, n)
}

// retryable reports whether err may go away, and how long the registry asked to wait.
func (c *Client) retryable(err error) (time.Duration, bool) {
	var status *StatusError
	var local *localError
	var broken *cutError
	switch {
	case errors.As(err, &local), errors.Is(err, errTooLarge), errors.Is(err, errWrongSize), errors.Is(err, context.Canceled):
		return 0, false
	case errors.As(err, &status):
		if status.Retry > time.Minute {
			return 0, false
		}
		return status.Retry, status.Status == http.StatusTooManyRequests || status.Status == http.StatusRequestTimeout || status.Status >= 500 && status.Status != http.StatusNotImplemented
	case errors.As(err, &broken), errors.Is(err, errStalled), errors.Is(err, errUnwanted), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return 0, true
	case errors.Is(err, syscall.ECONNREFUSED):
		// One that never answered is down; one that did is restarting.
		c.mu.Lock()
		defer c.mu.Unlock()
		return 0, c.reached
	}
	return 0, isTimeout(err)
}
