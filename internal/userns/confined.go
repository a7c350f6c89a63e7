package userns

import (
	"errors"
	"sync/atomic"

	"loper.run/internal/confine"
	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// namespaces are what a worker lives in.
type namespaces struct {
	flags      uintptr
	uids, gids []specs.LinuxIDMapping
}

const confinedFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// withoutUser and without remember that the machine has no user namespaces, or
// none at all, to give.
var withoutUser, without atomic.Bool

// confined are the namespaces of a confined worker. Root's maps every id to
// itself: files get the owners that the layer says, while the rights over them
// are those of a user namespace.
func confined() (n namespaces, err error) {
	n.flags = confinedFlags
	if Privileged() {
		all := []specs.LinuxIDMapping{{Size: 1<<32 - 1}}
		n.uids, n.gids = all, all
	} else if n.uids, n.gids, err = Mappings(); err != nil {
		return n, err
	}
	if withoutUser.Load() {
		n.flags &^= unix.CLONE_NEWUSER
	}
	if without.Load() {
		n.flags = 0
	}
	return n, nil
}

// fewer takes namespaces away after a start failed, and reports whether it is
// worth another try. A user who has several ids can't do without.
func (n *namespaces) fewer(err error) bool {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EUSERS) && !errors.Is(err, unix.EINVAL) {
		return false
	}
	switch {
	case n.flags&unix.CLONE_NEWUSER != 0 && Privileged():
		withoutUser.Store(true)
		n.flags &^= unix.CLONE_NEWUSER
	case n.flags != 0 && (Privileged() || Single(n.uids) || Single(n.gids)):
		without.Store(true)
		n.flags = 0
	default:
		return false
	}
	return true
}

