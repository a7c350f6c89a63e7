package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"loper.run/internal/fdpass"
)

// terminal passes bytes between lope's own terminal and the container's, when
// lope runs in the foreground.
type terminal struct {
	receive *os.File // where the master arrives
	send    *os.File
	master  *os.File
	restore func()
	signals chan os.Signal
	caught  chan struct{} // closed when signals come in
}

// foregroundTerminal prepares a terminal unless the process has none or the
// caller gave a console socket.
func foregroundTerminal(p *specs.Process, console **os.File) (*terminal, error) {
	t := &terminal{restore: func() {}}
	if p == nil || !p.Terminal || *console != nil {
		return t, nil
	}
	if p.ConsoleSize == nil {
		if w, h, err := term.GetSize(int(os.Stdin.Fd())); err == nil {
			p.ConsoleSize = &specs.Box{Width: uint(w), Height: uint(h)}
		}
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	t.receive, t.send = os.NewFile(uintptr(pair[0]), "console"), os.NewFile(uintptr(pair[1]), "console")
	*console = t.send
	return t, nil
}

func (t *terminal) close() {
	t.restore()
	if t.master != nil {
		t.master.Close()
	}
	if t.receive != nil {
		t.receive.Close()
		t.send.Close()
	}
}

// forwarded are the signals that people and supervisors send. Each one more
// costs the Go runtime a dozen futex calls.
var forwarded = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT, unix.SIGWINCH,
}

// laterForwarded are the others that can be meant for a program; realtime
// signals come from 35 on, since Go knows none below. They are caught once the
// program has run for a while.
func laterForwarded() []os.Signal {
	all := []os.Signal{unix.SIGSTKFLT, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGIO, unix.SIGPWR}
	for n := syscall.Signal(35); n <= 64; n++ {
		all = append(all, n)
	}
	return all
}

// lateAfter is when a program is not one of those that end at once.
const lateAfter = 100 * time.Millisecond

// listen begins to collect the signals to forward, beside what else there is to
// do before the process is made.
func (t *terminal) listen() {
	t.signals, t.caught = make(chan os.Signal, 64), make(chan struct{})
	go func() {
		signal.Notify(t.signals, forwarded...)
		close(t.caught)
	}()
}

// listening waits until a signal neither ends lope nor gets lost. It comes
// before the process, which somebody may signal at once.
func (t *terminal) listening() {
	if t.caught != nil {
		<-t.caught
	}
}

// follow forwards signals to a process, and its terminal when it has one,
// until wait returns.
func (t *terminal) follow(kill func(syscall.Signal) error, wait func() (syscall.WaitStatus, error)) (syscall.WaitStatus, error) {
	master := t.master
	time.AfterFunc(lateAfter, func() { signal.Notify(t.signals, laterForwarded()...) })
	go func() {
		for s := range t.signals {
			forward(s.(syscall.Signal), kill, master)
		}
	}()
	if master == nil {
		return wait()
	}
	go io.Copy(master, os.Stdin)
	drained := make(chan struct{})
	go func() {
		io.Copy(os.Stdout, master) // ends with EIO when the last holder closed the terminal
		close(drained)
	}()
	status, err := wait()
	<-drained
	return status, err
}

func forward(s syscall.Signal, kill func(syscall.Signal) error, master *os.File) {
	switch {
	case s == unix.SIGWINCH && master != nil:
		if size, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ); err == nil {
			_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size) // a terminal that is gone has no size
		}
	default:
		_ = kill(s) // one that has ended needs no signal
	}
}

// take receives the terminal before the program has it.
func (t *terminal) take() (err error) {
	if t.master, err = receiveMaster(t.receive); err != nil {
		return err
	}
	if err := keepNewlines(t.master); err != nil {
		return err
	}
	return t.raw()
}

// raw hands lope's own terminal over: the container's does the line editing.
func (t *terminal) raw() error {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return err
	}
	t.restore = func() { _ = term.Restore(fd, old) }
	// Lope's own terminal goes on making the carriage returns.
	attr, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return os.NewSyscallError("tcgetattr", err)
	}
	attr.Oflag |= unix.OPOST
	return os.NewSyscallError("tcsetattr", unix.IoctlSetTermios(fd, unix.TCSETS, attr))
}

// keepNewlines has the container's terminal print newlines as they are, as
// other runtimes do: output that goes to a file is not to change.
func keepNewlines(master *os.File) error {
	attr, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
	if err != nil {
		return os.NewSyscallError("tcgetattr", err)
	}
	attr.Oflag &^= unix.ONLCR
	return os.NewSyscallError("tcsetattr", unix.IoctlSetTermios(int(master.Fd()), unix.TCSETS, attr))
}

// receiveMaster takes the terminal from the console socket.
func receiveMaster(from *os.File) (*os.File, error) {
	fd, err := fdpass.Receive(int(from.Fd()))
	if err != nil {
		return nil, fmt.Errorf("receive the container's terminal: %w", err)
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// exitOf turns a wait status into lope's exit status.
func exitOf(s syscall.WaitStatus) error {
	switch {
	case s.Signaled():
		return exitCode(128 + int(s.Signal()))
	case s.ExitStatus() != 0:
		return exitCode(s.ExitStatus())
	}
	return nil
}
