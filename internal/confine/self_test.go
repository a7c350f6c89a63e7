package confine_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"loper.run/internal/confine"

	"golang.org/x/sys/unix"
)

// confined says in the environment what a process of the test is to be.
const confined = "LOPER_TEST_CONFINED"

func TestMain(m *testing.M) {
	if kind := os.Getenv(confined); kind != "" {
		takenOver(kind)
		return
	}
	os.Exit(m.Run())
}

// takenOver gives up its rights and tries what somebody would who had taken it over.
func takenOver(kind string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	die(err)
	filter := confine.Forward(os.Getpid())
	if kind == "sockets" {
		die(confine.Keep(1 << unix.CAP_NET_RAW))
		filter = confine.Sockets(os.Getpid())
	}
	die(confine.Self(filter, true))
	for name, try := range map[string]func() error{
		"open a file":       func() error { _, err := os.Open("/etc/passwd"); return err },
		"make a file":       func() error { return os.WriteFile("/tmp/loper-confine-test", nil, 0o600) },
		"execute":           func() error { return unix.Exec("/bin/true", []string{"true"}, nil) },
		"signal the parent": func() error { return unix.Kill(os.Getppid(), 0) },
		"a unix socket":     func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
		"a netlink socket":  func() error { _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM, 0); return err },
		"a packet socket":   func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0); return err },
		"a raw socket":      func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP); return err },
		"executable memory": func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_EXEC|unix.PROT_READ, unix.MAP_ANON|unix.MAP_PRIVATE)
			return err
		},
		"a namespace": func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"ptrace":      func() error { return unix.PtraceAttach(os.Getppid()) },
		"an ioctl":    func() error { return unix.IoctlSetInt(int(os.Stdout.Fd()), unix.TUNSETOFFLOAD, 0) },
	} {
		if err := try(); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
			fmt.Printf("%s: %v\n", name, err)
		}
	}
	// What it is there for still works.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	die(err)
	if kind == "sockets" {
		die(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1))
		if _, err := net.Dial("tcp", listener.Addr().String()); err == nil {
			fmt.Println("connected")
		}
		return
	}
	c, err := net.Dial("tcp", listener.Addr().String())
	die(err)
	_, err = c.Write([]byte("x"))
	die(err)
}

func die(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func TestSelf(t *testing.T) {
	for _, kind := range []string{"forward", "sockets"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "sockets" && os.Getuid() != 0 {
				t.Skip("needs root, for the capability that is kept")
			}
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), confined+"="+kind)
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "CGO_ENABLED=0") {
				t.Skipf("%s", out)
			}
			if err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
