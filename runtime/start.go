package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"loper.run/internal/flock"
	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The gate is a listening socket in the state directory. The created container
// waits in accept(2); who connects starts it, and reads on the connection what
// failed, or its end when the program was executed.
//
// Whether the container still waits is asked of the kernel: until its execve
// it holds a lock on a file beside the socket.

// makeGate makes the socket and the locked file.
func makeGate(dir string) (gate, waiting *os.File, err error) {
	if waiting, err = flock.TryExclusive(filepath.Join(dir, waitingFile)); err != nil {
		return nil, nil, err
	}
	if gate, err = listenGate(dir); err != nil {
		waiting.Close()
		return nil, nil, err
	}
	return gate, waiting, nil
}

// waits tells whether the container is created but not started.
func (c *Container) waits() bool {
	f, err := os.OpenFile(filepath.Join(c.dir, waitingFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(flock.Lock(f, unix.LOCK_SH|unix.LOCK_NB), flock.ErrHeld)
}

// started waits until the kernel, which is about to execute the program, has
// dropped the lock too.
func (c *Container) started() error {
	f, err := flock.Shared(filepath.Join(c.dir, waitingFile))
	if err != nil {
		return err
	}
	return f.Close()
}

func listenGate(dir string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), gateSocket)
	err = atSocket(filepath.Join(dir, gateSocket), func(addr *unix.SockaddrUnix) error {
		if err := unix.Bind(fd, addr); err != nil {
			return err
		}
		return unix.Listen(fd, 1)
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("listen for the start: %w", err)
	}
	return f, nil
}

// atSocket calls with the address of a socket, which goes through a descriptor
// of its directory: an address has room for 107 bytes only.
func atSocket(path string, call func(*unix.SockaddrUnix) error) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return call(&unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(int(d.Fd())) + "/" + filepath.Base(path)})
}

// rememberGate keeps the texts of the operations behind the gate for whoever
// starts the container.
func (c *Container) rememberGate(p *launch.Program) {
	for i, op := range p.Ops {
		if op.Call.Name == launch.ReportTo.Name {
			c.state.GateFirst = i
		}
		if c.state.GateFirst > 0 {
			c.state.Gate = append(c.state.Gate, operation{op.Call.Name, op.Text, op.Field})
		}
	}
}

// Start executes the program of a created container.
func (c *Container) Start() error {
	lock, err := c.locked()
	if err != nil {
		return err
	}
	defer lock.Close()
	if status := c.statusOfMade(); status != specs.StateCreated {
		return fmt.Errorf("container %q is %s: only a created container can be started", c.state.ID, status)
	}
	spec, err := c.Spec() // before the program runs: it may have hooks
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	conn := os.NewFile(uintptr(fd), gateSocket)
	defer conn.Close()
	if err := atSocket(filepath.Join(c.dir, gateSocket), func(addr *unix.SockaddrUnix) error { return unix.Connect(fd, addr) }); err != nil {
		return fmt.Errorf("start container %q: %w", c.state.ID, err)
	}
	err = launch.Follow(conn, func(i int) launch.Op {
		i -= c.state.GateFirst
		if i < 0 || i >= len(c.state.Gate) {
			return launch.Op{Text: "start the program"}
		}
		o := c.state.Gate[i]
		return launch.Op{Call: launch.Call{Name: o.Call}, Text: o.Text, Field: o.Field}
	})
	if err == nil {
		err = c.started()
	}
	switch {
	case hookFailed(err):
		return c.fail(err)
	case err != nil:
		c.dies() // it is about to: who asks next sees it stopped
		return execError(err, spec.Process)
	}
	if err := c.poststart(spec); err != nil {
		return c.fail(err)
	}
	return nil
}

// hookFailed tells whether a hook at the start of the program did.
func hookFailed(err error) bool {
	var failed *launch.Error
	return errors.As(err, &failed) && strings.HasPrefix(failed.Op.Field, "hooks.")
}

// fail destroys a container because of a hook that failed at its start
// (runtime.md, "Lifecycle").
func (c *Container) fail(cause error) error {
	err := c.end()
	if err == nil {
		err = c.destroy(true)
	}
	if err != nil {
		return fmt.Errorf("%w (and the container could not be removed: %v)", cause, err)
	}
	return cause
}

// ExecError is a program that can't be executed.
type ExecError struct {
	Path  string // as the configuration names it
	Errno syscall.Errno
	err   error
}

// Error says it in docker's words where there are any.
func (e *ExecError) Error() string {
	switch {
	case e.Errno == unix.ENOENT && filepath.Base(e.Path) == e.Path:
		return fmt.Sprintf("exec: %q: executable file not found in $PATH", e.Path)
	case e.Errno == unix.ENOENT, e.Errno == unix.ENOTDIR:
		return fmt.Sprintf("exec: %q: no such file or directory (or its interpreter is missing)", e.Path)
	case e.Errno == unix.EACCES:
		return fmt.Sprintf("exec: %q: permission denied (is it an executable file?)", e.Path)
	}
	return fmt.Sprintf("exec: %q: %v", e.Path, e.Errno)
}

// Unwrap returns the failed operation.
func (e *ExecError) Unwrap() error { return e.err }

// execError makes an ExecError of a failure to find or execute the program.
func execError(err error, p *specs.Process) error {
	var failed *launch.Error
	if errors.As(err, &failed) && p != nil && !hookFailed(err) && (failed.Op.Call.Name == launch.Execve.Name || failed.Op.Call.Name == launch.Faccessat2.Name) {
		return &ExecError{Path: p.Args[0], Errno: failed.Errno, err: err}
	}
	return err
}

// ExitCode is the exit status for an error, as docker has it: 127 for a
// program that isn't there, 126 for one that can't be executed, else 125.
func ExitCode(err error) int {
	var e *ExecError
	if !errors.As(err, &e) {
		return 125
	}
	if e.Errno == unix.ENOENT || e.Errno == unix.ENOTDIR {
		return 127
	}
	return 126
}
