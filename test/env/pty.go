package env

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a command that runs on a pseudo terminal of its own, and a person who types and reads.
type Terminal struct {
	Cmd    *exec.Cmd
	master *os.File
	t      testing.TB
	mu     sync.Mutex
	seen   bytes.Buffer
	done   chan error
}

// StartTerminal starts cmd on a new terminal of the given size, as its session leader.
func StartTerminal(t testing.TB, cmd *exec.Cmd, rows, cols uint16) *Terminal {
	t.Helper()
	master, peer, err := openPTY(rows, cols)
	if err != nil {
		t.Fatalf("open a pseudo terminal: %v", err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = peer, peer, peer
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term := &Terminal{Cmd: cmd, master: master, t: t, done: make(chan error, 1)}
	go term.read()
	go func() {
		err := cmd.Wait()
		peer.Close() // held until now, so that its settings can be read at any time
		term.done <- err
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		master.Close()
	})
	return term
}

// Type types s.
func (p *Terminal) Type(s string) {
	p.t.Helper()
	if _, err := p.master.WriteString(s); err != nil {
		p.t.Fatalf("type %q: %v", s, err)
	}
}

// Expect waits until s was printed, and forgets everything up to it.
func (p *Terminal) Expect(s string) string {
	p.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		p.mu.Lock()
		before, after, ok := strings.Cut(p.seen.String(), s)
		if ok {
			p.seen.Reset()
			p.seen.WriteString(after)
			p.mu.Unlock()
			return before
		}
		p.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
	p.t.Fatalf("terminal never showed %q, but: %q", s, p.Seen())
	return ""
}

// Seen is what was printed since the last Expect.
func (p *Terminal) Seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

// Resize gives the terminal another size.
func (p *Terminal) Resize(rows, cols uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		p.t.Fatal(err)
	}
}

// Settings are the terminal's modes, to compare before and after.
func (p *Terminal) Settings() string {
	p.t.Helper()
	settings, err := unix.IoctlGetTermios(int(p.master.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprintf("%+v", *settings)
}

// Wait returns the command's exit code.
func (p *Terminal) Wait() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.Cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		p.t.Fatalf("command on the terminal did not end; it showed %q", p.Seen())
		return -1
	}
}

func (p *Terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := p.master.Read(buf)
		p.mu.Lock()
		p.seen.Write(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func openPTY(rows, cols uint16) (master, peer *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		return nil, nil, err
	}
	path := fmt.Sprintf("/dev/pts/%d", number)
	peer, err = os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	return master, peer, err
}
