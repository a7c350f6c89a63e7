package dns

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"loper.run/network"
)

func TestForward(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2", "127.0.0.3").start()
	g.want("example.org.", typeA, "Success 192.0.2.1")
	g.want("ExAmPlE.oRg.", typeA, "Success 192.0.2.1") // describe compares the case
	s.set(func(_, _ string, q dnsmessage.Message, _ []byte) [][]byte {
		m := respond(q, dnsmessage.RCodeSuccess)
		m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName(strings.ToLower(q.Questions[0].Name.String())), Type: q.Questions[0].Type, Class: q.Questions[0].Class}}
		m.Answers = append(m.Answers, alias("a.example.org.", "b.test."), record(dnsmessage.MustNewName("b.test."), "2001:db8::1"))
		return [][]byte{pack(m)}
	})
	g.want("A.Example.ORG.", typeAAAA, "Success ->b.test. 2001:db8::1")
	s.set(coded(dnsmessage.RCodeNameError))
	g.want("example.org.", typeA, "NameError")
	s.set(fixed())
	g.want("example.org.", dnsmessage.TypeTXT, "Success")
	g.want("org.", dnsmessage.TypeNS, "Success") // of one label, but not about a host
	g.want(".", dnsmessage.TypeNS, "Success")
	g.want("1.2.0.192.in-addr.arpa.", typePTR, "Success")
	for _, q := range s.questions() {
		if !strings.HasPrefix(q, "udp 127.0.0.2 ") {
			t.Errorf("the first server answers, and %s", q)
		}
	}
	g.want("www.", typeA, "NameError")
	g.want("example.org.", typeAXFR, "Refused")
	if list := s.questions(); list != nil {
		t.Errorf("went outside: %q", list)
	}
}

// Who is asked: the container's servers, else its networks', else the host's as
// they are now.
func TestNameservers(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2").start()
	asked := func(want string) {
		t.Helper()
		g.want("example.org.", typeA, "Success 192.0.2.1")
		if list := s.questions(); !slices.Equal(list, []string{"udp " + want + " example.org."}) {
			t.Errorf("%q, want %s", list, want)
		}
	}
	asked("127.0.0.2")
	g.nameservers("nonsense", "127.0.0.3")
	asked("127.0.0.3")
	e := endpoint("One", idOne)
	e.Nameservers = []netip.Addr{netip.MustParseAddr("127.0.0.4")}
	g.sandbox(network.Sandbox{Endpoints: []network.Endpoint{e}})
	asked("127.0.0.4")
	g.sandbox(network.Sandbox{Endpoints: []network.Endpoint{e}, Nameservers: []netip.Addr{netip.MustParseAddr("127.0.0.2")}})
	asked("127.0.0.2")
}

// CVE-2024-29018: a container that has only internal networks does not reach
// the world by asking for names either.
func TestInternalNetworksHaveNoUpstream(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2").start()
	e := endpoint("One", idOne, "10.89.0.2/24")
	e.Internal = true
	e.Nameservers = []netip.Addr{netip.MustParseAddr("127.0.0.3")}
	for _, sb := range []network.Sandbox{
		{Endpoints: []network.Endpoint{e}, Nameservers: []netip.Addr{netip.MustParseAddr("127.0.0.2")}},
		{Endpoints: []network.Endpoint{e, e}},
		{},
	} {
		g.sandbox(sb)
		for _, kind := range []dnsmessage.Type{typeA, typeAAAA, dnsmessage.TypeTXT, dnsmessage.TypeMX, typePTR, typeANY, dnsmessage.TypeNS} {
			g.want("secret-data.attacker.example.", kind, "NameError")
		}
		g.want("4.3.2.1.in-addr.arpa.", typePTR, "NameError")
		c := g.dial()
		c.Write(framed(message(9, "secret-data.attacker.example.", typeA, 0)))
		if got := describe(t, readFramed(c), 9, "secret-data.attacker.example."); got != "NameError" {
			t.Error(got)
		}
	}
	g.name(idOne, "web", other, "10.89.0.3")
	g.sandbox(network.Sandbox{Endpoints: []network.Endpoint{e}})
	g.want("web.", typeA, "Success 10.89.0.3")
	if list := s.questions(); list != nil {
		t.Errorf("went outside: %q", list)
	}
}

