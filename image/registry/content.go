package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
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
		if body, err = readBounded(resp, oci.MaxManifest); err == nil {
			digest, err = verify(resp, body, ref.Digest)
		}
		return false, c.blame(resp, err)
	})
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		status.Op, status.Detail = "image "+ref.Path+suffix(ref), ""
	} else if errors.As(err, &status) && status.Op != "" {
		status.Op = ref.Path
	}
	var mismatch *oci.MismatchError
	if errors.As(err, &mismatch) {
		err = fmt.Errorf("manifest of %s: %w", ref.Familiar(), err)
	}
	if err != nil {
		return nil, "", oci.Digest{}, err
	}
	return body, mediaType, digest, nil
}

// verify checks a manifest against the digest that was asked for, or else the
// one that the registry says it has, and returns it.
func verify(resp *http.Response, body []byte, want oci.Digest) (oci.Digest, error) {
	d := want
	if d.IsZero() {
		var err error
		if d, err = oci.Parse(resp.Header.Get("Docker-Content-Digest")); err != nil {
			return oci.FromBytes(body), nil // it need not say (distribution-spec, pulling manifests)
		}
	}
	h := d.Hash()
	h.Write(body)
	return d, d.Verify(h)
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
		if body, err = readBounded(resp, limit); err == nil {
			err = verifyBlob(body, d)
		}
		return false, c.blame(resp, err)
	})
	return body, err
}

func verifyBlob(body []byte, d oci.Descriptor) error {
	if int64(len(body)) != d.Size {
		return fmt.Errorf("blob %s: %w: %d bytes, its descriptor says %d", d.Digest, errWrongSize, len(body), d.Size)
	}
	h := d.Digest.Hash()
	h.Write(body)
	return d.Digest.Verify(h)
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
	first, tries := pause, c.Tries
	if tries == 0 {
		tries = maxTries
	}
	for try := 1; ; try++ {
		progress, err := f()
		if err == nil {
			return nil
		}
		if progress {
			try, pause = 1, first
		}
		wait, ok := retryable(err)
		if !ok || try >= tries || ctx.Err() != nil {
			return tried(err, try)
		}
		// Jitter keeps many clients of one registry from coming back at once.
		wait = max(wait, pause/2+rand.N(pause/2+1))
		pause = min(2*pause, max(first, 10*time.Second))
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
func retryable(err error) (time.Duration, bool) {
	var several *sourcesError
	var status *StatusError
	var local *localError
	var broken *cutError
	var refused *wrapped
	var lied *blamed
	var again *againError
	switch {
	case errors.As(err, &local), errors.Is(err, context.Canceled):
		return 0, false
	case errors.As(err, &lied), errors.As(err, &again):
		return 0, true
	case errors.As(err, &several):
		return several.retryable()
	case errors.Is(err, errTooLarge), errors.Is(err, errWrongSize):
		return 0, false
	case errors.As(err, &status):
		if status.Retry > time.Minute {
			return 0, false
		}
		return status.Retry, status.Status == http.StatusTooManyRequests || status.Status == http.StatusRequestTimeout || status.Status >= 500 && status.Status != http.StatusNotImplemented
	case errors.As(err, &broken), errors.Is(err, errStalled), errors.Is(err, errUnwanted), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return 0, true
	case errors.As(err, &refused) && refused.again:
		return 0, true
	}
	return 0, isTimeout(err)
}