// enter makes the first file, a directory, the root directory, and returns the
// descriptor to use for it from then on. It is the root of a mount of its own:
// from there no ".." leads anywhere.
func (n *namespaces) enter(p *launch.Program) launch.Slot {
	p.Add(launch.Op{Call: launch.Fchdir, Args: []launch.Arg{launch.Input(fileName(0))}, Text: "enter the worker's directory"})
	chroot := launch.Op{Call: launch.Chroot, Args: []launch.Arg{launch.String(".")}, Text: "make the worker's directory the root directory"}
	if n.flags == 0 {
		chroot.Accept = []launch.Accept{{Errno: unix.EPERM}} // an ordinary user without namespaces
		p.Add(chroot)
		return launch.None
	}
	tree := p.NewSlot()
	p.Add(
		// The working directory comes along to the copies of the mounts; a
		// descriptor would stay with those of the caller.
		launch.Op{Call: launch.Unshare, Args: []launch.Arg{launch.Flags(unix.CLONE_NEWNS, "CLONE_NEWNS")}, Text: "make a mount namespace"},
		launch.Op{
			Call:   launch.OpenTree,
			Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String("."), launch.Flags(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC")},
			Result: tree,
			Text:   "clone the mount of the worker's directory",
		},
		launch.Op{Call: launch.Fchdir, Args: []launch.Arg{launch.Result(tree)}, Text: "enter the clone"},
		chroot,
	)
	return tree
}

// confine adds what takes everything away that the worker has no need of, and
// its execve. The program's descriptor was opened by the caller.
func (n *namespaces) confine(p *launch.Program, argv []string) {
	prctl := func(option int, name string, arg uint64, text string) launch.Op {
		return launch.Op{Call: launch.Prctl, Args: []launch.Arg{launch.Flags(option, name), launch.Int(arg), launch.Int(0), launch.Int(0), launch.Int(0)}, Text: text}
	}
	limit := func(resource int, most uint64, text string) launch.Op {
		return launch.Op{Call: launch.Prlimit, Args: []launch.Arg{launch.Int(0), launch.Int(resource), launch.Words(launch.Int(most), launch.Int(most)), launch.Int(0)}, Text: text}
	}
	p.Add(
		launch.Op{Call: launch.Dup3, Args: []launch.Arg{launch.Input("program"), launch.Int(confine.Program), launch.Flags(unix.O_CLOEXEC, "O_CLOEXEC")}, Text: "keep the program"},
		limit(unix.RLIMIT_CORE, 0, "write no core"),
		limit(unix.RLIMIT_NOFILE, confine.MaxFiles, "limit the descriptors"),
		limit(unix.RLIMIT_DATA, confine.MaxData, "limit the memory"),
		launch.Op{Call: launch.Umask, Args: []launch.Arg{launch.Int(0)}, Text: "take every mode as it is"},
		launch.Op{Call: launch.Setgroups, Args: []launch.Arg{launch.Int(0), launch.Int(0)}, Text: "leave all groups", Accept: []launch.Accept{{Errno: unix.EPERM}}},
		prctl(unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", 1, "gain no new privileges"),
	)
	if version := confine.Landlock(); version >= confine.Least {
		rules := p.NewSlot()
		attr := confine.Ruleset(version)
		add := func(rule []byte, text string) launch.Op {
			return launch.Op{Call: launch.LandlockAdd, Args: []launch.Arg{launch.Result(rules), launch.Int(unix.LANDLOCK_RULE_PATH_BENEATH), launch.Bytes(rule), launch.Int(0)}, Text: text}
		}
		p.Add(
			launch.Op{Call: launch.LandlockMake, Args: []launch.Arg{launch.Bytes(attr), launch.Int(len(attr)), launch.Int(0)}, Result: rules, Text: "make Landlock rules"},
			add(confine.DirRule(version), "allow the worker's directory"),
			add(confine.ProgramRule(), "allow the program"),
			launch.Op{Call: launch.LandlockSelf, Args: []launch.Arg{launch.Result(rules), launch.Int(0)}, Text: "apply the Landlock rules"},
		)
	}
	for bit := range uint64(confine.LastCapability + 1) {
		if confine.Capabilities&(1<<bit) == 0 {
			op := prctl(unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP", bit, "drop a capability from the bounding set")
			op.Accept = []launch.Accept{{Errno: unix.EINVAL}, {Errno: unix.EPERM}} // unknown; or there is none to begin with
			p.Add(op)
		}
	}
	n.capabilities(p)
	p.Add(launch.Op{Call: launch.Ready, Text: "ready"})
	if filter := confine.Filter(n.flags&unix.CLONE_NEWPID != 0); filter != nil {
		p.Add(launch.Op{
			Call: launch.Seccomp,
			Args: []launch.Arg{launch.Flags(unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"), launch.Int(0), launch.Words(launch.Int(len(filter)/8), launch.Bytes(filter))},
			Text: "load the seccomp filter",
		})
	}
	var env []string
	if n.flags&unix.CLONE_NEWPID == 0 {
		env = []string{"GODEBUG=asyncpreemptoff=1"} // the filter lets no thread interrupt another
	}
	p.Add(launch.Op{
		Call: launch.Execveat,
		Args: []launch.Arg{launch.Int(confine.Program), launch.String(""), launch.Strings(argv), launch.Strings(env), launch.Flags(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH")},
		Text: "execute " + argv[0],
	})
}

// capabilities leaves what is needed; an ordinary user without namespaces has none.
func (n *namespaces) capabilities(p *launch.Program) {
	const version3 = 0x20080522
	keep := uint64(confine.Capabilities)
	if n.flags == 0 && !Privileged() {
		keep = 0
	}
	p.Add(
		launch.Op{
			Call: launch.Prctl,
			Args: []launch.Arg{launch.Flags(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"), launch.Flags(unix.PR_CAP_AMBIENT_CLEAR_ALL, "PR_CAP_AMBIENT_CLEAR_ALL"), launch.Int(0), launch.Int(0), launch.Int(0)},
			Text: "clear the ambient capabilities",
		},
		launch.Op{
			Call: launch.Capset,
			Args: []launch.Arg{
				launch.Words(launch.Int(version3)),                                    // struct __user_cap_header_struct: version, pid 0
				launch.Words(launch.Int(keep|keep<<32), launch.Int(0), launch.Int(0)), // effective and permitted; inheritable; the upper halves
			},
			Text: "drop capabilities",
		},
	)
}
