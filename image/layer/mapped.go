package layer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"loper.run/internal/userns"
)

const (
	unpackWorker = "layer-unpack"
	removeWorker = "layer-remove"
)

// Workers registers what an ordinary user's layers need done inside the user
// namespace. Call it before userns.Main.
func Workers() {
	userns.Register(unpackWorker, func(args []string) error {
		var o Options
		if len(args) != 1 || json.Unmarshal([]byte(args[0]), &o) != nil {
			return errors.New("want OPTIONS")
		}
		r, err := Unpack(context.Background(), os.NewFile(3, "layer"), os.Stdin, o)
		return json.NewEncoder(os.Stdout).Encode(report(r, err))
	})
	userns.Register(removeWorker, func(args []string) error {
		if len(args) != 1 {
			return errors.New("want NAME")
		}
		return RemoveTree(os.NewFile(3, "directory"), args[0])
	})
}

// outcome is what the worker tells on its standard output.
type outcome struct {
	Result Result        `json:"result"`
	Error  string        `json:"error,omitempty"`
	Errno  syscall.Errno `json:"errno,omitempty"`
	Cut    bool          `json:"cut,omitempty"`
}

func report(r Result, err error) outcome {
	o := outcome{Result: r}
	if err != nil {
		o.Error, o.Cut = err.Error(), errors.Is(err, io.ErrUnexpectedEOF)
		errors.As(err, &o.Errno)
	}
	return o
}

// err is the worker's error, with what callers ask it for.
func (o outcome) err() error {
	if o.Error == "" {
		return nil
	}
	e := &workerError{text: o.Error}
	if o.Errno != 0 {
		e.cause = o.Errno
	} else if o.Cut {
		e.cause = io.ErrUnexpectedEOF
	}
	return e
}

type workerError struct {
	text  string
	cause error
}

func (e *workerError) Error() string { return e.text }
func (e *workerError) Unwrap() error { return e.cause }

// UnpackMapped is Unpack for an ordinary user: it runs in a child inside the
// user namespace of the caller's ids, so that files get their owners. With only
// one id there is nothing to gain, and no child.
func UnpackMapped(ctx context.Context, dir *os.File, tar io.Reader, o Options) (Result, error) {
	if o.SingleID {
		return Unpack(ctx, dir, tar, o)
	}
	options, err := json.Marshal(o)
	if err != nil {
		return Result{}, err
	}
	in, feed, err := os.Pipe()
	if err != nil {
		return Result{}, fmt.Errorf("unpack layer: %w", err)
	}
	defer in.Close()
	defer feed.Close()
	unix.FcntlInt(feed.Fd(), unix.F_SETPIPE_SZ, 1<<20) // or what there is
	told, tell, err := os.Pipe()
	if err != nil {
		return Result{}, fmt.Errorf("unpack layer: %w", err)
	}
	defer told.Close()
	defer tell.Close()

	// Hiding the pipe's ReadFrom leaves the size of the copies to us.
	fed := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{feed}, struct{ io.Reader }{&stopper{ctx, tar}}, make([]byte, 512<<10))
		feed.Close()
		fed <- err
	}()
	w := userns.Worker{Name: unpackWorker, Args: []string{string(options)}, Stdin: in, Stdout: tell, Files: []*os.File{dir}}
	runErr := w.Run(ctx)
	in.Close() // with its last reader gone, a copy that still goes on ends
	tell.Close()
	copyErr := <-fed
	if copyErr != nil && !errors.Is(copyErr, unix.EPIPE) {
		return Result{}, fmt.Errorf("unpack layer: %w", copyErr) // the worker only saw the stream end
	}
	if runErr != nil {
		return Result{}, fmt.Errorf("unpack layer in a user namespace: %w", runErr)
	}
	var out outcome
	if err := json.NewDecoder(told).Decode(&out); err != nil {
		return Result{}, fmt.Errorf("unpack layer in a user namespace: the worker's report: %w", err)
	}
	return out.Result, out.err()
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
