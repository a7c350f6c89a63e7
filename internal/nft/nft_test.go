package nft

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNewNamespace runs a test on a thread with a network namespace of its own.
func inNewNamespace(t testing.TB) *Conn {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("needs the right to make network namespaces: ", err)
	}
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// program runs a program in the thread's namespace, as its children do.
func program(t testing.TB, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skip(err)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", args, err, out)
	}
	return string(out)
}

func commit(t testing.TB, c *Conn, b *Batch) {
	t.Helper()
	if err := c.Commit(b); err != nil {
		t.Fatal(err)
	}
}

// What the kernel has of each kind of change is what nft's own language calls it.
func TestRuleset(t *testing.T) {
	c := inNewNamespace(t)
	var b Batch
	for _, f := range []Family{IP, IP6, Inet} {
		table := Table{Family: f, Name: "t"}
		b.AddTable(table)
		b.AddChain(Chain{Table: table, Name: "other"})
		chain := Chain{Table: table, Name: "forward", Type: Filter, Hook: Forward, Priority: -5, Drop: true}
		b.AddChain(chain)
		post := Chain{Table: table, Name: "post", Type: NAT, Hook: Postrouting, Priority: 100}
		b.AddChain(post)
		pre := Chain{Table: table, Name: "pre", Type: NAT, Hook: Prerouting, Priority: -100}
		b.AddChain(pre)
		names := Set{Table: table, Name: "names", Key: []Type{IfName}}
		b.AddSet(names)
		b.AddElements(names, Element{Key: Name("eth0"), Comment: "first"}, Element{Key: Name("loper0")})
		switch f {
		case IP:
			ports := Set{Table: table, Name: "ports", Key: []Type{IPv4Addr, Proto, Service}, Data: []Type{IPv4Addr, Service}}
			b.AddSet(ports)
			b.AddElements(ports, Element{
				Key:  Key(Addr(netip.MustParseAddr("192.0.2.1")), TCP, Port(8080)),
				Data: Key(Addr(netip.MustParseAddr("10.0.0.2")), Port(80)),
			})
			b.AddRule(pre, "", DNATOf(ports, DAddr4, L4Proto, DPort))
			nets := Set{Table: table, Name: "nets", Key: []Type{IPv4Addr}, Interval: true, Timeouts: true}
			b.AddSet(nets)
			b.AddElements(nets, Element{Key: []byte{10, 0, 0, 0}, End: []byte{10, 0, 0, 255}, Timeout: time.Hour}, Element{Key: []byte{224, 0, 0, 0}, End: []byte{255, 255, 255, 255}})
			b.AddRule(chain, "nets", In(nets, SAddr4), Reject(IP))
			b.AddRule(post, "", Is(OIFName, Name("eth0")), SNAT(netip.MustParseAddr("192.0.2.7"), 77))
			b.AddRule(chain, "", Is(L4Proto, TCP), Dup(netip.MustParseAddr("127.0.0.9"), 1), Reset())
		case IP6:
			ports := Set{Table: table, Name: "ports", Key: []Type{IPv6Addr, Proto, Service}, Data: []Type{IPv6Addr, Service}}
			b.AddSet(ports)
			b.AddElements(ports, Element{
				Key:  Key(Addr(netip.MustParseAddr("2001:db8::1")), UDP, Port(53)),
				Data: Key(Addr(netip.MustParseAddr("fd00::2")), Port(5353)),
			})
			b.AddRule(pre, "", DNATOf(ports, DAddr6, L4Proto, DPort))
			b.AddRule(post, "", Masquerade())
			b.AddRule(chain, "", Dup(netip.MustParseAddr("fd00::9"), 0))
			b.AddRule(pre, "", Is(L4Proto, TCP), DNAT(netip.MustParseAddr("fd00::3"), 81))
		case Inet:
			pairs := Set{Table: table, Name: "pairs", Key: []Type{IfName, Service}, Interval: true, Data: []Type{Verdicts}}
			b.AddSet(pairs)
			b.AddElements(pairs, Element{Key: Key(Name("eth0"), Port(80)), End: Key(Name("eth0"), Port(90)), Verdict: VerdictJump("other")})
			seen := Set{Table: table, Name: "seen", Key: []Type{IPv4Addr}, Timeouts: true, Dynamic: true, Size: 100}
			b.AddSet(seen)
			b.AddRule(chain, "several", Any(CtState, Established|Related), Counter(), Accept())
			b.AddRule(chain, "", Is(NFProto, []byte{byte(IP)}), Remember(seen, time.Minute, SAddr4))
			b.AddRule(chain, "", Is(L4Proto, TCP), VerdictOf(pairs, IIFName, DPort))
			b.AddRule(chain, "", NotIn(names, OIFName), None(CtStatus, StatusDNAT), Limit(5, time.Second, 10), Log("gone: "), Drop())
			b.AddRule(chain, "", Is(DAddrType, Uint32(unix.RTN_LOCAL)), SetMark(7), AddMark(0x30), SetCtMark(8), Goto("other"))
			b.AddRule(chain, "", Is(IIFName, []byte("veth")), Between(CtDPort, Port(10), Port(20)), LogGroup(3, "x", 64), Reject(Inet))
			b.InsertRule(chain, "head", Masked(MetaMark, Uint32(0xf0), Uint32(0x10)), Return())
			b.AddRule(pre, "", Is(L4Proto, UDP), Redirect(99))
		}
	}
	dormant := Table{Family: Bridge, Name: "asleep", Dormant: true}
	b.AddTable(dormant)
	commit(t, c, &b)
	got := strings.Join(strings.Fields(program(t, "nft", "list", "ruleset")), " ")
	for _, want := range []string{
		"table bridge asleep { flags dormant }",
		"type filter hook forward priority filter - 5; policy drop;",
		"type nat hook prerouting priority dstnat; policy accept;",
		`elements = { "eth0" comment "first", "loper0" }`,
		"type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
		"192.0.2.1 . tcp . 8080 : 10.0.0.2 . 80",
		"dnat ip to ip daddr . meta l4proto . th dport map @ports",
		"elements = { 10.0.0.0/24 timeout 1h expires",
		"224.0.0.0/3",
		`ip saddr @nets reject with icmp admin-prohibited comment "nets"`,
		`oifname "eth0" snat to 192.0.2.7:77`,
		`dup to 127.0.0.9 device "lo" reject with tcp reset`,
		"2001:db8::1 . udp . 53 : fd00::2 . 5353",
		"dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports",
		"masquerade",
		"dnat to [fd00::3]:81",
		`"eth0" . 80-90 : jump other`,
		`ct state established,related counter packets 0 bytes 0 accept comment "several"`,
		"update @seen { ip saddr timeout 1m }",
		"iifname . tcp dport vmap @pairs",
		`oifname != @names`,
		`limit rate 5/second burst 10 packets log prefix "gone: " drop`,
		"fib daddr type local meta mark set 0x00000007 meta mark set meta mark | 0x00000030 ct mark set 0x00000008 goto other",
		`iifname "veth*"`,
		`log prefix "x" group 3 snaplen 64 reject with icmpx admin-prohibited`,
		`meta mark & 0x000000f0 == 0x00000010 return comment "head"`,
		"redirect to :99",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not there: %s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}

	// What is listed is what was made.
	chains, err := c.Chains(0)
	if err != nil || len(chains) != 12 {
		t.Fatalf("%d chains, %v", len(chains), err)
	}
	inet := Table{Family: Inet, Name: "t"}
	rules, err := c.Rules(Chain{Table: inet, Name: "forward"})
	if err != nil || len(rules) != 7 || rules[0].Comment != "head" || rules[1].Comment != "several" || rules[1].Exprs[0].Name != "ct" {
		t.Fatalf("%+v, %v", rules, err)
	}
	elements, err := c.Elements(Set{Table: inet, Name: "names", Key: []Type{IfName}})
	if err != nil || len(elements) != 2 {
		t.Fatalf("%+v, %v", elements, err)
	}
	var d Batch
	d.DeleteRule(Chain{Table: inet, Name: "forward"}, rules[0].Handle)
	d.DeleteElements(Set{Table: inet, Name: "names", Key: []Type{IfName}}, Element{Key: Name("eth0")})
	d.FlushSet(Set{Table: Table{Family: IP, Name: "t"}, Name: "nets"})
	d.DeleteTable(dormant)
	commit(t, c, &d)
	got = program(t, "nft", "list", "ruleset")
	if strings.Contains(got, "head") || strings.Count(got, "first") != 2 || strings.Contains(got, "10.0.0.0/24") || strings.Contains(got, "asleep") {
		t.Error(got)
	}
	if _, ok, err := c.Table(Inet, "t"); !ok || err != nil {
		t.Error(ok, err)
	}
	if _, ok, err := c.Table(Inet, "no"); ok || err != nil {
		t.Error(ok, err)
	}
}

