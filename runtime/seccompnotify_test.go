package runtime

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Layout of struct seccomp_notif: id, pid, flags, and seccomp_data with the
// call's number first; and of struct seccomp_notif_resp.
type (
	notification struct {
		ID         uint64
		Pid, Flags uint32
		Nr, Arch   uint32
		IP         uint64
		Args       [6]uint64
	}
	answer struct {
		ID    uint64
		Val   int64
		Error int32
		Flags uint32
	}
)

// agent supervises containers: it answers each system call with an errno, or
// lets it go on when that is 0.
type agent struct {
	path   string
	states chan specs.ContainerProcessState
	calls  chan uint32
}

func startAgent(t *testing.T, errno unix.Errno) *agent {
	t.Helper()
	// Longer than the address of a socket may be.
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.Chdir(dir))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "agent.sock", Net: "unix"})
	must(t, os.Chdir("/"))
	must(t, err)
	t.Cleanup(func() { l.Close() })
	a := &agent{filepath.Join(dir, "agent.sock"), make(chan specs.ContainerProcessState, 10), make(chan uint32, 100)}
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go a.serve(t, conn, errno)
		}
	}()
	return a
}

func (a *agent) serve(t *testing.T, conn *net.UnixConn, errno unix.Errno) {
	var text []byte
	var fds []int
	for { // exactly one state, then the end
		data, control := make([]byte, 4096), make([]byte, 256)
		n, rights, _, _, err := conn.ReadMsgUnix(data, control)
		if n == 0 || err != nil {
			break
		}
		text = append(text, data[:n]...)
		if messages, _ := unix.ParseSocketControlMessage(control[:rights]); len(messages) > 0 {
			got, _ := unix.ParseUnixRights(&messages[0])
			fds = append(fds, got...)
		}
	}
	conn.Close()
	var state specs.ContainerProcessState
	if err := json.Unmarshal(text, &state); err != nil || len(fds) != 1 {
		t.Errorf("the agent got %q and %d descriptors: %v", text, len(fds), err)
		return
	}
	a.states <- state
	defer unix.Close(fds[0])
	for {
		wait := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}}
		n, err := unix.Poll(wait, 20000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || wait[0].Revents&unix.POLLIN == 0 {
			return // nobody is left behind the filter; before Linux 6.11 a call would wait for ever
		}
		var call notification
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fds[0]), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&call))); e != 0 {
			continue // who made the call is gone
		}
		a.calls <- call.Nr
		says := answer{ID: call.ID, Error: -int32(errno)}
		if errno == 0 {
			says.Flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		}
		unix.Syscall(unix.SYS_IOCTL, uintptr(fds[0]), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&says)))
	}
}

func (a *agent) state(t *testing.T) specs.ContainerProcessState {
	t.Helper()
	select {
	case s := <-a.states:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("the agent heard nothing")
		panic("")
	}
}

// notifying is a profile that asks an agent about some calls.
func notifying(path string, calls ...string) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchAARCH64}, ListenerPath: path, ListenerMetadata: "some data",
		Syscalls: []specs.LinuxSyscall{{Names: calls, Action: specs.ActNotify}},
	}
}

func TestSeccompNotify(t *testing.T) {
	for _, noNewPrivileges := range []bool{true, false} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("no new privileges %v own ids %v", noNewPrivileges, own), func(t *testing.T) {
				a := startAgent(t, unix.EDQUOT)
				before := openFiles(t)
				o := bundle(t, "sh", "-c", "busybox mkdir /made; busybox sleep 60")
				if own {
					ownIDs(t, &o)
				}
				o.ID = fmt.Sprintf("notify-%v-%v-%d", noNewPrivileges, own, os.Getpid())
				o.Spec.Linux.CgroupsPath = "/" + o.ID
				o.Spec.Annotations = map[string]string{"a": "b"}
				o.Spec.Process.NoNewPrivileges = noNewPrivileges
				o.Spec.Linux.Seccomp = notifying(a.path, "mkdir", "mkdirat")
				o.Spec.Linux.Seccomp.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagWaitKillableRecv}
				o.Config = encode(t, o.Spec)
				o.Detached = true
				out, w, err := os.Pipe()
				must(t, err)
				defer out.Close()
				o.Stderr = w
				c, err := Create(o)
				w.Close()
				must(t, err)
				defer c.Delete(true)
				s := a.state(t)
				if s.Version != specs.Version || s.Pid != c.Pid() || s.Metadata != "some data" || len(s.Fds) != 1 || s.Fds[0] != "seccompFd" ||
					s.State.ID != o.ID || s.State.Status != specs.StateCreating || s.State.Pid != c.Pid() || s.State.Bundle != o.Bundle || s.State.Annotations["a"] != "b" {
					t.Errorf("state %+v of process %d", s, c.Pid())
				}
				must(t, c.Start())
				if line := readLine(t, out); line != "mkdir: can't create directory '/made': Disk quota exceeded" && line != "mkdir: can't create directory '/made': Quota exceeded" {
					t.Errorf("the container says %q", line)
				}
				waitFor(t, "the call", func() bool { return len(a.calls) == 1 })
				// Another process has a filter, and a listener, of its own.
				r, w, err := os.Pipe()
				must(t, err)
				p := specs.Process{Args: []string{"sh", "-c", "busybox mkdir /made2"}, Cwd: "/", NoNewPrivileges: noNewPrivileges}
				p.Env = o.Spec.Process.Env
				process, err := c.Exec(ExecOptions{Process: &p, Stderr: w})
				must(t, err)
				w.Close()
				s = a.state(t)
				if s.Pid != process.Pid() || s.State.Pid != c.Pid() || s.State.Status != specs.StateRunning {
					t.Errorf("of exec: state %+v of process %d", s, process.Pid())
				}
				if line := readLine(t, r); !strings.Contains(line, "'/made2'") || !strings.Contains(line, "uota exceeded") {
					t.Errorf("exec says %q", line)
				}
				r.Close()
				process.Wait()
				process.Close()
				c.Kill(unix.SIGKILL, false)
				c.Wait()
				must(t, c.Delete(true))
				c.Release()
				out.Close()
				goruntime.GC()
				waitFor(t, "no descriptor is left over", func() bool { return len(openFiles(t)) <= len(before) })
				if after := openFiles(t); len(after) > len(before) {
					t.Errorf("before %q, after %q", before, after)
				}
			})
		}
	}
}

