package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"loper.run/image/oci"
)

var (
	errTooLarge  = errors.New("answer too large")
	errWrongSize = errors.New("wrong size")

	// ErrNoRanges is matched by errors of Range when the registry does not give
	// the part of a blob that it was asked for: it has to be asked for all.
	ErrNoRanges = errors.New("no ranges")
)

// Download writes the blob d from byte from on to w, resuming where a
// connection was cut. It returns the offset it came to, also with an error: all
// before that is in w. Only the size is checked here, the digest by whoever
// reads the content.
func (c *Client) Download(ctx context.Context, path string, d oci.Descriptor, from int64, w io.Writer) (int64, error) {
	t := transfer{c: c, path: path, d: d, at: from, to: d.Size, w: w, all: true}
	err := t.run(ctx)
	return t.at, err
}

// Range is Download for the bytes between from and to. The error is ErrNoRanges
// when the registry has no ranges to give, and w's own when w wants no more.
func (c *Client) Range(ctx context.Context, path string, d oci.Descriptor, from, to int64, w io.Writer) (int64, error) {
	t := transfer{c: c, path: path, d: d, at: from, to: to, w: w}
	err := t.run(ctx)
	return t.at, err
}

// transfer is some bytes of a blob on their way.
type transfer struct {
	c      *Client
	path   string
	d      oci.Descriptor
	at, to int64
	w      io.Writer
	// all says that without ranges the whole blob will do, whose beginning is
	// thrown away; whole, that this is known to be needed.
	all, whole bool
}

func (t *transfer) run(ctx context.Context) error {
	if t.at >= t.to {
		return nil
	}
	return t.c.retry(ctx, func() (bool, error) {
		begin := t.at
		err := t.once(ctx)
		if errors.Is(err, ErrNoRanges) && t.all && !t.whole {
			t.whole = true
			err = t.once(ctx)
		}
		return t.at-begin >= enough, err
	})
}

func (t *transfer) once(ctx context.Context) (err error) {
	r := request{path: t.path, what: "blobs/" + t.d.Digest.String()}
	if !t.whole {
		r.offset = t.at
		if t.to < t.d.Size {
			r.end = t.to
		}
	}
	resp, err := t.c.do(ctx, r)
	if errors.Is(err, ErrNotFound) && t.d.IsForeign() {
		resp, err = t.elsewhere(ctx, r, err)
	}
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusRequestedRangeNotSatisfiable {
		return fmt.Errorf("blob %s: %w: %w", t.d.Digest, ErrNoRanges, err)
	}
	if err != nil {
		return err
	}
	defer func() {
		resp.Body.Close()
		err = t.c.blame(resp, err)
	}()
	skip, err := t.begins(resp, r.offset > 0 || r.end > 0)
	if err != nil {
		return err
	}
	if n, err := io.CopyN(io.Discard, resp.Body, skip); err != nil {
		return cut(resp, n, err)
	}
	return t.copy(resp)
}

// begins returns how many bytes come before those that are wanted.
func (t *transfer) begins(resp *http.Response, asked bool) (skip int64, err error) {
	expect := t.to - t.at
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		var first, last, size int64
		said := resp.Header.Get("Content-Range")
		if n, _ := fmt.Sscanf(said, "bytes %d-%d/%d", &first, &last, &size); n < 2 || first != t.at || last != t.to-1 {
			return 0, fmt.Errorf("blob %s: %w: asked for the bytes from %d to %d, the registry gives %.60q", t.d.Digest, ErrNoRanges, t.at, t.to-1, said)
		} else if n == 3 && size != t.d.Size {
			return 0, fmt.Errorf("blob %s: %w: the registry has %d bytes, the manifest says %d", t.d.Digest, errWrongSize, size, t.d.Size)
		}
	case asked && !t.all:
		return 0, fmt.Errorf("blob %s: %w: the registry sends all of it", t.d.Digest, ErrNoRanges)
	default:
		skip, expect = t.at, t.d.Size
	}
	if n := resp.ContentLength; n >= 0 && n != expect {
		return 0, fmt.Errorf("blob %s: %w: the registry has %d bytes, the manifest says %d", t.d.Digest, errWrongSize, n+t.d.Size-expect, t.d.Size)
	}
	return skip, nil
}

// copy passes the body on up to the last byte that is wanted.
func (t *transfer) copy(resp *http.Response) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := readSome(resp.Body, buf)
		if int64(n) > t.to-t.at {
			return fmt.Errorf("blob %s: %w: the registry sends more than the %d bytes that the manifest says", t.d.Digest, errWrongSize, t.d.Size)
		}
		if n > 0 {
			written, err := t.w.Write(buf[:n])
			t.at += int64(written)
			if err != nil {
				return &localError{err}
			}
		}
		switch {
		case err == io.EOF && t.at < t.to:
			return cut(resp, t.at, io.ErrUnexpectedEOF)
		case err == io.EOF:
			return nil
		case err != nil:
			return cut(resp, t.at, err)
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
