package main

import (
	"debug/elf"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/internal/fdpass"

	"golang.org/x/sys/unix"
)

// supervisor is the other end of NOTIFY_SOCKET. It closes what comes with a
// barrier at once, as systemd does when it has read all before.
func supervisor(t *testing.T) (path string, next func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	messages := make(chan string, 100)
	go func() {
		for {
			buf, control := make([]byte, 4096), make([]byte, 100)
			n, c, _, _, err := conn.ReadMsgUnix(buf, control)
			if err != nil {
				return
			}
			if rights, err := unix.ParseSocketControlMessage(control[:c]); err == nil {
				for _, m := range rights {
					fds, _ := unix.ParseUnixRights(&m)
					for _, fd := range fds {
						unix.Close(fd)
					}
				}
			}
			messages <- string(buf[:n])
		}
	}()
	return path, func() string {
		select {
		case m := <-messages:
			return m
		case <-time.After(10 * time.Second):
			return "nothing within 10 s"
		}
	}
}

// ready is a program that tells it is ready, as a service does. It is this
// test's own binary, as busybox can't speak to such a socket.
const readyVar = "LOPE_TEST_READY"

func init() {
	if os.Getenv(readyVar) == "" {
		return
	}
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err == nil {
		_, err = conn.Write([]byte("STATUS=nearly\nREADY=1\n"))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	time.Sleep(100 * time.Second)
}

// testProgram makes the container's program this test binary.
func (b *box) testProgram(variable string) {
	b.t.Helper()
	if f, err := elf.Open(os.Args[0]); err == nil {
		defer f.Close()
		if libraries, _ := f.ImportedLibraries(); len(libraries) > 0 {
			b.t.Skip("needs a static test program: CGO_ENABLED=0")
		}
	}
	binary, err := os.ReadFile(os.Args[0])
	b.must(err)
	b.must(os.WriteFile(filepath.Join(b.bundle, "rootfs/bin/self"), binary, 0o755))
	b.spec.Process.Env = append(b.spec.Process.Env, variable+"=1")
	b.program("/bin/self")
}

func TestNotifySocket(t *testing.T) {
	b := newBox(t)
	b.testProgram(readyVar)
	path, next := supervisor(t)
	notified := func(args ...string) *exec.Cmd {
		cmd := b.command(args...)
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+path)
		return cmd
	}
	expect := func(pid int) {
		t.Helper()
		want := []string{"READY=1\n", "BARRIER=1"}
		if pid != 0 {
			want = []string{"READY=1\n", fmt.Sprintf("MAINPID=%d\n", pid), "BARRIER=1"}
		}
		for _, w := range want {
			if got := next(); got != w {
				t.Errorf("message %q, want %q", got, w)
			}
		}
	}
	for _, user := range []uint32{0, 1000} {
		b.spec.Process.User.UID = user
		b.write()
		// start waits until the program is ready.
		for _, args := range [][]string{{"create", "c"}, {"start", "c"}} {
			if r := b.finish(notified(args...)); r.code != 0 {
				t.Fatalf("%v: %+v", args, r)
			}
		}
		expect(b.state("c").Pid)
		b.want(0, "", "delete", "--force", "c")
	}
	if r := b.finish(notified("run", "-d", "c")); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	expect(b.state("c").Pid)
	b.want(0, "", "delete", "--force", "c")

	foreground := notified("run", "c")
	b.must(foreground.Start())
	expect(0) // lope is the process to watch
	b.want(0, "", "kill", "c", "KILL")
	foreground.Wait()

	// A program that never gets ready doesn't hold start up.
	b.spec.Process.Env = nil
	b.program("/bin/true")
	if r := b.finish(notified("run", "-d", "c")); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	b.want(0, "", "delete", "c")
	b.want(0, "", "run", "c")
	if entries, _ := os.ReadDir(b.root); len(entries) > 0 {
		t.Errorf("state is left: %v", entries)
	}
}

