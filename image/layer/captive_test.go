package layer

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"loper.run/internal/confine"
	"loper.run/internal/userns"
)

// prison is what a worker that was taken over knows of the outside.
type prison struct {
	outside string // a directory with the files "secret" and "socket"
	parent  int
}

// attempt is something that no worker may be able to do.
type attempt struct {
	name string
	// free says that root can do it when nothing holds him, without harm.
	free bool
	try  func(p prison) error
}

// attempts come out as nil when they succeed.
func attempts() []attempt {
	at := func(name string, flags int) func(prison) error {
		return func(p prison) error {
			fd, err := unix.Open(strings.ReplaceAll(name, "OUT", p.outside), flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	call := func(nr uintptr, args ...uintptr) func(prison) error {
		return func(prison) error {
			var a [6]uintptr
			copy(a[:], args)
			_, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
			if errno == unix.EPERM || errno == unix.EACCES {
				return errno
			}
			return nil // it was let through to what its arguments are worth
		}
	}
	socket := func(domain, typ int) func(prison) error {
		return func(prison) error {
			fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	const packed = confine.Dir + 1
	list := []attempt{
		{"read a file", true, at("OUT/secret", unix.O_RDONLY)},
		{"write a file", true, at("OUT/secret", unix.O_RDWR)},
		{"truncate a file", true, func(p prison) error { return unix.Truncate(p.outside+"/secret", 3) }},
		{"create a file", true, at("OUT/new", unix.O_CREAT|unix.O_WRONLY)},
		{"read a directory", true, at("OUT", unix.O_DIRECTORY)},
		{"/etc", true, at("/etc/passwd", unix.O_RDONLY)},
		{"/proc", true, at("/proc/self/status", unix.O_RDONLY)},
		{"/dev/null", true, at("/dev/null", unix.O_WRONLY)},
		{"/sys", true, at("/sys/kernel", unix.O_RDONLY)},
		{"/proc/1/root", false, at("/proc/1/root/etc/passwd", unix.O_RDONLY)},
		{"the packed file, to write", true, at(fmt.Sprintf("/proc/self/fd/%d", packed), unix.O_RDWR)},
		{"the own program", true, at("/proc/self/exe", unix.O_RDONLY)},
		{"a temporary file outside", true, at("OUT", unix.O_TMPFILE|unix.O_WRONLY)},
		{"dot dot from the directory", true, func(p prison) error {
			fd, err := unix.Openat(confine.Dir, strings.Repeat("../", 30)+p.outside[1:]+"/secret", unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"dot dot by O_PATH", true, func(p prison) error { return climbs(confine.Dir) }},
		{"dot dot from the working directory", true, func(p prison) error { unix.Chdir("/"); return climbs(unix.AT_FDCWD) }},
		{"openat2 from the directory", true, func(p prison) error {
			fd, err := unix.Openat2(confine.Dir, "../outside/secret", &unix.OpenHow{Flags: unix.O_RDWR | unix.O_CLOEXEC})
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"a link in the layer", true, func(p prison) error {
			unix.Symlinkat(p.outside+"/secret", confine.Dir, "link")
			fd, err := unix.Openat(confine.Dir, "link", unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"a relative link in the layer", true, func(p prison) error {
			unix.Symlinkat("../outside/secret", confine.Dir, "link2")
			return unix.Fchmodat(confine.Dir, "link2", 0o777, 0)
		}},
		{"chmod", true, func(p prison) error { return unix.Chmod(p.outside+"/secret", 0o4777) }},
		{"chown", true, func(p prison) error { return unix.Lchown(p.outside+"/secret", 12, 12) }},
		{"utimes", true, func(p prison) error { return unix.Utimes(p.outside+"/secret", make([]unix.Timeval, 2)) }},
		{"setxattr", true, func(p prison) error { return unix.Setxattr(p.outside+"/secret", "user.x", []byte("y"), 0) }},
		{"mkdir", true, func(p prison) error { return unix.Mkdir(p.outside+"/dir", 0o700) }},
		{"mkfifo", true, func(p prison) error { return unix.Mkfifo(p.outside+"/fifo", 0o700) }},
		{"symlink", true, func(p prison) error { return unix.Symlink("x", p.outside+"/symlink") }},
		{"hard link of a file outside", true, func(p prison) error { return unix.Linkat(unix.AT_FDCWD, p.outside+"/secret", confine.Dir, "hard", 0) }},
		{"hard link to the outside", true, func(p prison) error {
			touch("mine")
			return unix.Linkat(confine.Dir, "mine", unix.AT_FDCWD, p.outside+"/hard", 0)
		}},
		{"hard link of the packed file", false, func(p prison) error {
			return unix.Linkat(packed, "", confine.Dir, "hard2", unix.AT_EMPTY_PATH)
		}},
		{"rename to the outside", true, func(p prison) error {
			touch("mine")
			return unix.Renameat(confine.Dir, "mine", unix.AT_FDCWD, p.outside+"/renamed")
		}},
		{"rename to dot dot", false, func(p prison) error {
			touch("mine2")
			if err := unix.Renameat(confine.Dir, "mine2", confine.Dir, "../mine2"); err != nil {
				return err
			}
			// ".." is the directory itself.
			return unix.Faccessat(confine.Dir, "mine2", unix.F_OK, 0)
		}},
		{"rename of a file outside", false, func(p prison) error { return unix.Renameat(unix.AT_FDCWD, p.outside+"/secret", confine.Dir, "taken") }},
		{"remove a file", false, func(p prison) error { return unix.Unlink(p.outside + "/secret") }},
		{"packed file: write", false, func(p prison) error { _, err := unix.Pwrite(packed, []byte("x"), 0); return err }},
		{"packed file: truncate", false, func(p prison) error { return unix.Ftruncate(packed, 0) }},
		{"packed file: mode", true, func(p prison) error { return unix.Fchmod(packed, 0o777) }},
		{"packed file: owner", true, func(p prison) error { return unix.Fchown(packed, 12, 12) }},
		{"packed file: owner, by fchownat", true, func(p prison) error { return unix.Fchownat(packed, "", 12, 12, unix.AT_EMPTY_PATH) }},
		{"packed file: times", true, func(p prison) error {
			return unix.UtimesNanoAt(packed, "", make([]unix.Timespec, 2), unix.AT_EMPTY_PATH)
		}},
		{"packed file: attribute", true, func(p prison) error { return unix.Fsetxattr(packed, "user.x", []byte("y"), 0) }},
		{"packed file: lock", true, func(p prison) error { return unix.Flock(packed, unix.LOCK_EX|unix.LOCK_NB) }},
		{"packed file: another descriptor", true, func(p prison) error {
			fd, err := unix.FcntlInt(packed, unix.F_DUPFD_CLOEXEC, 50)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"mode of a stream", true, func(p prison) error { return unix.Fchmod(2, 0o777) }},
		{"flags of a stream", true, func(p prison) error { _, err := unix.FcntlInt(2, unix.F_SETFL, unix.O_APPEND); return err }},
		{"a descriptor that was left", false, func(p prison) error {
			for fd := packed + 1; fd < 400; fd++ {
				var st unix.Stat_t
				if err := unix.Fstat(fd, &st); err != nil {
					continue
				}
				if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFDIR || kind == unix.S_IFREG || kind == unix.S_IFSOCK {
					return nil
				}
			}
			return unix.EBADF
		}},
		{"inet socket", true, socket(unix.AF_INET, unix.SOCK_STREAM)},
		{"inet6 socket", true, socket(unix.AF_INET6, unix.SOCK_DGRAM)},
		{"unix socket", true, socket(unix.AF_UNIX, unix.SOCK_STREAM)},
		{"netlink socket", true, socket(unix.AF_NETLINK, unix.SOCK_RAW)},
		{"packet socket", true, socket(unix.AF_PACKET, unix.SOCK_RAW)},
		{"socket pair", true, func(p prison) error {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				unix.Close(pair[0])
				unix.Close(pair[1])
			}
			return err
		}},
		{"connect to a unix socket", true, func(p prison) error { return dial("unix", p.outside+"/socket") }},
		{"connect to an abstract socket", true, func(p prison) error { return dial("unix", "@"+p.outside) }},
		{"signal the parent", true, func(p prison) error { return unix.Kill(p.parent, 0) }},
		{"signal a thread of the parent", true, func(p prison) error { return unix.Tgkill(p.parent, p.parent, 0) }},
		{"signal all", false, func(p prison) error { return unix.Kill(-1, 0) }},
		{"pidfd of the parent", true, func(p prison) error {
			fd, err := unix.PidfdOpen(p.parent, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"memory of the parent", false, func(p prison) error {
			b := make([]byte, 8)
			_, err := unix.ProcessVMReadv(p.parent, []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
			return err
		}},
		{"trace the parent", false, func(p prison) error { return unix.PtraceAttach(p.parent) }},
		{"limits of the parent", true, func(p prison) error {
			var r unix.Rlimit
			return unix.Prlimit(p.parent, unix.RLIMIT_NOFILE, nil, &r)
		}},
		{"raise a limit", false, func(p prison) error {
			var r unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
				return err
			}
			r.Max++
			return unix.Setrlimit(unix.RLIMIT_NOFILE, &r)
		}},
		{"mount", false, func(p prison) error { return unix.Mount("none", "/", "tmpfs", 0, "") }},
		{"bind mount", false, func(p prison) error { return unix.Mount(p.outside, "/", "", unix.MS_BIND, "") }},
		{"unmount", false, func(p prison) error { return unix.Unmount("/", unix.MNT_DETACH) }},
		{"open_tree", true, func(p prison) error {
			fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLOEXEC)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"fsopen", true, func(p prison) error {
			fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"chroot", false, func(p prison) error { return unix.Chroot(".") }},
		{"pivot_root", false, func(p prison) error { return unix.PivotRoot(".", ".") }},
		{"new user namespace", false, func(p prison) error { return unix.Unshare(unix.CLONE_NEWUSER) }},
		{"new mount namespace", false, func(p prison) error { return unix.Unshare(unix.CLONE_NEWNS) }},
		{"setns", false, func(p prison) error { return denied(unix.Setns(confine.Dir, 0)) }},
		{"become another user", false, func(p prison) error { return denied(unix.Setresuid(7, 7, 7)) }},
		{"all capabilities", false, func(p prison) error {
			data := [2]unix.CapUserData{{Effective: 1<<32 - 1, Permitted: 1<<32 - 1}}
			return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
		}},
		{"be looked into", false, func(p prison) error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }},
		{"fork", false, call(unix.SYS_CLONE, 1<<63)},
		{"clone3", false, call(unix.SYS_CLONE3)},
		{"execute", false, func(p prison) error {
			touch("program")
			unix.Fchmodat(confine.Dir, "program", 0o755, 0)
			return denied(unix.Exec("/program", []string{"program"}, nil))
		}},
		{"execute by descriptor", false, call(unix.SYS_EXECVEAT, confine.Dir, 0, 0, 0, unix.AT_EMPTY_PATH)},
		{"code in memory", true, func(p prison) error {
			b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			if err == nil {
				unix.Munmap(b)
			}
			return err
		}},
		{"memory to code", true, func(p prison) error {
			b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			if err != nil {
				return fmt.Errorf("mmap: %w", err)
			}
			defer unix.Munmap(b)
			return unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
		}},
		{"block device", true, func(p prison) error {
			return unix.Mknodat(confine.Dir, "block", unix.S_IFBLK|0o600, int(unix.Mkdev(250, 250)))
		}},
		{"character device", true, func(p prison) error {
			return unix.Mknodat(confine.Dir, "null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
		}},
		{"open a whiteout", false, func(p prison) error {
			if err := unix.Mknodat(confine.Dir, "whiteout", unix.S_IFCHR, 0); err != nil && err != unix.EEXIST {
				return fmt.Errorf("make it: %w", err)
			}
			fd, err := unix.Openat(confine.Dir, "whiteout", unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"trusted attribute", true, func(p prison) error { return unix.Fsetxattr(stagingFD(), "trusted.overlay.opaque", []byte("y"), 0) }},
	}
	for _, nr := range []struct {
		name string
		nr   uintptr
	}{
		{"bpf", unix.SYS_BPF}, {"io_uring_setup", unix.SYS_IO_URING_SETUP}, {"io_uring_enter", unix.SYS_IO_URING_ENTER}, {"userfaultfd", unix.SYS_USERFAULTFD},
		{"keyctl", unix.SYS_KEYCTL}, {"add_key", unix.SYS_ADD_KEY}, {"request_key", unix.SYS_REQUEST_KEY}, {"perf_event_open", unix.SYS_PERF_EVENT_OPEN},
		{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV}, {"ptrace", unix.SYS_PTRACE}, {"kcmp", unix.SYS_KCMP}, {"pidfd_getfd", unix.SYS_PIDFD_GETFD},
		{"fanotify_init", unix.SYS_FANOTIFY_INIT}, {"inotify_init1", unix.SYS_INOTIFY_INIT1}, {"memfd_create", unix.SYS_MEMFD_CREATE},
		{"name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT}, {"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT}, {"seccomp", unix.SYS_SECCOMP},
		{"landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET}, {"finit_module", unix.SYS_FINIT_MODULE}, {"kexec_load", unix.SYS_KEXEC_LOAD},
		{"delete_module", unix.SYS_DELETE_MODULE}, {"swapon", unix.SYS_SWAPON}, {"quotactl", unix.SYS_QUOTACTL}, {"syslog", unix.SYS_SYSLOG},
		{"acct", unix.SYS_ACCT}, {"settimeofday", unix.SYS_SETTIMEOFDAY}, {"personality", unix.SYS_PERSONALITY}, {"move_mount", unix.SYS_MOVE_MOUNT},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR}, {"fsconfig", unix.SYS_FSCONFIG}, {"ioctl", unix.SYS_IOCTL}, {"dup", unix.SYS_DUP}, {"dup3", unix.SYS_DUP3},
		{"splice", unix.SYS_SPLICE}, {"vmsplice", unix.SYS_VMSPLICE}, {"shmget", unix.SYS_SHMGET}, {"msgget", unix.SYS_MSGGET}, {"semget", unix.SYS_SEMGET},
		{"mq_open", unix.SYS_MQ_OPEN}, {"rt_sigqueueinfo", unix.SYS_RT_SIGQUEUEINFO}, {"setpriority", unix.SYS_SETPRIORITY}, {"sched_setaffinity", unix.SYS_SCHED_SETAFFINITY},
		{"ioprio_set", unix.SYS_IOPRIO_SET}, {"setdomainname", unix.SYS_SETDOMAINNAME}, {"membarrier", unix.SYS_MEMBARRIER}, {"mlockall", unix.SYS_MLOCKALL},
		{"a call that is none", 100000},
	} {
		list = append(list, attempt{nr.name, false, call(nr.nr)})
	}
	if runtime.GOARCH == "amd64" {
		list = append(list, attempt{"a call of another kind", false, call(0x40000000 + 39)}) // x32's getpid
	}
	return list
}

// climbs opens ".." and reports success when that is another directory.
func climbs(dir int) error {
	fd, err := unix.Openat(dir, "..", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var here, above unix.Stat_t
	if err := errors.Join(unix.Fstat(confine.Dir, &here), unix.Fstat(fd, &above)); err != nil {
		return err
	}
	if here.Ino == above.Ino && here.Dev == above.Dev {
		return unix.ELOOP
	}
	return nil
}

func touch(name string) {
	if fd, err := unix.Openat(confine.Dir, name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600); err == nil {
		unix.Close(fd)
	}
}

func stagingFD() int {
	fd, _ := unix.Openat(confine.Dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fd
}

func dial(network, address string) error {
	c, err := net.Dial(network, address)
	if err == nil {
		c.Close()
	}
	return err
}

// denied is for calls that fail by themselves as well.
func denied(err error) error {
	if err == unix.EPERM || err == unix.EACCES {
		return err
	}
	return nil
}

// captive tries everything, one line each, and then what a worker needs.
func captive(args []string) error {
	p := prison{outside: args[0]}
	p.parent, _ = strconv.Atoi(args[1])
	for _, a := range attempts() {
		if args[2] == "free" && !a.free {
			continue
		}
		if err := a.try(p); err == nil {
			fmt.Println("succeeded:", a.name)
		} else {
			fmt.Println("failed:", a.name+":", err)
		}
	}
	if fd, err := unix.Openat(confine.Dir, "allowed", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600); err != nil {
		return err
	} else if _, err := unix.Write(fd, []byte("yes")); err != nil {
		return err
	}
	fmt.Println("environment:", len(syscall.Environ()))
	return nil
}

// letLoose runs the captive and returns its lines. What is outside must be as
// before.
func letLoose(t *testing.T, confined bool) []string {
	t.Helper()
	base := t.TempDir()
	outside, root := filepath.Join(base, "outside"), filepath.Join(base, "root")
	for _, dir := range []string{outside, root} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(outside, "socket"), "@" + outside} {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	packedPath := filepath.Join(base, "packed")
	if err := os.WriteFile(packedPath, []byte("packed"), 0o600); err != nil {
		t.Fatal(err)
	}
	packed, err := os.Open(packedPath)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before, beforePacked := tree(t, outside), tree(t, packedPath)
	mode := "all"
	if !confined {
		mode = "free"
	}
	said := make(chan string, 1)
	go func() { b, _ := io.ReadAll(r); said <- string(b) }()
	// Its own file: what is free changes the mode of its streams, and without one that would be the host's /dev/null.
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	args := []string{outside, strconv.Itoa(os.Getpid()), mode}
	if confined {
		err = userns.Worker{Name: "captive", Args: args, Stdout: w, Files: []*os.File{dir, packed}, Confined: true}.Run(t.Context())
	} else {
		c := exec.Command("/proc/self/exe")
		c.Args, c.ExtraFiles = append([]string{"loper-worker:captive"}, args...), []*os.File{dir, packed}
		c.Stdout, c.Stderr = w, stderr
		err = c.Run()
	}
	w.Close()
	text := <-said
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if confined {
		sameTree(t, tree(t, outside), before)
		sameTree(t, tree(t, packedPath), beforePacked)
		if info, err := os.Stat(filepath.Join(root, "allowed")); err != nil || info.Size() != 3 {
			t.Errorf("what a worker is for: %v, %v", info, err)
		}
		if names, _ := os.ReadDir(base); len(names) != 3 {
			t.Errorf("something new lies beside the directory: %v", names)
		}
		above, err := os.Open(base)
		if err != nil {
			t.Fatal(err)
		}
		defer above.Close()
		if err := Remove(above, "root"); err != nil {
			t.Error(err)
		}
	}
	return strings.Split(strings.TrimSpace(text), "\n")
}

func testTakenOver(t *testing.T) {
	lines := letLoose(t, true)
	if len(lines) != len(attempts())+1 || lines[len(lines)-1] != "environment: 0" {
		t.Errorf("%d attempts, and at the end %q", len(lines)-1, lines[len(lines)-1])
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "succeeded:") {
			t.Error(line)
		}
	}
}

// TestTakenOverWorker lets a worker do what an attacker would.
func TestTakenOverWorker(t *testing.T) {
	needRoot(t)
	testTakenOver(t)
	// The attempts are worth something: without confinement root can do them.
	for _, line := range letLoose(t, false) {
		if strings.HasPrefix(line, "failed:") {
			t.Errorf("unconfined: %s", line)
		}
	}
}

func TestTakenOverWorkerAsUser(t *testing.T) {
	if asUser(t, true) {
		testTakenOver(t)
	}
}

func TestTakenOverWorkerOfOneID(t *testing.T) {
	if asUser(t, false) {
		testTakenOver(t)
	}
}