// An agent may be asked even for what the start itself does behind the filter.
func TestSeccompNotifyOfTheStart(t *testing.T) {
	for _, noNewPrivileges := range []bool{true, false} {
		a := startAgent(t, 0)
		o := bundle(t, "/bin/true")
		o.Spec.Process.NoNewPrivileges = noNewPrivileges
		o.Spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/true"}}}
		o.Spec.Linux.Seccomp = notifying(a.path, "execve", "close", "sendto", "accept4", "prctl", "capset", "setresuid", "dup3", "clone", "wait4", "prlimit64")
		o.Config = encode(t, o.Spec)
		c, err := Create(o)
		must(t, err)
		must(t, c.Start())
		status, err := c.Wait()
		if err != nil || status.ExitStatus() != 0 {
			t.Errorf("status %v, %v", status, err)
		}
		c.Release()
		must(t, c.Delete(true))
		if a.state(t); len(a.calls) < 5 {
			t.Errorf("the agent was asked %d times", len(a.calls))
		}
	}
}

// Without an agent there is no container, and nothing of it is left.
func TestSeccompNotifyFails(t *testing.T) {
	before := hostState(t)
	for want, change := range map[string]func(s *specs.LinuxSeccomp){
		"linux.seccomp.listenerPath: connect to the seccomp agent at":                                             func(s *specs.LinuxSeccomp) { s.ListenerPath = filepath.Join(t.TempDir(), "none") },
		"linux.seccomp.listenerPath: connect to the seccomp agent at /does/not/exist/agent: open /does/not/exist": func(s *specs.LinuxSeccomp) { s.ListenerPath = "/does/not/exist/agent" },
		"linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY needs":                                                 func(s *specs.LinuxSeccomp) { s.ListenerPath, s.ListenerMetadata = "", "" },
		"linux.seccomp.listenerMetadata: set without":                                                             func(s *specs.LinuxSeccomp) { s.ListenerPath = "" },
		"linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is for":                                                     func(s *specs.LinuxSeccomp) { s.DefaultAction = specs.ActNotify },
		"linux.seccomp.syscalls[0].names[0]: SCMP_ACT_NOTIFY is not possible for write":                           func(s *specs.LinuxSeccomp) { s.Syscalls[0].Names[0] = "write" },
		"linux.seccomp.syscalls[0].names[0]: SCMP_ACT_NOTIFY is not possible for sendmsg":                         func(s *specs.LinuxSeccomp) { s.Syscalls[0].Names[0] = "sendmsg" },
		"linux.seccomp.syscalls[0].names[0]: SCMP_ACT_NOTIFY is not possible for recvmsg":                         func(s *specs.LinuxSeccomp) { s.Syscalls[0].Names[0] = "recvmsg" },
		"hand the seccomp listener over, for which the filter must allow sendmsg: operation not permitted (config.json: linux.seccomp)": func(s *specs.LinuxSeccomp) {
			s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{"sendmsg"}, Action: specs.ActErrno})
		},
	} {
		o := bundle(t, "/bin/true")
		o.Spec.Linux.Seccomp = notifying("/dev/null", "mkdir")
		change(o.Spec.Linux.Seccomp)
		o.Detached = true
		c, err := Run(o)
		if err == nil {
			c.Delete(true)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if after := hostState(t); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	// A path that no rule needs is nobody's business.
	o := bundle(t, "/bin/true")
	o.Spec.Linux.Seccomp = notifying("/does/not/exist/agent", "mkdir")
	o.Spec.Linux.Seccomp.Syscalls[0].Action = specs.ActErrno
	if _, status := capture(t, o); status.ExitStatus() != 0 {
		t.Errorf("status %v", status)
	}
}

func openFiles(t *testing.T) (list []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		list = append(list, to)
	}
	return list
}

func readLine(t *testing.T, r *os.File) string {
	t.Helper()
	must(t, r.SetReadDeadline(time.Now().Add(10*time.Second)))
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		if n == 0 || err != nil || b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}