// A refused batch changes nothing, and the error says which part it was.
func TestRefused(t *testing.T) {
	c := inNewNamespace(t)
	table := Table{Family: IP, Name: "t"}
	chain := Chain{Table: table, Name: "c"}
	begin := func() *Batch {
		var b Batch
		b.AddTable(table)
		b.AddChain(chain)
		return &b
	}
	set := Set{Table: table, Name: "s", Key: []Type{Service}, Data: []Type{Service}}
	for _, test := range []struct {
		change func(*Batch)
		want   string
		errno  unix.Errno
	}{
		{func(b *Batch) { b.AddRule(chain, "why", Accept(), In(set, DPort)) }, "nftables: add rule to ip t c (why): lookup: no such file", unix.ENOENT},
		{func(b *Batch) { b.AddRule(chain, "", Is(DPort, Port(7)), expr("nosuch", nil)) }, "nftables: add rule to ip t c: nosuch: the kernel lacks nft_nosuch", unix.ENOENT},
		{func(b *Batch) {
			b.AddChain(Chain{Table: table, Name: "f", Type: Filter, Hook: Forward})
			b.AddRule(Chain{Table: table, Name: "f"}, "", Masquerade())
		}, "nftables: add rule to ip t f: masq: ", 0},
		{func(b *Batch) { b.DeleteTable(Table{Family: IP6, Name: "t"}) }, "nftables: delete table ip6 t: no such file", unix.ENOENT},
		{func(b *Batch) { b.AddChain(Chain{Table: table, Name: "x", Type: "nosuch", Hook: Input}) }, "nftables: add chain ip t x: the kernel lacks", unix.ENOENT},
		{func(b *Batch) {
			b.AddSet(set)
			b.AddElements(set, Element{Key: Port(1), Data: Port(2)})
			b.AddElements(set, Element{Key: Port(1), Data: Port(3)})
		}, "nftables: add to ip t s: ", 0},
	} {
		b := begin()
		test.change(b)
		err := c.Commit(b)
		var refused *Error
		if !errors.As(err, &refused) || test.errno != 0 && !errors.Is(err, test.errno) {
			t.Errorf("error %v", err)
			continue
		}
		if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(test.want)) && test.errno != 0 {
			t.Errorf("error %q, not %q", err, test.want)
		}
		t.Log(err)
		if _, there, _ := c.Table(IP, "t"); there {
			t.Error("the table is there")
		}
	}
}

