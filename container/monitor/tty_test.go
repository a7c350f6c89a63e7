package monitor

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/attach"
)

// screen is what a program has written to a terminal.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func (s *screen) await(t *testing.T, want string) {
	t.Helper()
	eventually(t, want, func() bool { return strings.Contains(s.String(), want) })
}

// user is a person at a real terminal.
type user struct {
	*os.File // what the person types and sees
	tty      *os.File
	screen   screen
}

func newUser(t *testing.T, rows, cols uint16) *user {
	t.Helper()
	master, slave, err := openPty()
	if err != nil {
		t.Skipf("needs a pty: %v", err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	u := &user{File: master, tty: slave}
	unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	go io.Copy(&u.screen, master)
	return u
}

// resize gives the terminal a new size, of which this process is told as a
// terminal emulator's child would be.
func (u *user) resize(rows, cols uint16) {
	unix.IoctlSetWinsize(int(u.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	syscall.Kill(os.Getpid(), syscall.SIGWINCH)
}

// attach runs a Stream of the user's terminal and returns its result.
func (u *user) attach(c *attach.Client, keys string) chan error {
	k, _ := attach.ParseKeys(keys)
	done := make(chan error, 1)
	go func() {
		exit, err := c.Stream(attach.Streams{In: u.tty, Out: u.tty, TTY: true, DetachKeys: k})
		if err == nil && exit.Code != 0 {
			err = os.ErrInvalid
		}
		done <- err
	}()
	return done
}

func TestTerminal(t *testing.T) {
	b := newBox(t, `trap 'echo size $(stty size)' WINCH; echo ready; while ! read x; do :; done; echo "read $x"; while ! read x; do :; done; echo bye`)
	b.c.Terminal, b.c.OpenStdin, b.c.Attached = true, true, true
	b.launch()
	u := newUser(t, 33, 77)
	c := b.attach()
	done := u.attach(c, attach.DefaultKeys)
	b.started()
	u.screen.await(t, "ready\r\n")
	u.resize(34, 78)
	u.screen.await(t, "size 34 78\r\n")
	u.WriteString("hello\r") // echoed by the container's terminal, once, not by ours
	u.screen.await(t, "read hello\r\n")
	if n := strings.Count(u.screen.String(), "hello"); n != 2 {
		t.Errorf("%d times hello in %q", n, u.screen.String())
	}
	u.WriteString("\x10")
	time.Sleep(50 * time.Millisecond)
	u.WriteString("\x11")
	if err := <-done; err != attach.ErrDetached {
		t.Fatalf("detach keys: %v", err)
	}
	c.Close()

	// Again, after the monitor replaced itself, with the same size: the
	// program is told to draw itself anew.
	b.replaced()
	u = newUser(t, 34, 78)
	done = u.attach(b.attach(), "")
	u.screen.await(t, "size 34 78\r\n")
	u.WriteString("\x10\x11\r") // just keys now
	if err := <-done; err != nil {
		t.Errorf("stream: %v", err)
	}
	u.screen.await(t, "bye\r\n")
	if e := b.wait(); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
	if out, err := logOf(t, b); !strings.Contains(out, "read hello\r\n") || !strings.HasSuffix(out, "bye\r\n") || err != "" {
		t.Errorf("logged %q and %q", out, err)
	}
}

// The last output of a terminal is not lost, and its end is noticed even when
// the container's processes close it for a while.
func TestTerminalEnd(t *testing.T) {
	t.Parallel()
	for range 5 {
		b := newBox(t, "tty=$(tty); exec <&- >&- 2>&-; sleep 0.05; exec >$tty; seq 1 300; exit 3")
		b.c.Terminal = true
		b.start()
		if e := b.wait(); e.Code != 3 {
			t.Errorf("exit %+v", e)
		}
		out, _ := logOf(t, b)
		if !strings.HasPrefix(out, "1\r\n2\r\n") || !strings.HasSuffix(out, "\r\n300\r\n") {
			t.Errorf("logged %d bytes: %.20q", len(out), out)
		}
	}
}
