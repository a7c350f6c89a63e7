package container

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/attach"
	"loper.run/internal/fdpass"
	"loper.run/runtime"
)

// execTerminal runs a process with a terminal of its own, which is shown on
// the caller's streams.
func execTerminal(ctx context.Context, rc *runtime.Container, o runtime.ExecOptions, s ExecSettings) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 125, fmt.Errorf("console socket: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "console"), os.NewFile(uintptr(pair[1]), "console")
	defer ours.Close()
	o.ConsoleSocket = theirs
	p, err := rc.Exec(o)
	theirs.Close()
	if err != nil {
		return runtime.ExitCode(err), err
	}
	master, err := receiveMaster(ours)
	if err != nil {
		return 125, err
	}
	defer master.Close()
	restore, err := connectTerminal(master, s)
	if err != nil {
		return 125, err
	}
	defer restore()
	var output sync.WaitGroup
	output.Go(func() { copyOutput(s.Stdout, master) })
	if s.OpenStdin && s.Stdin != nil {
		go io.Copy(master, s.Stdin)
	}
	code, err := waitExec(ctx, p)
	if ctx.Err() == nil {
		// What the process wrote last is still in the terminal. A process that
		// it left in the background may hold that open: the exit ends the wait.
		master.SetReadDeadline(time.Now().Add(drainTime))
		output.Wait()
	}
	return code, err
}

// drainTime is how long the rest of the output is waited for.
const drainTime = 200 * time.Millisecond

// receiveMaster takes the terminal's descriptor from the console socket.
func receiveMaster(sock *os.File) (*os.File, error) {
	fd, err := fdpass.Receive(int(sock.Fd()))
	if err != nil {
		return nil, fmt.Errorf("receive the terminal: %w", err)
	}
	// Through the poller, so that closing it ends a read.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// connectTerminal makes the caller's terminal raw and keeps the sizes of both
// the same until restore.
func connectTerminal(master *os.File, s ExecSettings) (restore func(), err error) {
	user := s.Stdin
	if !s.OpenStdin {
		user = s.Stdout
	}
	rows, cols, ok := attach.Size(user)
	if !ok {
		return func() {}, nil
	}
	resize := func(rows, cols uint16) {
		raw, err := master.SyscallConn()
		if err == nil {
			raw.Control(func(fd uintptr) {
				unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
			})
		}
	}
	resize(rows, cols)
	var raw *attach.Terminal
	if s.OpenStdin {
		if raw, err = attach.MakeRaw(user); err != nil {
			return nil, err
		}
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-changed:
				if rows, cols, ok := attach.Size(user); ok {
					resize(rows, cols)
				}
			case <-stop:
				return
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		close(stop)
		raw.Restore()
	}, nil
}

// copyOutput shows the terminal until its other side is closed, which reads as EIO.
func copyOutput(out *os.File, master *os.File) {
	if out == nil {
		io.Copy(io.Discard, master)
		return
	}
	io.Copy(out, master)
}