// Sets that are larger than a message, and batches that are larger than a
// socket's usual buffer.
func TestMany(t *testing.T) {
	c := inNewNamespace(t)
	table := Table{Family: Inet, Name: "t"}
	set := Set{Table: table, Name: "s", Key: []Type{Proto, Service}}
	var elements []Element
	for _, p := range [][]byte{TCP, UDP, SCTP} {
		for i := range 10000 {
			elements = append(elements, Element{Key: Key(p, Port(uint16(i))), Comment: "a comment, so that it is longer"})
		}
	}
	var b Batch
	b.AddTable(table)
	b.AddSet(set)
	b.AddElements(set, elements...)
	commit(t, c, &b)
	listed, err := c.Elements(set)
	if err != nil || len(listed) != len(elements) {
		t.Fatalf("%d, %v", len(listed), err)
	}
	var d Batch
	d.DeleteElements(set, elements[:20000]...)
	commit(t, c, &d)
	if listed, err = c.Elements(set); err != nil || len(listed) != 10000 {
		t.Fatalf("%d, %v", len(listed), err)
	}
}

// A table with an owner goes with its socket.
func TestOwned(t *testing.T) {
	c := inNewNamespace(t)
	other, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.AddTable(Table{Family: IP, Name: "owned", Owned: true})
	commit(t, other, &b)
	if table, ok, err := c.Table(IP, "owned"); !ok || err != nil || !table.Owned {
		t.Error(table, ok, err)
	}
	other.Close()
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, ok, err := c.Table(IP, "owned")
		if err != nil || time.Now().After(until) {
			t.Fatal(ok, err)
		}
		if !ok {
			break
		}
	}
}

