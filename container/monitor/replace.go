package monitor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/logs"
)

// handoverEnv is the variable in which a monitor that replaces itself passes
// on what it holds.
const handoverEnv = "LOPER_MONITOR"

// Go's settings for the replacement: one thread that runs, and no collection
// of a heap that stays small; the limit is for the one that does not.
var slimEnv = []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=24MiB"}

// replace starts this program anew in the same process, without what starting
// a container left in its memory. The container stays: its parent, and the
// thread whose death would kill it, are the same. It returns only if the kernel
// refuses, or while the host's rules are looked at.
func (s *server) replace() {
	if s.heal.over != nil {
		return
	}
	s.slim = true
	s.suspendNames()
	env := append(cleanEnv(), slimEnv...)
	env = append(env, handoverEnv+"="+s.handover())
	for _, fd := range s.descriptors() {
		unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
	ignoreSignals()
	// Where the kernel gives huge pages unasked, one of them would be most of
	// what the replacement takes.
	_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0)
	syscall.Exec("/proc/self/exe", os.Args, env)
	catchSignals(s.pidfd)
	for _, fd := range s.descriptors() {
		unix.CloseOnExec(fd)
	}
	s.resumeNames()
}

// cleanEnv is the environment the monitor was started with.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case handoverEnv, "GOMAXPROCS", "GOGC", "GOMEMLIMIT":
		default:
			env = append(env, v)
		}
	}
	return env
}

// descriptors are those that live on in the replacement.
func (s *server) descriptors() []int {
	var fds []int
	for _, f := range s.fields() {
		if f.fd && *f.value >= 0 {
			fds = append(fds, *f.value)
		}
	}
	for _, c := range s.clients {
		fds = append(fds, c.fd)
	}
	return append(fds, s.asking...)
}

// field is a number that is handed over.
type field struct {
	name  string
	value *int
	fd    bool
}

func (s *server) fields() []field {
	return []field{
		{"lock", &s.lock, true}, {"config", &s.configFd, true}, {"listener", &s.listener, true},
		{"pidfd", &s.pidfd, true}, {"slave", &s.slave, true},
		{"udp", &s.names.UDP, true}, {"tcp", &s.names.TCP, true}, {"run", &s.names.Run, true},
		{"filter", &s.guard.filter, true}, {"refused", &s.guard.refused, true}, {"told", &s.guard.told.fd, true}, {"tell", &s.guard.tell, true},
		{"networks", &s.names.Networks, true}, {"pending", &s.names.Pending, true},
		{"queue", &s.heal.queue.fd, true}, {"turn", &s.heal.turn, true}, {"ears", &s.heal.ears.fd, true}, {"rest", &s.heal.rest, false},
		{"user", &s.space.user, true}, {"net", &s.space.net, true}, {"carrier", &s.space.carrier.fd, true}, {"changes", &s.space.changes.fd, true},
		{"in", &s.in.fd, true}, {"out", &s.out.fd, true}, {"err", &s.err.fd, true},
		{"pid", &s.pid, false}, {"files", &s.logConfig.MaxFiles, false},
	}
}

// times are points in time that are handed over, unless they are zero.
func (s *server) times() map[string]*time.Time {
	h := &s.heal
	return map[string]*time.Time{
		"started": &s.started, "due": &h.due, "since": &h.since, "next": &h.next, "mended": &h.mended, "said": &h.said,
	}
}

// handover is what the replacement has to know, as "name=value" words; the
// rest is the path of the log.
func (s *server) handover() string {
	var b strings.Builder
	for _, f := range s.fields() {
		fmt.Fprintf(&b, "%s=%d ", f.name, *f.value)
	}
	fmt.Fprintf(&b, "size=%d driver=%s tty=%t once=%t ", s.logConfig.MaxSize, s.logConfig.Driver, s.tty, s.stdinOnce)
	if s.guard.words != "" {
		fmt.Fprintf(&b, "egress=%s ", s.guard.words)
	}
	for name, t := range s.times() {
		if !t.IsZero() {
			fmt.Fprintf(&b, "%s=%d ", name, t.UnixNano())
		}
	}
	for _, c := range s.clients {
		fmt.Fprintf(&b, "client=%d,%t,%t,%t ", c.fd, c.stdin, c.removes, c.sized)
	}
	b.WriteString("log=" + s.logConfig.Path)
	return b.String()
}

// takeOver makes the server of a handover.
func takeOver(dir string, e engine, text string) (*server, error) {
	s := newServer(dir, e)
	s.slim = true
	ints := map[string]*int{}
	for _, f := range s.fields() {
		ints[f.name] = f.value
	}
	for text != "" {
		name, value, _ := strings.Cut(text, "=")
		if name == "log" {
			s.logConfig.Path = value
			break
		}
		value, text, _ = strings.Cut(value, " ")
		if err := s.take(ints, name, value); err != nil {
			return nil, fmt.Errorf("handover of %s: %w", name, err)
		}
	}
	for _, fd := range s.descriptors() {
		unix.CloseOnExec(fd)
	}
	s.retake()
	s.log, _ = logs.Open(s.logConfig) // without it the container runs on
	setComm(filepath.Base(os.Args[0]))
	return s, nil
}

// setComm sets the name that ps shows; after the replacement it is "exe".
// Without package os, which would bring its poller along.
func setComm(name string) {
	if fd, err := unix.Open("/proc/self/comm", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
		unix.Write(fd, []byte(name))
		unix.Close(fd)
	}
}

func (s *server) take(ints map[string]*int, name, value string) (err error) {
	switch name {
	case "started", "due", "since", "next", "mended", "said":
		var ns int64
		ns, err = strconv.ParseInt(value, 10, 64)
		*s.times()[name] = time.Unix(0, ns)
	case "size":
		s.logConfig.MaxSize, err = strconv.ParseInt(value, 10, 64)
	case "driver":
		s.logConfig.Driver = value
	case "tty":
		s.tty = value == "true"
	case "egress":
		s.guard.words = value
	case "once":
		s.stdinOnce = value == "true"
	case "client":
		v := strings.Split(value, ",")
		if len(v) != 4 {
			return strconv.ErrSyntax
		}
		c := &client{stdin: v[1] == "true", removes: v[2] == "true", sized: v[3] == "true"}
		c.fd, err = strconv.Atoi(v[0])
		s.clients = append(s.clients, c)
	default:
		p, ok := ints[name]
		if !ok {
			return strconv.ErrSyntax
		}
		*p, err = strconv.Atoi(value)
	}
	return err
}
