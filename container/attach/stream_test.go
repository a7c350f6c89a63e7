package attach

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"loper.run/container/attach/packet"
)

// pair is a client and the monitor's end of its connection, blocking.
func pair(t *testing.T) (*Client, int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptTimeval(p[1], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	c := &Client{sock: os.NewFile(uintptr(p[0]), "socket"), fd: p[0]}
	t.Cleanup(func() { c.Close(); unix.Close(p[1]) })
	return c, p[1]
}

// background streams until the test's end: the client's descriptor must not be
// another test's by then.
func background(t *testing.T, c *Client, s Streams) {
	done := make(chan struct{})
	go func() {
		c.Stream(s)
		close(done)
	}()
	t.Cleanup(func() { <-done })
}

// next is the next packet a client sent.
func next(t *testing.T, fd int) string {
	t.Helper()
	buf := make([]byte, packet.MaxSize+1)
	n, err := unix.Read(fd, buf)
	for err == unix.EINTR {
		n, err = unix.Read(fd, buf)
	}
	if err != nil {
		t.Fatalf("packet of the client: %v", err)
	}
	return string(buf[:n])
}

func expect(t *testing.T, fd int, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := next(t, fd); got != w {
			t.Fatalf("client sent %.20q, want %q", got, w)
		}
	}
}

func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pty: %v", err)
	}
	unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

func raw(t *testing.T, f *os.File) bool {
	t.Helper()
	a, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return a.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0
}

var hello = string([]byte{packet.Stdin})

func size(rows, cols uint16) string { return string(packet.AppendResize(nil, rows, cols)) }

// The terminal is as before, however the stream ends.
func TestTerminalRestored(t *testing.T) {
	for name, c := range map[string]struct {
		finish func(t *testing.T, master *os.File, monitor int)
		check  func(Exit, error) bool
	}{
		"exit": {
			func(t *testing.T, _ *os.File, fd int) { unix.Send(fd, packet.AppendExit(nil, 42), 0) },
			func(e Exit, err error) bool { return e.Code == 42 && err == nil },
		},
		"detach": {
			func(t *testing.T, master *os.File, fd int) { master.WriteString("x\x10\x11"); expect(t, fd, "ix") },
			func(_ Exit, err error) bool { return err == ErrDetached },
		},
		"gone": {
			func(t *testing.T, _ *os.File, fd int) { unix.Shutdown(fd, unix.SHUT_RDWR) },
			func(_ Exit, err error) bool { return err == ErrGone },
		},
		"signal": {
			func(t *testing.T, _ *os.File, fd int) { syscall.Kill(os.Getpid(), syscall.SIGTERM) },
			func(_ Exit, err error) bool { return err == SignalError{Signal: syscall.SIGTERM} },
		},
		"output": {
			func(t *testing.T, _ *os.File, fd int) { unix.Send(fd, []byte("Ebad"), 0) },
			func(_ Exit, err error) bool { return errors.Is(err, syscall.ENOSPC) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			master, slave := pty(t)
			full, _ := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			defer full.Close()
			before, _ := term.GetState(int(slave.Fd()))
			client, fd := pair(t)
			type result struct {
				Exit
				error
			}
			done := make(chan result, 1)
			go func() {
				e, err := client.Stream(Streams{In: slave, Out: slave, Err: full, TTY: true, DetachKeys: []byte("\x10\x11")})
				done <- result{e, err}
			}()
			expect(t, fd, hello, size(24, 80))
			for end := time.Now().Add(5 * time.Second); !raw(t, slave); {
				if time.Now().After(end) {
					t.Fatal("no raw mode")
				}
			}
			c.finish(t, master, fd)
			select {
			case r := <-done:
				if !c.check(r.Exit, r.error) {
					t.Errorf("result %+v", r)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("the stream goes on")
			}
			after, _ := term.GetState(int(slave.Fd()))
			if *before != *after {
				t.Errorf("terminal is %+v, was %+v", after, before)
			}
		})
	}
}

func TestWindow(t *testing.T) {
	master, slave := pty(t)
	c, fd := pair(t)
	background(t, c, Streams{In: slave, TTY: true})
	expect(t, fd, hello, size(24, 80))
	unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 132})
	syscall.Kill(os.Getpid(), syscall.SIGWINCH)
	expect(t, fd, size(50, 132))
	syscall.Kill(os.Getpid(), syscall.SIGCONT)
	expect(t, fd, size(50, 132))
	unix.Send(fd, packet.AppendExit(nil, 0), 0)
}

// Keys that may begin the sequence are passed on with the next one, and at the
// end of the input.
func TestInput(t *testing.T) {
	c, fd := pair(t)
	r, w, _ := os.Pipe()
	defer r.Close()
	background(t, c, Streams{In: r, DetachKeys: []byte("ab")})
	expect(t, fd, hello)
	w.WriteString("xa")
	expect(t, fd, "ix")
	w.WriteString("c")
	expect(t, fd, "iac")
	w.WriteString("a")
	time.Sleep(20 * time.Millisecond)
	w.Close()
	expect(t, fd, "ia", "e")
	unix.Send(fd, packet.AppendExit(nil, 0), 0)
}

// Output goes on while the container takes no input, and none is lost.
func TestBothWays(t *testing.T) {
	c, fd := pair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() {
		e, err := c.Stream(Streams{In: bytes.NewReader(want), Out: &out})
		if e.Code != -1 {
			t.Errorf("exit %+v", e)
		}
		done <- err
	}()
	expect(t, fd, hello)
	time.Sleep(50 * time.Millisecond) // the client fills the socket
	for range 100 {
		if err := unix.Send(fd, append([]byte{packet.Stdout}, strings.Repeat("x", packet.MaxData)...), 0); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	for {
		p := next(t, fd)
		if p == "e" {
			break
		}
		got = append(got, p[1:]...)
	}
	unix.Send(fd, packet.AppendExit(nil, -1), 0)
	if err := <-done; err != nil || out.Len() != 100*packet.MaxData {
		t.Errorf("%v, output of %d bytes", err, out.Len())
	}
	if !bytes.Equal(got, want) {
		t.Errorf("input of %d bytes, want %d", len(got), len(want))
	}
}

// After the stream its input is read no further: it may be the shell's.
func TestNothingStolen(t *testing.T) {
	master, slave := pty(t)
	c, fd := pair(t)
	unix.Send(fd, packet.AppendExit(nil, 0), 0)
	if _, err := c.Stream(Streams{In: slave, TTY: true}); err != nil {
		t.Fatal(err)
	}
	master.WriteString("next command\n")
	line := make([]byte, 100)
	n, err := slave.Read(line)
	if err != nil || string(line[:n]) != "next command\n" {
		t.Errorf("read %q, %v", line[:n], err)
	}
}

// Any packets of a monitor, of this version or not, end in a result.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("ohello"), []byte("x\x01\x00\x00\x00"))
	f.Add([]byte("Eoops"), []byte("x"))
	f.Add([]byte("?"), []byte("o"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Skip(err)
		}
		for _, data := range [][]byte{a, b} {
			if len(data) > 0 && len(data) < packet.MaxSize {
				unix.Send(p[1], data, 0)
			}
		}
		unix.Close(p[1])
		c := &Client{sock: os.NewFile(uintptr(p[0]), "socket"), fd: p[0]}
		defer c.Close()
		c.Stream(Streams{Out: io.Discard, Err: io.Discard})
	})
}
