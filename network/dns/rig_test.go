package dns

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"loper.run/network"
)

// rig is a resolver that works, and the files that it reads.
type rig struct {
	t        testing.TB
	r        *Resolver
	run      string // directory
	networks string
	addr     string // where it listens, by UDP and TCP
	stop     chan chan struct{}
	closes   bool
}

// The tests' networks.
const (
	idOne = "1111111111111111111111111111111111111111111111111111111111111111"
	idTwo = "2222222222222222222222222222222222222222222222222222222222222222"
	self  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	other = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// newRig makes a resolver for a container of network "One". The machine's
// resolvers are those of the addresses given, all on the port of upstream.
func newRig(t testing.TB, upstream *server, nameservers ...string) *rig {
	t.Helper()
	dir := t.TempDir()
	g := &rig{t: t, run: filepath.Join(dir, "run"), networks: filepath.Join(dir, "network")}
	for _, d := range []string{g.run, g.networks} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g.sandbox(network.Sandbox{Endpoints: []network.Endpoint{endpoint("One", idOne, "10.89.0.2/24", "fd00::2/64")}})
	fds := g.listen()
	var err error
	if g.r, err = New(fds); err != nil {
		t.Fatal(err)
	}
	g.r.host.path = filepath.Join(dir, "resolv.conf")
	g.nameservers(nameservers...)
	if upstream != nil {
		g.r.host.port = upstream.port
	}
	return g
}

// nameservers are those of the machine from now on.
func (g *rig) nameservers(list ...string) {
	g.t.Helper()
	text := "# the machine's\nsearch example.org\noptions edns0\n"
	for _, s := range list {
		text += "nameserver " + s + "\n"
	}
	tmp := filepath.Join(g.run, "..", "new")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(tmp, g.r.host.path); err != nil {
		g.t.Fatal(err)
	}
}

func endpoint(name, id string, addresses ...string) network.Endpoint {
	e := network.Endpoint{Network: name, NetworkID: id}
	for _, a := range addresses {
		p := netip.MustParsePrefix(a)
		e.Addresses = append(e.Addresses, p)
		e.Gateways = append(e.Gateways, p.Masked().Addr().Next())
	}
	return e
}

// sandbox puts a network.json into its place.
func (g *rig) sandbox(s network.Sandbox) {
	g.t.Helper()
	if err := s.Write(g.run); err != nil {
		g.t.Fatal(err)
	}
}

// name lets a container have a name and addresses in a network.
func (g *rig) name(id, name, container string, addresses ...string) {
	g.t.Helper()
	dir := filepath.Join(g.networks, id, "name", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		g.t.Fatal(err)
	}
	draft := filepath.Join(g.networks, id, "."+container)
	if err := os.WriteFile(draft, []byte(strings.Join(addresses, "\n")+"\n"), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(draft, filepath.Join(dir, container)); err != nil {
		g.t.Fatal(err)
	}
}

// listen opens what a resolver stands on.
func (g *rig) listen() Descriptors {
	g.t.Helper()
	fds := None
	for try := 0; ; try++ {
		fds.UDP, _ = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		fds.TCP, _ = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		at := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 11}}
		if err := unix.Bind(fds.UDP, at); err != nil {
			g.t.Fatal(err)
		}
		name, _ := unix.Getsockname(fds.UDP)
		at.Port = name.(*unix.SockaddrInet4).Port
		err := unix.Bind(fds.TCP, at)
		if err == nil {
			err = unix.Listen(fds.TCP, 16)
		}
		if err == nil {
			g.addr = fmt.Sprintf("127.0.0.11:%d", at.Port)
			break
		}
		if try == 20 {
			g.t.Fatal(err)
		}
		unix.Close(fds.UDP)
		unix.Close(fds.TCP)
	}
	fds.Run, _ = unix.Open(g.run, unix.O_PATH|unix.O_CLOEXEC, 0)
	fds.Networks, _ = unix.Open(g.networks, unix.O_PATH|unix.O_CLOEXEC, 0)
	return fds
}

// start lets the resolver work until the test ends.
func (g *rig) start() *rig {
	g.stop = make(chan chan struct{})
	go func() {
		for {
			select {
			case done := <-g.stop:
				close(done)
				return
			default:
			}
			wait := 20 // milliseconds, to look at stop
			if next := g.r.Next(); !next.IsZero() {
				wait = min(wait, max(0, int(time.Until(next).Milliseconds())+1))
			}
			unix.Poll([]unix.PollFd{{Fd: int32(g.r.Fd()), Events: unix.POLLIN}}, wait)
			g.r.Serve()
		}
	}()
	if !g.closes {
		g.closes = true
		g.t.Cleanup(func() {
			g.halt()
			g.r.Close()
		})
	}
	return g
}

// halt stops the work, for the test to look at the resolver.
func (g *rig) halt() {
	if g.stop != nil {
		done := make(chan struct{})
		g.stop <- done
		<-done
		g.stop = nil
	}
}

// message makes a question.
func message(id uint16, name string, kind dnsmessage.Type, edns int) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	b.StartQuestions()
	b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET})
	if edns > 0 {
		var h dnsmessage.ResourceHeader
		h.SetEDNS0(edns, 0, true)
		b.StartAdditionals()
		b.OPTResource(h, dnsmessage.OPTResource{})
	}
	m, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return m
}

// exchange sends a packet and returns the answer; nil: there was none.
func (g *rig) exchange(m []byte, wait time.Duration) []byte {
	g.t.Helper()
	c, err := net.Dial("udp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	c.Write(m)
	c.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 65536)
	n, err := c.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// dial connects by TCP.
func (g *rig) dial() net.Conn {
	g.t.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(15 * time.Second))
	g.t.Cleanup(func() { c.Close() })
	return c
}

func framed(m []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...) }

func readFramed(c io.Reader) []byte {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil
	}
	m := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, m); err != nil {
		return nil
	}
	return m
}

var lastID atomic.Uint32

// ask asks a name by UDP and returns the answer as one line: code, flags and
// records in their order.
func (g *rig) ask(name string, kind dnsmessage.Type) string {
	g.t.Helper()
	id := uint16(lastID.Add(1))
	return describe(g.t, g.exchange(message(id, name, kind, 0), 12*time.Second), id, name)
}

// describe prints an answer, after checking that it is one to the question.
func describe(t testing.TB, m []byte, id uint16, name string) string {
	t.Helper()
	if m == nil {
		return "nothing"
	}
	var a dnsmessage.Message
	if err := a.Unpack(m); err != nil {
		t.Fatalf("the answer to %s: %v: %x", name, err, m)
	}
	if a.ID != id || !a.Response || len(a.Questions) != 1 || a.Questions[0].Name.String() != name {
		t.Fatalf("not the answer to %s: %+v", name, a)
	}
	text := strings.TrimPrefix(a.RCode.String(), "RCode")
	if a.Truncated {
		text += " truncated"
	}
	for _, r := range a.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			text += " " + netip.AddrFrom4(body.A).String()
		case *dnsmessage.AAAAResource:
			text += " " + netip.AddrFrom16(body.AAAA).String()
		case *dnsmessage.PTRResource:
			text += " " + body.PTR.String()
		case *dnsmessage.CNAMEResource:
			text += " ->" + body.CNAME.String()
		default:
			text += " " + r.Header.Type.String()
		}
	}
	return text
}

// want asks and compares.
func (g *rig) want(name string, kind dnsmessage.Type, want string) {
	g.t.Helper()
	if got := g.ask(name, kind); got != want {
		g.t.Errorf("%s %v: %s; want %s", name, kind, got, want)
	}
}