// Sockets of systemd's socket activation go through to the program.
func TestSocketActivation(t *testing.T) {
	b := newBox(t)
	b.program("sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3; cat <&4; ls /proc/self/fd")
	file := func(text string) *os.File {
		path := filepath.Join(t.TempDir(), "file")
		b.must(os.WriteFile(path, []byte(text), 0o600))
		f, err := os.Open(path)
		b.must(err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	// The shell gives its own process id to lope, as systemd gives a service its.
	activate := func(environment, flags string) result {
		cmd := b.command()
		cmd.Args = []string{"sh", "-c", fmt.Sprintf(`%s exec "$0" --root "$1" run %s c`, environment, flags), os.Args[0], b.root}
		cmd.Path = "/bin/sh"
		cmd.ExtraFiles = []*os.File{file("one\n"), file("two\n")}
		return b.finish(cmd)
	}
	for _, c := range []struct{ environment, flags, want string }{
		{"LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=a:b", "", "2 1 a:b\none\ntwo\n0\n1\n2\n3\n4\n5\n"},
		{"LISTEN_FDS=1 LISTEN_PID=$$", "--preserve-fds 1", "1 1\none\ntwo\n0\n1\n2\n3\n4\n5\n"},
		{"LISTEN_FDS=2 LISTEN_PID=1", "", ""}, // another's
	} {
		r := activate(c.environment, c.flags)
		if c.want != "" && r.out != c.want || c.want == "" && strings.Contains(r.out, "one") {
			t.Errorf("%s %s: %+v", c.environment, c.flags, r)
		}
	}
	if r := activate("LISTEN_FDS=9 LISTEN_PID=$$", ""); r.code != 1 || !strings.Contains(r.err, "LISTEN_FDS=9: there is no descriptor") {
		t.Errorf("%+v", r)
	}
}

// The descriptor that comes over the socket is of the very process.
func TestPidfdSocket(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	path := filepath.Join(t.TempDir(), "pidfd")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	b.must(err)
	defer l.Close()
	pids := make(chan string, 1)
	receive := func() {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer conn.Close()
		f, err := conn.File()
		if err != nil {
			return
		}
		defer f.Close()
		fd, err := fdpass.Receive(int(f.Fd()))
		if err != nil {
			pids <- err.Error()
			return
		}
		defer unix.Close(fd)
		info, _ := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		for line := range strings.Lines(string(info)) {
			if pid, ok := strings.CutPrefix(line, "Pid:"); ok {
				pids <- strings.TrimSpace(pid)
			}
		}
	}
	go receive()
	b.want(0, "", "create", "--pidfd-socket", path, "c")
	if pid, want := <-pids, fmt.Sprint(b.state("c").Pid); pid != want {
		t.Errorf("process %s, not %s", pid, want)
	}
	b.want(0, "", "start", "c")
	go receive()
	pidFile := filepath.Join(t.TempDir(), "pid")
	b.want(0, "", "exec", "-d", "--pidfd-socket", path, "--pid-file", pidFile, "c", "sleep", "50")
	want, err := os.ReadFile(pidFile)
	b.must(err)
	if pid := <-pids; pid != string(want) {
		t.Errorf("process %s, not %s", pid, want)
	}
	before := len(b.processes())
	b.want(255, "pidfd socket", "exec", "-d", "--pidfd-socket", "/nowhere", "c", "sleep", "50")
	if after := len(b.processes()); after != before {
		t.Errorf("%d processes, %d after a failure", before, after)
	}
	b.want(0, "", "delete", "--force", "c")
	b.want(1, "pidfd socket", "create", "--pidfd-socket", "/nowhere", "c")
	b.want(1, "does not exist", "state", "c")
}

// Without a pid namespace the container's orphans become lope's, and no zombies.
func TestSubreaper(t *testing.T) {
	b := newBox(t)
	for i, n := range b.spec.Linux.Namespaces {
		if n.Type == "pid" {
			b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces[:i], b.spec.Linux.Namespaces[i+1:]...)
			break
		}
	}
	b.spec.Mounts = b.spec.Mounts[1:] // the host's procfs is no mount of the container's to make
	b.program("sh", "-c", "sh -c 'sleep 0.2 & sleep 60 &'; sleep 1")
	cmd := b.command("run", "c")
	b.must(cmd.Start())
	childrenOf := func() (names []string) {
		for _, dir := range b.processes() {
			stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
			fields := strings.Fields(string(stat))
			if len(fields) > 3 && fields[3] == fmt.Sprint(cmd.Process.Pid) {
				names = append(names, fields[1]+fields[2])
			}
		}
		return names
	}
	eventually(t, "the orphans are lope's", func() bool { return len(childrenOf()) == 3 })
	eventually(t, "one has ended and been reaped", func() bool { return len(childrenOf()) == 2 })
	if all := strings.Join(childrenOf(), " "); strings.Contains(all, "Z") {
		t.Errorf("children %s", all)
	}
	b.must(cmd.Wait())
	if left := b.processes(); len(left) > 0 {
		t.Errorf("%v outlive the container", left)
	}
}

// Without pivot_root the container sees its own root all the same.
func TestNoPivot(t *testing.T) {
	b := newBox(t)
	b.must(os.WriteFile(filepath.Join(b.bundle, "rootfs/mark"), []byte("mine\n"), 0o600))
	b.program("sh", "-c", "cat /mark; ls /")
	before := b.host()
	with, without := b.want(0, "mine", "run", "c"), b.want(0, "mine", "run", "--no-pivot", "c")
	if with.out != without.out || !strings.Contains(without.err, "CAP_SYS_CHROOT") {
		t.Errorf("with %+v, without %+v", with, without)
	}
	if after := b.host(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}
