package runtime

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// quiet keeps other processes from looking into this one: between entering the
// container and its execve it is more powerful than the container.
var quiet = launch.Op{
	Call: launch.Prctl, Args: []launch.Arg{launch.Flags(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), launch.Int(0)},
	Text: "keep others from tracing the start",
}

// The standard streams' Inputs.
var streamInputs = [3]string{"stdin", "stdout", "stderr"}

// gateInput names the listening socket whose first connection starts the
// container.
const gateInput = "gate"

// process compiles the part that init and exec share: from a process in the
// container's namespaces to the program that was asked for.
func (c *compiler) process(p *specs.Process, field string) error {
	caps, err := parseCapabilities(p.Capabilities, field+".capabilities", &c.warnings)
	if err != nil {
		return err
	}
	c.keepAvailable(&caps, field+".capabilities")
	if err := checkRlimits(p, field); err != nil {
		return err
	}
	if err := c.checkMapped(p.User, field+".user"); err != nil {
		return err
	}
	argv, err := c.findProgram(p, field)
	if err != nil {
		return err
	}
	c.streams(p, field)
	c.labels(p, field)
	if !c.set.NoKeyring {
		c.add(launch.Op{
			Call: launch.Keyctl, Args: []launch.Arg{launch.Flags(unix.KEYCTL_JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING"), launch.Int(0)},
			Text: "join a session keyring of its own", Accept: []launch.Accept{{Errno: unix.ENOSYS}},
		})
	}
	c.personality(c.spec.Linux.Personality)
	if err := c.memoryPolicy(); err != nil {
		return err
	}
	c.add(prctl(unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS", 1, "keep the capabilities over the change of user"))
	c.limitsByParent(p)
	c.bounding(caps, field)
	c.cwd(p, field)
	c.umask(p, field)
	c.signals()
	c.descriptors()
	if !p.NoNewPrivileges {
		c.seccomp()
	}
	c.user(p, field)
	c.capabilities(caps, field)
	if p.NoNewPrivileges {
		c.add(prctl(unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", 1, "give up new privileges"))
	}
	if c.set.Bound {
		c.bind2parent()
	}
	late := p.NoNewPrivileges && !c.filter.Notify
	if p.NoNewPrivileges && !late { // its maker has to hand the listener on
		c.seccomp()
	}
	c.wait()
	c.limitsByItself(p, field)
	// Behind the filter there is nothing but the execve: it need not allow
	// what only the start does.
	if len(argv) > 0 {
		c.add(launch.Op{Call: launch.Ready, Text: "begin the program"})
	}
	if late {
		c.seccomp()
	}
	c.exec(p, argv, field)
	return nil
}

func (c *compiler) umask(p *specs.Process, field string) {
	umask := uint32(0o022)
	if p.User.Umask != nil {
		umask = *p.User.Umask
	}
	c.add(launch.Op{Call: launch.Umask, Args: []launch.Arg{launch.Int(umask)}, Text: "set the umask", Field: field + ".user.umask"})
}

func prctl(option int, name string, arg uintptr, text string) launch.Op {
	return launch.Op{Call: launch.Prctl, Args: []launch.Arg{launch.Flags(option, name), launch.Int(arg), launch.Int(0), launch.Int(0), launch.Int(0)}, Text: text}
}

// streams makes the terminal or the given files the standard streams.
func (c *compiler) streams(p *specs.Process, field string) {
	c.add(launch.Op{Call: launch.Setsid, Text: "begin a session", Accept: []launch.Accept{{Errno: unix.EPERM}}})
	for i, name := range streamInputs {
		from := launch.Input(name)
		if p.Terminal {
			from = launch.Result(c.console)
		}
		c.add(launch.Op{
			Call: launch.Dup3, Args: []launch.Arg{from, launch.Int(i), launch.Int(0)}, Text: "take " + name,
			Accept: []launch.Accept{{Errno: unix.EINVAL}}, // it has that number already
		})
	}
	if p.Terminal {
		c.add(launch.Op{Call: launch.Ioctl, Args: []launch.Arg{launch.Int(0), launch.Flags(unix.TIOCSCTTY, "TIOCSCTTY"), launch.Int(0)}, Text: "take the terminal", Field: field + ".terminal"})
	}
}

// cwd goes to the working directory while the process still may; magic links
// are refused, so it lies in the root.
func (c *compiler) cwd(p *specs.Process, field string) {
	dir := c.p.NewSlot()
	text := "go to the working directory " + p.Cwd
	c.add(
		c.openIn(p.Cwd, unix.O_PATH|unix.O_DIRECTORY, dir, text, field+".cwd"),
		launch.Op{Call: launch.Fchdir, Args: []launch.Arg{launch.Result(dir)}, Text: text, Field: field + ".cwd"},
	)
}

// user changes to the process's user and groups.
func (c *compiler) user(p *specs.Process, field string) {
	u := p.User
	if !c.host.SetgroupsDenied {
		groups := make([]byte, 0, 4*len(u.AdditionalGids))
		for _, g := range u.AdditionalGids {
			groups = append(groups, byte(g), byte(g>>8), byte(g>>16), byte(g>>24))
		}
		c.add(launch.Op{Call: launch.Setgroups, Args: []launch.Arg{launch.Int(len(u.AdditionalGids)), launch.Bytes(groups)}, Text: "set the additional groups", Field: field + ".user.additionalGids"})
	}
	id := func(call launch.Call, id uint32, what, key string) launch.Op {
		return launch.Op{Call: call, Args: []launch.Arg{launch.Int(id), launch.Int(id), launch.Int(id)}, Text: fmt.Sprintf("become %s %d", what, id), Field: field + ".user." + key}
	}
	c.add(id(launch.Setresgid, u.GID, "group", "gid"), id(launch.Setresuid, u.UID, "user", "uid"))
}

// signals undoes what the caller set: a container starts with no signal
// blocked and none ignored.
func (c *compiler) signals() {
	reset := launch.Bytes(make([]byte, 32)) // struct sigaction with SIG_DFL
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCHLD, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGWINCH} {
		c.add(launch.Op{Call: launch.Sigaction, Args: []launch.Arg{launch.Int(int(sig)), reset, launch.Int(0), launch.Int(8)}, Text: "reset the signal " + unix.SignalName(sig)})
	}
	c.add(launch.Op{Call: launch.Sigprocmask, Args: []launch.Arg{launch.Int(unix.SIG_SETMASK), launch.Bytes(make([]byte, 8)), launch.Int(0), launch.Int(8)}, Text: "unblock the signals"})
}

// bind2parent makes the container die with the thread that launched it. If
// that is gone already, the socket to it is closed.
func (c *compiler) bind2parent() {
	c.add(
		prctl(unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG", uintptr(unix.SIGKILL), "die with the monitor"),
		launch.Op{
			Call: launch.Recvfrom, Args: []launch.Arg{launch.Input(launch.Parent), c.p.NewBuffer(), launch.Int(1), launch.Flags(unix.MSG_DONTWAIT|unix.MSG_PEEK, "MSG_DONTWAIT|MSG_PEEK"), launch.Int(0), launch.Int(0)},
			Want: &never, Text: "see that the monitor lives", Accept: []launch.Accept{{Errno: unix.EAGAIN}},
		},
	)
}

// never is a result that no call has: only its accepted errors count.
var never = int64(-1)

// wait lets no container live that nobody knows of: one that will outlive its
// maker goes on only when the maker has recorded it. A created one waits for
// its start then, and what fails from there on is told to whoever starts it.
func (c *compiler) wait() {
	if c.set.Gate || c.set.Recorded {
		c.add(launch.Op{Call: launch.Announce, Text: announceCreated})
		c.p.Await("wait to be recorded", 0)
	}
	if c.set.Gate {
		c.gate()
	}
	c.hooksAtStart()
}

func (c *compiler) gate() {
	conn := c.p.NewSlot()
	c.add(
		launch.Op{Call: launch.Accept4, Args: []launch.Arg{launch.Input(gateInput), launch.Int(0), launch.Int(0), launch.Flags(unix.SOCK_CLOEXEC, "SOCK_CLOEXEC")}, Result: conn, Text: "wait for the start"},
		launch.Op{Call: launch.ReportTo, Args: []launch.Arg{launch.Result(conn)}, Text: "report to who starts it"},
	)
}

// descriptors marks everything but the standard streams and what the caller
// preserves to be closed by the execve.
func (c *compiler) descriptors() {
	first := 3 + c.set.PreserveFDs
	for fd := 3; fd < first; fd++ {
		c.add(launch.Op{Call: launch.Fcntl, Args: []launch.Arg{launch.Int(fd), launch.Flags(unix.F_SETFD, "F_SETFD"), launch.Int(0)}, Text: fmt.Sprintf("preserve descriptor %d", fd)})
	}
	c.add(launch.Op{
		Call: launch.CloseRange, Args: []launch.Arg{launch.Int(first), launch.Int(^uint32(0)), launch.Flags(unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC")},
		Text: "close all other descriptors",
	})
}

// findProgram compiles the look-up of the program, so that a missing one fails
// at create, and returns the paths to try.
func (c *compiler) findProgram(p *specs.Process, field string) ([]string, error) {
	if len(p.Args) == 0 {
		return nil, nil
	}
	name := p.Args[0]
	if name == "" {
		return nil, badField(field+".args[0]", "is empty")
	}
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, dir := range strings.Split(pathOf(p.Env), ":") {
			if dir == "" || !path.IsAbs(dir) {
				continue // the working directory is no place to find programs in
			}
			candidates = append(candidates, path.Join(dir, name))
		}
		if len(candidates) == 0 {
			return nil, badField(field+".args[0]", "%q can't be found: PATH has no absolute directory", name)
		}
	} else if !path.IsAbs(name) {
		candidates[0] = path.Join(p.Cwd, name)
	}
	text := "find the program " + name
	for i, candidate := range candidates {
		left := len(candidates) - 1 - i
		op := launch.Op{
			Call: launch.Faccessat2, Args: []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(candidate), launch.Flags(unix.X_OK, "X_OK"), launch.Flags(unix.AT_EACCESS, "AT_EACCESS")},
			Text: text, Field: field + ".args[0]", Skip: left,
		}
		if left > 0 {
			op.Accept = []launch.Accept{{Errno: unix.ENOENT}, {Errno: unix.ENOTDIR}, {Errno: unix.EACCES}}
		}
		c.add(op)
	}
	return candidates, nil
}

// defaultPath is used when the environment has no PATH, as execvp(3) does.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func pathOf(env []string) string {
	for _, e := range slices.Backward(env) {
		if v, found := strings.CutPrefix(e, "PATH="); found {
			return v
		}
	}
	return defaultPath
}

// exec compiles the end of the program: one of the candidates is executed.
func (c *compiler) exec(p *specs.Process, candidates []string, field string) {
	if len(candidates) == 0 {
		c.add(launch.Op{
			Call: launch.Check, Args: []launch.Arg{c.p.NewBuffer(), launch.Int(0), launch.Int(int(unix.ENOEXEC)), launch.Int(1), launch.Int(1)},
			Text: "execute nothing: the container has no process", Field: field,
		})
	}
	for i, candidate := range candidates {
		op := launch.Op{
			Call: launch.Execve, Args: []launch.Arg{launch.String(candidate), launch.Strings(p.Args), launch.Strings(p.Env)},
			Text: "execute " + p.Args[0], Field: field + ".args[0]",
		}
		if i < len(candidates)-1 {
			op.Accept = []launch.Accept{{Errno: unix.ENOENT}, {Errno: unix.ENOTDIR}, {Errno: unix.EACCES}}
		}
		c.add(op)
	}
}