func TestServersThatFail(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.9", "127.0.0.3").start() // nobody listens at the first
	begin := time.Now()
	g.want("example.org.", typeA, "Success 192.0.2.1")
	if d := time.Since(begin); d > patience/2 {
		t.Errorf("took %v", d)
	}
	g.nameservers("127.0.0.2", "127.0.0.3", "127.0.0.4")
	for _, code := range []dnsmessage.RCode{dnsmessage.RCodeServerFailure, dnsmessage.RCodeRefused, dnsmessage.RCodeNotImplemented} {
		s.set(func(transport, at string, q dnsmessage.Message, raw []byte) [][]byte {
			if at != "127.0.0.4" {
				return coded(code)(transport, at, q, raw)
			}
			return fixed("192.0.2.4")(transport, at, q, raw)
		})
		g.want("example.org.", typeA, "Success 192.0.2.4")
		s.set(coded(code))
		g.want("example.org.", typeA, strings.TrimPrefix(code.String(), "RCode"))
	}
	g.nameservers("127.0.0.9")
	g.want("example.org.", typeA, "ServerFailure")
	// A server from before EDNS.
	g.nameservers("127.0.0.2")
	s.set(func(_, _ string, q dnsmessage.Message, _ []byte) [][]byte {
		return [][]byte{pack(dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RCode: dnsmessage.RCodeFormatError}})}
	})
	g.want("example.org.", typeA, "FormatError")
}

// A server that loses packets or is slow costs time, and no answer.
func TestLossAndSlowness(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2", "127.0.0.3").start()
	var mu sync.Mutex
	seen := map[string]int{}
	s.set(func(transport, at string, q dnsmessage.Message, raw []byte) [][]byte {
		name := q.Questions[0].Name.String()
		mu.Lock()
		seen[name]++
		n := seen[name]
		mu.Unlock()
		switch {
		case name == "lost.example." && n < 3, name == "dead.example.":
			return nil
		case name == "slow.example.":
			time.Sleep(3 * time.Second)
		case name == "second.example." && at == "127.0.0.2":
			return nil
		}
		return fixed("192.0.2.5")(transport, at, q, raw)
	})
	var wg sync.WaitGroup
	for name, c := range map[string]struct {
		want  string
		about time.Duration
	}{
		"lost.example.":   {"Success 192.0.2.5", 2 * patience},
		"second.example.": {"Success 192.0.2.5", patience},
		"slow.example.":   {"Success 192.0.2.5", 3 * time.Second},
		"dead.example.":   {"ServerFailure", queryLife},
		"good.example.":   {"Success 192.0.2.5", 0},
	} {
		wg.Go(func() {
			begin := time.Now()
			g.want(name, typeA, c.want)
			if d := time.Since(begin); d < c.about-100*time.Millisecond || d > c.about+2*time.Second {
				t.Errorf("%s took %v, not about %v", name, d, c.about)
			}
		})
	}
	wg.Wait()
}

// Only the server's answer to this very question counts.
func TestForgedAnswers(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2").start()
	type forgery func(m *dnsmessage.Message)
	question := func(name string, kind dnsmessage.Type, class dnsmessage.Class) forgery {
		return func(m *dnsmessage.Message) {
			m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: class}}
		}
	}
	s.set(func(transport, at string, q dnsmessage.Message, raw []byte) (list [][]byte) {
		name := q.Questions[0].Name.String()
		for _, f := range []forgery{
			func(m *dnsmessage.Message) { m.ID++ },
			func(m *dnsmessage.Message) { m.ID ^= 0x8000 },
			func(m *dnsmessage.Message) { m.Response = false },
			func(m *dnsmessage.Message) { m.OpCode = 4 },
			func(m *dnsmessage.Message) { m.Questions = nil },
			func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) },
			question("x"+name[1:], typeA, dnsmessage.ClassINET),
			question(name, typeAAAA, dnsmessage.ClassINET),
			question(name, typeA, dnsmessage.ClassCHAOS),
			question("example.", typeA, dnsmessage.ClassINET),
		} {
			m := respond(q, dnsmessage.RCodeSuccess)
			m.Answers = append(m.Answers, record(q.Questions[0].Name, "192.0.2.66"))
			f(&m)
			list = append(list, pack(m))
		}
		good := fixed("192.0.2.1")(transport, at, q, raw)[0]
		return append(list, nil, []byte{1}, good[:11], good[:len(good)-1], good)
	})
	g.want("bank.example.", typeA, "Success 192.0.2.1")
}

