package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/image/store"
)

// unpackVerified unpacks a packed layer into staging, from wherever it comes,
// and checks its digest and its diff id over every byte of in. A layer that is
// a file of its own is better left to unpackSource, which copies nothing.
func (s *Store) unpackVerified(ctx context.Context, in io.Reader, desc oci.Descriptor, diff oci.Digest, staging *store.Staging, o layer.Options) (layer.Result, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return layer.Result{}, err
	}
	defer r.Close()
	_, _ = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 1<<20) // or what there is
	return s.unpackSource(ctx, layer.Source{File: r}, &feeder{in: in, to: w}, desc, diff, staging, o)
}

// unpackSource is unpackVerified for a layer that a worker can read by itself.
// What looks into the bytes is that worker; here they are only hashed, from in,
// which has the same bytes. A src without a Limit is closed.
func (s *Store) unpackSource(ctx context.Context, src layer.Source, in io.Reader, desc oci.Descriptor, diff oci.Digest, staging *store.Staging, o layer.Options) (layer.Result, error) {
	src.MediaType, src.Algorithm = desc.MediaType, diff.Algorithm()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	packed := desc.Digest.Hash()
	hashed := make(chan error, 1)
	go func() {
		_, err := io.Copy(packed, in)
		if err != nil {
			cancel(err)
		}
		hashed <- err
	}()
	result, err := layer.UnpackFile(ctx, staging.Dir, src, o)
	if src.Limit == nil {
		src.File.Close() // or who feeds a pipe would wait for a reader
	}
	if err != nil && !isForeign(err) {
		return result, err
	}
	// Bad content is told by the digest rather than by whatever it broke.
	if hashErr := <-hashed; hashErr != nil {
		return result, hashErr
	}
	if err := desc.Digest.Verify(packed); err != nil {
		return result, err
	}
	if err != nil {
		return result, err
	}
	if result.DiffID != diff {
		return result, fmt.Errorf("unpacked, it is not the diff_id in the image's configuration: %w", &oci.MismatchError{Want: diff, Got: result.DiffID})
	}
	return result, nil
}

// feeder reads a stream whose bytes also go into a pipe, as long as somebody
// reads that.
type feeder struct {
	in io.Reader
	to *os.File // nil: closed
}

func (f *feeder) Read(b []byte) (int, error) {
	n, err := f.in.Read(b)
	if f.to == nil {
		return n, err
	}
	if _, werr := f.to.Write(b[:n]); werr != nil && !errors.Is(werr, unix.EPIPE) && err == nil {
		err = werr
	} else if werr != nil || err != nil {
		f.to.Close()
		f.to = nil
	}
	return n, err
}
