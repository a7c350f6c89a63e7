package monitor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"loper.run/container/attach"
	"loper.run/network/dns"
)

// The test binary is the monitor too, with a plain child process in the place
// of a container, and the container's program where a shell does not do.
func TestMain(m *testing.M) {
	if len(os.Args) >= 3 {
		switch os.Args[1] {
		case "monitor":
			os.Exit(run(os.Args[2], standIn()))
		case "real":
			os.Exit(Main(os.Args[2]))
		case "output":
			os.Exit(printMuch(os.Args[2]))
		}
	}
	if len(os.Args) == 2 && os.Args[1] == "echo" {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			fmt.Println("echo", in.Text())
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// standIn runs the command line in config.json, a list of words. A file "state"
// in RuntimeRoot stands for the runtime's state.
func standIn() engine {
	pidFile := func(c *Config) string { return filepath.Join(c.RuntimeRoot, "state") }
	return engine{
		protect: func(string) error { return nil },
		run: func(dir string, c *Config, s *stdio, names *dns.Descriptors, _ *guard) (int, error) {
			var argv []string
			data, err := os.ReadFile(filepath.Join(dir, "config.json"))
			if err != nil {
				return 0, err
			}
			if err := json.Unmarshal(data, &argv); err != nil {
				return 0, err
			}
			attr := &syscall.ProcAttr{Env: os.Environ(), Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}}
			null, _ := os.OpenFile("/dev/null", os.O_RDWR, 0)
			defer null.Close()
			for _, f := range []*os.File{s.in, s.out, s.err} {
				if f == nil {
					f = null
				}
				attr.Files = append(attr.Files, f.Fd())
			}
			if s.console != nil {
				master, slave, err := openPty()
				if err != nil {
					return 0, err
				}
				defer master.Close()
				defer slave.Close()
				if err := unix.Sendmsg(int(s.console.Fd()), []byte("x"), unix.UnixRights(int(master.Fd())), nil, 0); err != nil {
					return 0, err
				}
				attr.Files = []uintptr{slave.Fd(), slave.Fd(), slave.Fd()}
				attr.Sys.Setctty = true
			}
			if err := ready(); err != nil {
				return 0, err
			}
			pid, err := syscall.ForkExec(argv[0], argv, attr)
			if err != nil {
				return 0, fmt.Errorf("execute %s: %w", argv[0], err)
			}
			return pid, os.WriteFile(pidFile(c), []byte(strconv.Itoa(pid)), 0o600)
		},
		exitCode: func(err error) int {
			if errors.Is(err, syscall.ENOENT) {
				return 127
			}
			return 125
		},
		killAll: func(c *Config) {
			data, _ := os.ReadFile(pidFile(c))
			if pid, err := strconv.Atoi(string(data)); err == nil {
				syscall.Kill(-pid, syscall.SIGKILL)
			}
		},
		oomKilled: func(c *Config) bool {
			_, err := os.Stat(filepath.Join(c.RuntimeRoot, "oom"))
			return err == nil
		},
		remove: func(c *Config) error { return os.Remove(pidFile(c)) },
		leave:  leave,
	}
}

func openPty() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	return master, slave, err
}

// box is a container under test.
type box struct {
	t      *testing.T
	dir    string
	c      Config
	cmd    *os.Process
	report *os.File
	real   bool        // run by the runtime
	spec   *specs.Spec // of a real one
	first  *attach.Client
}

// newBox prepares a container that runs a shell script.
func newBox(t *testing.T, script string) *box {
	t.Helper()
	return newBoxArgs(t, "/bin/sh", "-c", script)
}

func newBoxArgs(t *testing.T, argv ...string) *box {
	t.Helper()
	b := &box{t: t, dir: t.TempDir()}
	b.c = Config{ID: strings.Repeat("ab", 32), RunDir: filepath.Join(b.dir, "run"), RuntimeRoot: b.dir}
	b.json("config.json", argv)
	return b
}

func (b *box) json(name string, v any) {
	b.t.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, name), data, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// launch starts the monitor and does not wait.
func (b *box) launch() {
	b.t.Helper()
	b.json(ConfigFile, b.c)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(pair[0]), "report"), os.NewFile(uintptr(pair[1]), "monitor")
	unix.SetNonblock(pair[1], false)
	if _, err := r.Write([]byte{1, 1}); err != nil {
		b.t.Fatal(err)
	}
	null, _ := os.OpenFile("/dev/null", os.O_RDWR, 0)
	defer null.Close()
	defer w.Close()
	b.report = r
	verb := "monitor"
	if b.real {
		verb = "real"
	}
	files := []*os.File{null, null, null, w}
	if b.c.Attached {
		var theirs *os.File
		if b.first, theirs, err = attach.Pair(); err != nil {
			b.t.Fatal(err)
		}
		defer theirs.Close()
		files = append(files, theirs)
	}
	b.cmd, err = os.StartProcess("/proc/self/exe", []string{os.Args[0], verb, b.dir}, &os.ProcAttr{
		Dir: "/", Env: append(os.Environ(), "GOMAXPROCS=1"),
		Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		b.cmd.Kill()
		b.cmd.Wait()
		r.Close()
	})
}

// started waits for the report.
func (b *box) started() (f Failure) {
	b.t.Helper()
	b.report.SetReadDeadline(time.Now().Add(15 * time.Second))
	data := make([]byte, 4096)
	n, _ := b.report.Read(data)
	if n > 0 {
		if err := json.Unmarshal(data[:n], &f); err != nil {
			b.t.Fatalf("report %q: %v", data[:n], err)
		}
	}
	return f
}

// start starts the monitor and its container.
func (b *box) start() *box {
	b.t.Helper()
	b.launch()
	if f := b.started(); f != (Failure{}) {
		b.t.Fatalf("not started: %+v", f)
	}
	return b
}

// wait waits for the monitor's end and returns the container's.
func (b *box) wait() Exit {
	b.t.Helper()
	b.cmd.Wait()
	e, err := ReadExit(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

func (b *box) attach() *attach.Client {
	b.t.Helper()
	c := b.first
	b.first = nil
	if c == nil {
		eventually(b.t, "the monitor listens", func() (ok bool) {
			var err error
			c, err = attach.Connect(b.c.RunDir)
			return err == nil
		})
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

func (b *box) pid() int {
	b.t.Helper()
	s, err := ReadState(b.c.RunDir)
	if err != nil {
		b.t.Fatal(err)
	}
	return s.Pid
}

// replaced waits until the monitor has replaced itself.
func (b *box) replaced() *box {
	b.t.Helper()
	eventually(b.t, "the monitor replaced itself", func() bool {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", b.cmd.Pid))
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", b.cmd.Pid))
		return strings.Contains(string(env), handoverEnv+"=") && string(comm) != "exe\n" // it set the name itself
	})
	time.Sleep(20 * time.Millisecond)
	return b
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// alive: neither gone nor a zombie.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}