// Answers from other places don't arrive at all, and each question is asked from
// another port with another number.
func TestSourcesAndNumbers(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	stranger, err := net.ListenPacket("udp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	g := newRig(t, nil, "127.0.0.2")
	g.r.host.port = pc.LocalAddr().(*net.UDPAddr).Port
	g.start()
	ports, ids := map[int]bool{}, map[uint16]bool{}
	go func() {
		buf := make([]byte, 1000)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			q.Unpack(buf[:n])
			ports[from.(*net.UDPAddr).Port], ids[q.ID] = true, true
			stranger.WriteTo(fixed("192.0.2.66")("", "", q, nil)[0], from)
			time.Sleep(time.Millisecond)
			pc.WriteTo(fixed("192.0.2.1")("", "", q, nil)[0], from)
		}
	}()
	for i := range 50 {
		g.want(fmt.Sprintf("n%d.example.", i), typeA, "Success 192.0.2.1")
	}
	if len(ports) < 45 || len(ids) < 48 {
		t.Errorf("50 questions came from %d ports with %d numbers", len(ports), len(ids))
	}
}

// A question that is sent again is not asked again; the oldest of too many are
// given up.
func TestPendingIsBounded(t *testing.T) {
	s := newServer(t)
	s.set(func(_, _ string, q dnsmessage.Message, raw []byte) [][]byte { return nil })
	g := newRig(t, s, "127.0.0.2").start()
	c, err := net.Dial("udp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const sent = maxPending + 50
	for i := range sent {
		m := message(uint16(i), fmt.Sprintf("n%d.example.", i), typeA, 0)
		c.Write(m)
		c.Write(m)
		time.Sleep(100 * time.Microsecond)
	}
	c.SetReadDeadline(time.Now().Add(700 * time.Millisecond))
	buf := make([]byte, 1000)
	failed := 0
	for {
		n, err := c.Read(buf)
		if err != nil {
			break
		}
		if got := describe(t, buf[:n], uint16(failed), fmt.Sprintf("n%d.example.", failed)); got != "ServerFailure" {
			t.Error(got)
		}
		failed++
	}
	if failed != sent-maxPending {
		t.Errorf("%d were given up, want %d", failed, sent-maxPending)
	}
	g.halt()
	if len(g.r.pending) != maxPending {
		t.Errorf("%d are pending", len(g.r.pending))
	}
	if n := len(s.questions()); n != sent {
		t.Errorf("%d were asked for", n)
	}
}

// The hooks for egress: what may be asked, and what was learned before the
// client was told.
func TestHooks(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2")
	var mu sync.Mutex
	var learned []string
	g.r.Allow = func(name string) bool { return strings.HasSuffix(name, "good.example") }
	g.r.Learned = func(name string, a netip.Addr, ttl uint32) {
		time.Sleep(20 * time.Millisecond) // a client that was told already would look too early
		mu.Lock()
		defer mu.Unlock()
		learned = append(learned, fmt.Sprintf("%s %v %d", name, a, ttl))
	}
	g.start()
	g.name(idOne, "web", other, "10.89.0.3")
	g.want("web.", typeA, "Success 10.89.0.3")
	g.want("bad.example.", typeA, "NameError")
	if list := s.questions(); list != nil || !slices.Equal(learned, []string{"web 10.89.0.3 0"}) { // a neighbour is learned as well
		t.Errorf("%q %q", list, learned)
	}
	learned = nil
	s.set(func(_, _ string, q dnsmessage.Message, raw []byte) [][]byte {
		m := respond(q, dnsmessage.RCodeSuccess)
		m.Answers = append(m.Answers, record(dnsmessage.MustNewName("c.example."), "192.0.2.3"), record(dnsmessage.MustNewName("elsewhere.example."), "192.0.2.66"),
			alias("WWW.good.example.", "b.example."), alias("b.example.", "C.example."), record(dnsmessage.MustNewName("c.example."), "2001:db8::3"))
		m.Additionals = append(m.Additionals, record(dnsmessage.MustNewName("www.good.example."), "192.0.2.67"))
		return [][]byte{pack(m)}
	})
	g.ask("www.GOOD.example.", typeA)
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"www.good.example 192.0.2.3 60", "www.good.example 2001:db8::3 60"}; !slices.Equal(learned, want) {
		t.Errorf("%q, want %q", learned, want)
	}
}

// A ring of aliases is no reason to stay.
func TestRingOfAliases(t *testing.T) {
	s := newServer(t)
	s.set(func(_, _ string, q dnsmessage.Message, raw []byte) [][]byte {
		m := respond(q, dnsmessage.RCodeSuccess)
		m.Answers = append(m.Answers, alias("a.example.", "b.example."), alias("b.example.", "a.example."))
		return [][]byte{pack(m)}
	})
	g := newRig(t, s, "127.0.0.2")
	g.r.Learned = func(string, netip.Addr, uint32) {}
	g.start()
	g.want("a.example.", typeA, "Success ->b.example. ->a.example.")
}
