package layer

import (
	"context"
	"io"
	"os"
)

// UnpackMapped is Unpack for an ordinary user.
func UnpackMapped(ctx context.Context, dir *os.File, tar io.Reader, o Options) (Result, error) {
	o.SingleID = true
	return Unpack(ctx, dir, tar, o)
}
