// Inside is run in containers by the end to end tests: it tries one thing and prints what came of it.
package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Println("uid", os.Getuid(), "euid", os.Geteuid())
		return
	}
	if attempt, ok := attempts[os.Args[1]]; ok {
		fmt.Println(os.Args[1], describe(attempt()))
		return
	}
	switch os.Args[1] {
	case "ids":
		groups, _ := os.Getgroups()
		fmt.Println(os.Getuid(), os.Getgid(), groups)
	case "names":
		fmt.Println(serveNames())
	case "steal":
		fmt.Println(steal())
	case "eat": // megabytes of memory, touched
		megabytes, _ := strconv.Atoi(os.Args[2])
		var kept [][]byte
		for range megabytes {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			kept = append(kept, block)
		}
		fmt.Println("ate", len(kept))
	default:
		fmt.Println("unknown", os.Args[1])
		os.Exit(2)
	}
}

// attempts are things that a container must not be allowed; each returns how the kernel answered.
var attempts = map[string]func() error{
	"af_alg":   func() error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0) },
	"af_vsock": func() error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) },
	"af_inet":  func() error { return socket(unix.AF_INET, unix.SOCK_STREAM, 0) },
	"io_uring": func() error {
		return call(unix.SYS_IO_URING_SETUP, 1, address(zeros), 0)
	},
	"userfaultfd":  func() error { return call(unix.SYS_USERFAULTFD, 1, 0, 0) },
	"bpf":          func() error { return call(unix.SYS_BPF, 0, address(zeros), 128) },
	"keyctl":       func() error { return call(unix.SYS_KEYCTL, 0, ^uintptr(2), 0) },
	"add_key":      func() error { return call(unix.SYS_ADD_KEY, 0, 0, 0) },
	"unshare_user": func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
	"mount":        func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") },
	"mknod":        func() error { return unix.Mknod("/tmp/sda", unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0))) },
	"chroot":       func() error { return unix.Chroot("/tmp") },
	"raw_socket":   func() error { return socket(unix.AF_INET, unix.SOCK_RAW, 1) },
	"settimeofday": func() error { return unix.Settimeofday(&unix.Timeval{}) },
	"sethostname":  func() error { return unix.Sethostname([]byte("taken")) },
	"reboot":       func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) },
	"init_module":  func() error { return unix.InitModule(nil, "") },
	"kexec_load":   func() error { return call(unix.SYS_KEXEC_LOAD, 0, 0, 0) },
	"open_by_handle_at": func() error {
		_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, make([]byte, 8)), 0)
		return err
	},
}

func socket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func describe(err error) string {
	if err == nil {
		return "allowed"
	}
	return unix.ErrnoName(err.(unix.Errno))
}
