package layer

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// unpacker is one layer being unpacked.
type unpacker struct {
	ctx     context.Context
	in      io.Reader
	tr      *tar.Reader
	o       Options
	res     Result
	dirs    dirs
	umask   uint32
	buf     []byte
	pending map[string]*pending
	// remembered is about how many bytes pending and skipped take.
	remembered int
	// skipped are the device nodes left out, which hard links may name.
	skipped map[string]struct{}
	// alone says that this is a worker, whose root directory is the layer's.
	alone bool
	// special, when set, gets what the worker's caller is to make.
	special *specials

	ownUID, ownGID int
	ownKnown       bool
}

func newUnpacker(ctx context.Context, dir *os.File, in io.Reader, o Options) (*unpacker, error) {
	o.Limits = o.Limits.or()
	// An own descriptor: dir may have been opened in a way that allows less.
	root, err := openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir.Name(), Err: err}
	}
	// Its group must not pass on to what is made below.
	if err := unix.Fchmod(root, 0o700); err != nil {
		unix.Close(root)
		return nil, &os.PathError{Op: "chmod", Path: dir.Name(), Err: err}
	}
	_, buffered := in.(*ahead)
	in = &stopper{ctx, in}
	if !buffered {
		in = bufio.NewReaderSize(in, 128<<10)
	}
	return &unpacker{
		ctx: ctx, in: in, tr: tar.NewReader(in), o: o,
		dirs:    dirs{root: root, open: make(map[string]*openDir, maxOpen+1)},
		umask:   umask(),
		buf:     make([]byte, 256<<10),
		pending: map[string]*pending{},
		skipped: map[string]struct{}{},
	}, nil
}

func (u *unpacker) close() {
	u.dirs.forget()
	unix.Close(u.dirs.root)
}

func (u *unpacker) run() error {
	for {
		h, err := u.tr.Next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, tar.ErrInsecurePath) {
			err = nil // names are judged here, whatever GODEBUG says
		}
		if err != nil {
			return u.readError(err)
		}
		if u.res.Entries++; u.res.Entries > u.o.Limits.Entries {
			return fmt.Errorf("more than %d entries", u.o.Limits.Entries)
		}
		if err := u.entry(h); err != nil {
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return fmt.Errorf("entry %s: %w", quote(h.Name), err)
		}
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(u.in, maxTrailer+1)); err != nil {
		return u.readError(err)
	} else if n > maxTrailer {
		return fmt.Errorf("more than %d bytes after the end of the archive", int64(maxTrailer))
	}
	if u.pending["."] == nil {
		if err := unix.Fchmod(u.dirs.root, 0o755); err != nil {
			return fmt.Errorf("set mode of the root directory: %w", err)
		}
	}
	return u.finish()
}

// readError tells where a stream ended or broke.
func (u *unpacker) readError(err error) error {
	if err == io.ErrUnexpectedEOF {
		return fmt.Errorf("the archive is cut off after %d entries: %w", u.res.Entries, err)
	}
	if errors.Is(err, tar.ErrHeader) {
		return fmt.Errorf("the archive is damaged after %d entries: %w", u.res.Entries, err)
	}
	return err
}

// remember counts what has to be kept until the end.
func (u *unpacker) remember(n int) error {
	if u.remembered += n; u.remembered > maxPending {
		return fmt.Errorf("the layer's directories take more than %d bytes of memory", maxPending)
	}
	return nil
}

// stopper ends a stream when its context does.
type stopper struct {
	ctx context.Context
	r   io.Reader
}

func (s *stopper) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}
