package image

import (
	"context"
	"fmt"
	"hash"
	"io"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/image/store"
)

// unpackVerified unpacks a packed layer into staging, from wherever it comes,
// and checks its digest and its diff id over every byte of in.
func (s *Store) unpackVerified(ctx context.Context, in io.Reader, desc oci.Descriptor, diff oci.Digest, staging *store.Staging, o layer.Options) (layer.Result, error) {
	packed, plain := desc.Digest.Hash(), diff.Hash()
	in = io.TeeReader(in, packed)
	result, err := s.extract(ctx, in, desc.MediaType, plain, staging, o)
	if err != nil && !isForeign(err) {
		return result, err
	}
	// Bad content is told by the digest rather than by whatever it broke; what
	// follows the stream counts too.
	if _, drainErr := io.Copy(io.Discard, in); drainErr != nil {
		return result, drainErr
	}
	if err := desc.Digest.Verify(packed); err != nil {
		return result, err
	}
	if err != nil {
		return result, err
	}
	if err := diff.Verify(plain); err != nil {
		return result, fmt.Errorf("unpacked, it is not the diff_id in the image's configuration: %w", err)
	}
	return result, nil
}

func (s *Store) extract(ctx context.Context, in io.Reader, mediaType string, plain hash.Hash, staging *store.Staging, o layer.Options) (layer.Result, error) {
	tar, err := layer.Decompress(in, mediaType)
	if err != nil {
		return layer.Result{}, err
	}
	defer tar.Close()
	unpack := layer.Unpack
	if s.mapped {
		unpack = layer.UnpackMapped
	}
	return unpack(ctx, staging.Dir, io.TeeReader(tar, plain), o)
}
