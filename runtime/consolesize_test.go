package runtime

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"loper.run/internal/fdpass"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A new terminal has the size that config.json says before its program runs,
// of the first process and of one of exec.
func TestConsoleSize(t *testing.T) {
	sockets := func() (ours int, theirs *os.File) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { unix.Close(pair[0]) })
		theirs = os.NewFile(uintptr(pair[1]), "console")
		t.Cleanup(func() { theirs.Close() })
		return pair[0], theirs
	}
	line := func(socket int) string {
		fd, err := fdpass.Receive(socket)
		must(t, err)
		master := os.NewFile(uintptr(fd), "master")
		defer master.Close()
		text, err := bufio.NewReader(master).ReadString('\n')
		must(t, err)
		return strings.TrimSpace(text)
	}
	o := bundle(t, "sh", "-c", "busybox stty size; sleep 60")
	o.Spec.Process.Terminal, o.Spec.Process.ConsoleSize = true, &specs.Box{Width: 333, Height: 77}
	o.Config = encode(t, o.Spec)
	o.Detached = true
	socket, theirs := sockets()
	o.ConsoleSocket = theirs
	c, err := Run(o)
	must(t, err)
	defer c.Delete(true)
	if got := line(socket); got != "77 333" {
		t.Errorf("the terminal has %q", got)
	}
	socket, theirs = sockets()
	p := specs.Process{Args: []string{"busybox", "stty", "size"}, Cwd: "/", Env: []string{"PATH=/bin"}, Terminal: true, ConsoleSize: &specs.Box{Width: 11, Height: 22}}
	process, err := c.Exec(ExecOptions{Process: &p, ConsoleSocket: theirs})
	must(t, err)
	defer process.Close()
	if got := line(socket); got != "22 11" {
		t.Errorf("the terminal of exec has %q", got)
	}
	process.Wait()
}