// A descriptor that was made in another namespace is enough.
func TestElsewhere(t *testing.T) {
	c := inNewNamespace(t)
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	done := make(chan error)
	go func() { // another thread, in the test's first namespace
		there, err := OpenIn(own)
		if err == nil {
			var b Batch
			b.AddTable(Table{Family: IP, Name: "from-afar"})
			err = there.Commit(&b)
			there.Close()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if tables, err := c.Tables(0); err != nil || len(tables) != 1 || tables[0].Name != "from-afar" {
		t.Errorf("%+v, %v", tables, err)
	}
}

func FuzzListed(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 1, 2, 3, 4})
	f.Add([]byte(Is(DPort, Port(80))))
	f.Fuzz(func(t *testing.T, data []byte) {
		parseElement(data)
		comment(data)
		if len(data) >= 4 {
			parseTable(data)
		}
		for at := range 20 {
			refusedExpr(data, at)
			attribute(data, at)
		}
	})
}

// Connections are forgotten by what their first packets were.
func TestForget(t *testing.T) {
	c := inNewNamespace(t)
	program(t, "ip", "link", "set", "lo", "up")
	var b Batch
	table := Table{Family: Inet, Name: "t"}
	track := Chain{Table: table, Name: "out", Type: Filter, Hook: Output}
	b.AddTable(table)
	b.AddChain(track)
	b.AddRule(track, "", Any(CtState, NewState), Accept()) // so that the kernel tracks
	commit(t, c, &b)
	for _, to := range []string{"127.0.0.1:1000", "127.0.0.2:1001", "[::1]:1000", "[::1]:1002"} {
		u, err := net.Dial("udp", to)
		if err != nil {
			t.Fatal(err)
		}
		u.Write([]byte("x"))
		u.Close()
	}
	now, most, err := c.Tracked()
	if err != nil || now < 4 || most == 0 && os.Getpid() == 1 {
		t.Errorf("%d of %d, %v", now, most, err)
	}
	count := func() (all []string) {
		if _, err := c.Forget(unix.IPPROTO_UDP, func(f Flow) bool {
			all = append(all, netip.AddrPortFrom(f.To, f.Port).String())
			return false
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(all)
		return all
	}
	if got := count(); len(got) != 4 {
		t.Fatalf("%q", got)
	}
	for _, test := range []struct {
		choose func(Flow) bool
		want   int
	}{
		{func(f Flow) bool { return f.Port == 1000 }, 2},
		{func(f Flow) bool { return f.Port == 1000 }, 0},
		{func(f Flow) bool { return f.To == netip.MustParseAddr("127.0.0.2") && f.Answers == f.To }, 1},
	} {
		if n, err := c.Forget(unix.IPPROTO_UDP, test.choose); err != nil || n != test.want {
			t.Errorf("%d, not %d: %v", n, test.want, err)
		}
	}
	if n, err := c.Forget(unix.IPPROTO_TCP, func(Flow) bool { return true }); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	for i := range 3000 { // a long list
		u, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", 2000+i))
		if err != nil {
			t.Fatal(err)
		}
		u.Write([]byte("x"))
		u.Close()
	}
	if n, err := c.Forget(unix.IPPROTO_TCP, func(Flow) bool { return true }); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := c.Forget(unix.IPPROTO_UDP, func(f Flow) bool { return f.Port >= 2000 }); err != nil || n != 3000 {
		t.Errorf("%d, %v", n, err)
	}
	if got := count(); len(got) != 1 || got[0] != "[::1]:1002" {
		t.Errorf("%q", got)
	}
}
