package image

import (
	"context"
	"fmt"
	"io"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/image/store"
)

// unpackSource unpacks a packed layer into staging and checks its digest and its
// diff id over every byte. What looks into the bytes is a worker; here they are
// only hashed, from in, which has the same bytes.
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
