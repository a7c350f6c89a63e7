package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty makes a terminal; the other end is lope's.
func pty(t *testing.T) (master, other *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("needs a terminal: ", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	other, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return master, other
}

// What the container prints comes out as it would of a program at the terminal,
// keys and sizes go in, and the terminal is afterwards as it was.
func TestTerminal(t *testing.T) {
	b := newBox(t)
	b.spec.Process.Terminal = true
	b.spec.Process.User.UID = 1000
	b.program("sh", "-c", "stty size; tty; ls -ln /dev/console $(tty) | cut -c1-10,20-45; test -t 0 && test -t 1 && test -t 2 && echo terminal; read line; echo got $line; read line; stty size")
	b.must(os.Symlink("busybox", filepath.Join(b.bundle, "rootfs/bin/tty")))
	b.must(os.Symlink("busybox", filepath.Join(b.bundle, "rootfs/bin/cut")))
	master, other := pty(t)
	b.must(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 99}))
	before, err := unix.IoctlGetTermios(int(other.Fd()), unix.TCGETS)
	b.must(err)
	cmd := b.command("run", "c")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = other, other, other
	b.must(cmd.Start())
	lines := make(chan string, 100)
	go func() {
		r := bufio.NewReader(master)
		for {
			line, err := r.ReadString('\n')
			lines <- line
			if err != nil {
				close(lines)
				return
			}
		}
	}()
	expect := func(want string) {
		t.Helper()
		for {
			select {
			case line := <-lines:
				if !strings.HasSuffix(line, "\r\n") || strings.HasSuffix(line, "\r\r\n") {
					t.Errorf("line %q", line)
				}
				if line = strings.TrimSpace(line); line == want {
					return
				} else if line != "" {
					t.Errorf("line %q, want %q", line, want)
					return
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("no %q", want)
			}
		}
	}
	expect("33 99")
	expect("/dev/pts/0")
	<-lines // the owner's column differs between the two
	<-lines
	expect("terminal")
	io.WriteString(master, "some words\r")
	expect("some words") // the echo
	expect("got some words")
	b.must(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 44, Col: 55}))
	b.must(cmd.Process.Signal(unix.SIGWINCH)) // it isn't the terminal's foreground process
	time.Sleep(50 * time.Millisecond)
	io.WriteString(master, "\r")
	expect("44 55")
	b.must(cmd.Wait())
	after, err := unix.IoctlGetTermios(int(other.Fd()), unix.TCGETS)
	b.must(err)
	if *after != *before {
		t.Errorf("the terminal is %+v, not %+v", after, before)
	}
}

// The terminal's output isn't changed on its way to a file.
func TestTerminalIntoFile(t *testing.T) {
	b := newBox(t)
	b.spec.Process.Terminal = true
	b.program("echo", "hello")
	if r := b.want(0, "hello", "run", "c"); r.out != "hello\n" {
		t.Errorf("output %q", r.out)
	}
	b.spec.Process.Terminal = false
	b.program("sleep", "100")
	b.want(0, "", "run", "-d", "c")
	if r := b.want(4, "tty", "exec", "-t", "c", "sh", "-c", "test -t 1 && echo tty; exit 4"); r.out != "tty\n" {
		t.Errorf("output %q", r.out)
	}
}

// The master of the terminal goes to the console socket as a message with a
// name and one descriptor.
func TestConsoleSocket(t *testing.T) {
	b := newBox(t)
	path := filepath.Join(b.bundle, "console")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	b.must(err)
	defer unix.Close(fd)
	b.must(unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	b.must(unix.Listen(fd, 1))
	b.program("sleep", "100")
	b.want(1, "--console-socket needs process.terminal", "create", "--console-socket", path, "c")
	b.spec.Process.Terminal = true
	b.program("sh", "-c", "echo hello; sleep 100")
	b.want(1, "needs --console-socket", "create", "c")
	b.want(1, "needs --console-socket", "run", "-d", "c")
	b.want(1, "connect to the console socket", "create", "--console-socket", filepath.Join(b.bundle, "config.json"), "c")
	b.want(1, "no such file", "create", "--console-socket", "/nowhere/x", "c")
	if entries, _ := os.ReadDir(b.root); len(entries) > 0 {
		t.Errorf("state is left: %v", entries)
	}
	b.want(0, "", "create", "--console-socket", path, "c")
	conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	b.must(err)
	socket := os.NewFile(uintptr(conn), "console")
	defer socket.Close()
	master, err := receiveMaster(socket)
	b.must(err)
	defer master.Close()
	b.want(0, "", "start", "c")
	line, err := bufio.NewReader(master).ReadString('\n')
	if err != nil || line != "hello\r\n" {
		t.Errorf("line %q, %v", line, err)
	}
	var st unix.Stat_t
	b.must(unix.Stat(fmt.Sprintf("/proc/%d/root/dev/console", b.state("c").Pid), &st))
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		t.Errorf("/dev/console has mode %o", st.Mode)
	}
	b.want(0, "", "exec", "-d", "-t", "--console-socket", path, "c", "sh", "-c", "echo other; sleep 50")
	if conn, _, err = unix.Accept4(fd, unix.SOCK_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	second := os.NewFile(uintptr(conn), "console")
	defer second.Close()
	other, err := receiveMaster(second)
	b.must(err)
	defer other.Close()
	if line, err = bufio.NewReader(other).ReadString('\n'); err != nil || line != "other\r\n" {
		t.Errorf("line %q, %v", line, err)
	}
}

// A socket that takes nothing must not hang lope, nor one that is gone.
func TestConsoleSocketThatIsClosed(t *testing.T) {
	b := newBox(t)
	path := filepath.Join(b.bundle, "console")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	b.must(err)
	b.must(unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	unix.Close(fd)
	b.spec.Process.Terminal = true
	b.write()
	b.want(1, "connection refused", "create", "--console-socket", path, "c")
}
