package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"loper.run/launch"
	"loper.run/runtime/criu"

	"golang.org/x/sys/unix"
)

// criuProcess is a running 'criu swrk'.
type criuProcess struct {
	process   *launch.Process
	socket    *os.File
	inherited []int // the numbers of the descriptors for restored processes
}

// criuStart is what a new criu process needs besides its program.
type criuStart struct {
	stdin   *os.File                    // where it looks for the caller's terminal, or nil
	tasks   launch.Files                // the files of cgroup v1 that it writes itself into, and others
	nTasks  int                         // how many
	into    *os.File                    // the cgroup v2 directory that it is born in, or nil
	enter   func(*launch.Process) error // moves it into its cgroups, or nil
	rootfs  string                      // the container's root file system, bound to root
	root    string                      // a directory of ours, or empty
	inherit []*os.File                  // for restored processes
}

// startCRIU starts criu as a container is started, by a program of system
// calls. It needs one for what stands between a fork and an execve: the cgroup,
// and a mount that nobody else sees.
func startCRIU(path string, c criuStart) (*criuProcess, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "criu"), os.NewFile(uintptr(pair[1]), "criu")
	defer theirs.Close()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer null.Close()
	given := launch.Files{"streams": null}
	if c.stdin != nil {
		given["streams"] = c.stdin
	}
	for name, f := range c.tasks {
		given[name] = f
	}
	// Descriptors keep their numbers over fork and execve: those that criu gets
	// to know are given theirs here.
	for i, f := range append([]*os.File{theirs}, c.inherit...) {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, aboveStreams)
		if err != nil {
			ours.Close()
			return nil, os.NewSyscallError("dup", err)
		}
		given[inheritInput(i)] = os.NewFile(uintptr(fd), f.Name())
		defer given[inheritInput(i)].Close()
	}
	p, err := launch.Start(compileCRIU(path, given, c), given, c.into)
	if err != nil {
		ours.Close()
		return nil, err
	}
	for err == nil {
		var text string
		if text, err = p.Next(); err == nil && text == announceCgroup {
			err = c.enter(p)
		}
	}
	if err != io.EOF {
		p.Abort()
		ours.Close()
		if errors.Is(err, unix.ENOENT) {
			err = errNoCRIU
		}
		return nil, err
	}
	p.Detach()
	started := &criuProcess{process: p, socket: ours}
	for i := range c.inherit {
		started.inherited = append(started.inherited, int(given[inheritInput(i+1)].Fd()))
	}
	return started, nil
}

// aboveStreams is a number that no standard stream has.
const aboveStreams = 3

// inheritInput names criu's socket, which is the first, and the descriptors of
// restored processes.
func inheritInput(i int) string { return "inherit " + strconv.Itoa(i) }

func compileCRIU(path string, given launch.Files, s criuStart) *launch.Program {
	c := &compiler{p: &launch.Program{}, host: Host{CgroupTasks: s.nTasks, CgroupByParent: s.enter != nil}}
	c.joinCgroup()
	c.awaitCgroup()
	if s.root != "" {
		c.p.Namespaces = unix.CLONE_NEWNS
		c.bindForCRIU(s.rootfs, s.root)
	}
	c.signals()
	for i := range streamInputs {
		c.add(launch.Op{
			Call: launch.Dup3, Args: []launch.Arg{launch.Input("streams"), launch.Int(i), launch.Int(0)}, Text: "take the standard streams",
			Accept: []launch.Accept{{Errno: unix.EINVAL}}, // it has that number already
		})
	}
	for i := range len(s.inherit) + 1 {
		c.add(launch.Op{
			Call: launch.Fcntl, Args: []launch.Arg{launch.Input(inheritInput(i)), launch.Flags(unix.F_SETFD, "F_SETFD"), launch.Int(0)}, Text: "keep " + inheritInput(i),
		})
	}
	socket := strconv.Itoa(int(given[inheritInput(0)].Fd()))
	c.add(launch.Op{
		Call: launch.Execve, Args: []launch.Arg{launch.String(path), launch.Strings([]string{filepath.Base(path), "swrk", socket}), launch.Strings(os.Environ())},
		Text: "execute " + path,
	})
	return c.p
}

// bindForCRIU makes the root file system a mount point, as criu wants it, in a
// mount namespace that ends with criu.
func (c *compiler) bindForCRIU(rootfs, at string) {
	tree := c.p.NewSlot()
	text := "bind the root file system " + rootfs
	c.add(
		launch.Op{
			Call: launch.MountSetattr,
			Args: []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String("/"), launch.Flags(unix.AT_RECURSIVE, "AT_RECURSIVE"), mountAttr(0, 0, unix.MS_PRIVATE), launch.Int(mountAttrSize)},
			Text: "keep criu's mounts from the host",
		},
		launch.Op{
			Call:   launch.OpenTree,
			Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(rootfs), launch.Flags(unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLONE|AT_RECURSIVE")},
			Result: tree, Text: text, Field: "root.path",
		},
		launch.Op{
			Call: launch.MoveMount,
			Args: []launch.Arg{launch.Result(tree), launch.String(""), launch.Int(unix.AT_FDCWD), launch.String(at), launch.Flags(unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")},
			Text: text, Field: "root.path",
		},
	)
}

// seen is a directory as criu sees it: on a mount of its own mount namespace,
// so that it can mount there.
func (p *criuProcess) seen(dir *os.File) (*os.File, error) {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(dir.Fd())))
	if err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/" + strconv.Itoa(p.process.Pid()) + "/root" + path)
	if errors.Is(err, os.ErrNotExist) {
		err = criu.ErrGone // it has no root any more
	}
	if err != nil {
		return nil, err
	}
	want, err := dir.Stat()
	if err == nil {
		var got os.FileInfo
		if got, err = f.Stat(); err == nil && !os.SameFile(want, got) {
			err = fmt.Errorf("%s is another directory by now", path)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// end waits for criu, which ends when its socket is closed.
func (p *criuProcess) end() {
	p.socket.Close()
	_, _ = p.process.Wait() // what it had to say came over the socket
	p.process.Close()
}
