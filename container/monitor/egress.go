package monitor

import (
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/netns"
	"loper.run/internal/nft"
	"loper.run/network"
	"loper.run/network/egress"
)

// guard is what the monitor does for the rules of --egress: it tells the packet
// filter of the container's namespace which addresses its resolver gave, and the
// container's log what was refused.
type guard struct {
	words   string // the rules, as they were given; "": there are none
	filter  int    // a socket for the packet filter there; -1: none
	refused int    // a socket that hears what is refused; -1: nobody wants to know
	// What is said of it goes through a pipe, and so takes the way of all output.
	told source
	tell int

	rules *egress.Rules
	conn  *nft.Conn
}

func noGuard() guard { return guard{filter: -1, refused: -1, tell: -1, told: source{fd: -1}} }

// prepare puts the rules into the namespace, where nothing has run yet, and
// notes which one that is.
func (g *guard) prepare(s *network.Sandbox, namespace *os.File) error {
	rules, err := egress.Parse(s.Egress)
	if rules == nil || err != nil {
		return err
	}
	var at unix.Stat_t
	if err := unix.Fstat(int(namespace.Fd()), &at); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	s.Guarded = at.Ino
	g.words = strings.ReplaceAll(strings.Join(s.Egress, ","), " ", "")
	wants := []netns.Want{netns.Netlink(unix.NETLINK_NETFILTER), netns.Netlink(unix.NETLINK_NETFILTER)}
	if s.EgressLog {
		wants = append(wants, netns.Netlink(unix.NETLINK_NETFILTER))
	}
	fds, err := netns.Open(namespace, wants...)
	if err != nil {
		return err
	}
	g.filter = fds[1]
	if s.EgressLog {
		g.refused = fds[2]
		if err := egress.Listen(g.refused); err != nil {
			return err
		}
		ends := make([]int, 2)
		if err := unix.Pipe2(ends, unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return os.NewSyscallError("pipe2", err)
		}
		g.told.fd, g.tell = ends[0], ends[1]
	}
	c, err := nft.New(fds[0])
	if err != nil {
		return err
	}
	defer c.Close()
	return rules.Install(c, s.EgressLog)
}

// openGuard lets the resolver obey the rules. Without them it would answer
// everything, so what fails here leaves it silent.
func (s *server) openGuard() {
	g := &s.guard
	if g.words == "" || s.resolver == nil {
		return
	}
	var err error
	if g.rules, err = egress.Parse([]string{g.words}); err != nil || g.rules == nil {
		g.rules = &egress.Rules{}
	}
	if copied, err := unix.FcntlInt(uintptr(g.filter), unix.F_DUPFD_CLOEXEC, 3); err == nil {
		g.conn, _ = nft.New(copied)
	}
	s.resolver.Allow = func(name string) bool {
		allowed := g.conn != nil && g.rules.Allow(name)
		if !allowed {
			s.tellRefused("name " + name)
		}
		return allowed
	}
	s.resolver.Learned = func(name string, address netip.Addr, ttl uint32) {
		if g.conn != nil {
			// What the packet filter does not take it refuses later.
			_ = g.rules.Learn(g.conn, name, address, time.Duration(ttl)*time.Second)
		}
	}
	if g.refused >= 0 {
		s.watch(&source{fd: g.refused}, unix.EPOLLIN)
	}
}

// hearRefused takes what the packet filter tells.
func (s *server) hearRefused() {
	if s.guard.refused >= 0 {
		egress.Refusals(s.guard.refused, make([]byte, 8<<10), s.tellRefused)
	}
}

// tellRefused says what was refused, unless there is more of it than is read.
// The text comes from the container, and stays one line.
func (s *server) tellRefused(what string) {
	if s.guard.tell < 0 {
		return
	}
	line := []byte("loper: egress refused: " + what)
	for i, c := range line {
		if c < ' ' || c > '~' {
			line[i] = '?'
		}
	}
	if s.tty {
		line = append(line, '\r')
	}
	unix.Write(s.guard.tell, append(line, '\n'))
}
