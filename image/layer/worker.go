package layer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	trees "loper.run/internal/tree"
	"loper.run/internal/userns"
)

const (
	unpackWorker = "layer-unpack"
	removeWorker = "layer-remove"
)

// Workers registers what is done with layers in processes of their own. Call it
// before userns.Main.
func Workers() {
	trees.Workers()
	userns.Register(unpackWorker, func(args []string) error {
		var j job
		if len(args) != 1 || json.Unmarshal([]byte(args[0]), &j) != nil {
			return errors.New("want a job")
		}
		return j.work()
	})
	userns.Register(removeWorker, func(args []string) error {
		if len(args) != 1 {
			return errors.New("want NAME")
		}
		return RemoveTree(os.NewFile(3, "directory"), args[0])
	})
}

// Source is a layer as it came.
type Source struct {
	// File has the bytes: a regular file, or a pipe, which is read to its end.
	// The worker reads it by itself, from the beginning.
	File *os.File
	// Limit is for a regular file that still grows. It returns how far the
	// file may be read, once that is more than off, or io.EOF when nothing
	// follows off; another error ends the unpacking. When unpacking ends
	// early, a call that is under way is not waited for. nil: the file is whole.
	Limit func(off int64) (int64, error)
	// MediaType tells the compression, as for Decompress.
	MediaType string
	// Algorithm is the hash that Result.DiffID is made by; 0: SHA-256.
	Algorithm oci.Algorithm
	// Progress, when set, is told how many bytes of File were used.
	Progress func(int64)
}

// UnpackFile decompresses a layer and builds it in dir, an empty directory, as
// Unpack does. All that looks at the foreign bytes runs in a worker process.
// Result.DiffID is the digest that the worker found for the uncompressed tar;
// the digest of the packed bytes is the caller's to check.
func UnpackFile(ctx context.Context, dir *os.File, src Source, o Options) (Result, error) {
	r, err := unpackFile(ctx, unpackWorker, dir, src, o)
	if err != nil {
		return r, fmt.Errorf("unpack layer: %w", err)
	}
	return r, nil
}

// patience is how long a worker may take to end after its report.
var patience = time.Minute

func unpackFile(ctx context.Context, worker string, dir *os.File, src Source, o Options) (Result, error) {
	if src.Algorithm == 0 {
		src.Algorithm = oci.SHA256
	}
	file, regular, err := reopen(src.File)
	if err != nil {
		return Result{}, err
	}
	defer file.Close()
	args, err := json.Marshal(job{Options: o, MediaType: src.MediaType, Algorithm: src.Algorithm.String(), Stream: !regular})
	if err != nil {
		return Result{}, err
	}
	in, feed, err := os.Pipe()
	if err != nil {
		return Result{}, err
	}
	defer in.Close()
	told, tell, err := os.Pipe()
	if err != nil {
		feed.Close()
		return Result{}, err
	}
	defer tell.Close()
	defer told.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := src.Limit
	if limit == nil {
		limit = whole(file)
	}
	go func() {
		defer feed.Close()
		if !regular {
			return
		}
		if err := allot(feed, limit); err != nil {
			cancel(err)
		}
	}()
	l := listener{most: o.Limits.or(), algorithm: src.Algorithm, progress: src.Progress}
	l.ending = func() {
		late := time.AfterFunc(patience, func() { cancel(fmt.Errorf("%w: the worker does not end", errNonsense)) })
		context.AfterFunc(ctx, func() { late.Stop() })
	}
	heard := make(chan error, 1)
	go func() {
		err := l.listen(told)
		if errors.Is(err, errNonsense) {
			cancel(err) // it goes on no longer
		}
		heard <- err
	}()
	w := userns.Worker{Name: worker, Args: []string{string(args)}, Stdin: in, Stdout: tell, Files: []*os.File{dir, file}, Confined: true}
	err = w.Run(ctx)
	tell.Close()
	if lerr := <-heard; err == nil {
		err = lerr
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return Result{}, err
	}
	if err := l.out.err(); err != nil || o.UserXattr {
		return l.out.Result, err
	}
	return l.out.Result, apply(dir, l.out.Special)
}

// reopen gives a regular file a description of its own that can only be read,
// so that the worker shares neither flags nor locks with anybody.
func reopen(f *os.File) (own *os.File, regular bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, false, &os.PathError{Op: "dup", Path: f.Name(), Err: err}
		}
		return os.NewFile(uintptr(fd), f.Name()), false, nil
	}
	fd, err := openat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_RDONLY, 0)
	if err != nil {
		return nil, true, &os.PathError{Op: "open", Path: f.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), f.Name()), true, nil
}

// Remove is RemoveTree for the owner of a tree of layers. Where an ordinary
// user's own rights end, since files belong to his other ids, it goes on inside
// the user namespace.
func Remove(dir *os.File, name string) error {
	err := RemoveTree(dir, name)
	if err == nil || !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) || !userns.Rootless() {
		return err
	}
	w := userns.Worker{Name: removeWorker, Args: []string{name}, Files: []*os.File{dir}}
	if werr := w.Run(context.Background()); werr != nil {
		return fmt.Errorf("%w (and in a user namespace: %w)", err, werr)
	}
	return nil
}
