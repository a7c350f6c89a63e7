package dns

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"loper.run/network"
)

func TestNamesOfNetworks(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2").start()
	two := endpoint("two.net", idTwo, "10.89.1.2/24")
	g.sandbox(network.Sandbox{
		Endpoints: []network.Endpoint{endpoint("One", idOne, "10.89.0.2/24", "fd00::2/64"), two},
		Hosts:     []network.HostName{{Name: "Printer.local", Address: netip.MustParseAddr("192.0.2.77")}, {Name: "db", Address: netip.MustParseAddr("192.0.2.78")}},
	})
	g.name(idOne, "web", other, "10.89.0.3", "fd00::3")
	g.name(idOne, "bbbbbbbbbbbb", other, "10.89.0.3", "fd00::3")
	g.name(idOne, "four_only", other, "10.89.0.3")
	g.name(idOne, "db", other, "10.89.0.3")
	g.name(idTwo, "a.b", other, "10.89.1.3")
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		want string
	}{
		{"web.", typeA, "Success 10.89.0.3"},
		{"wEB.", typeA, "Success 10.89.0.3"},
		{"web.", typeAAAA, "Success fd00::3"},
		{"web.", typeANY, "Success fd00::3 10.89.0.3"},
		{"web.", dnsmessage.TypeMX, "Success"},
		{"web.", typeHTTPS, "Success"},
		{"web.one.", typeA, "Success 10.89.0.3"},
		{"WEB.ONE.", typeA, "Success 10.89.0.3"},
		{"bbbbbbbbbbbb.", typeA, "Success 10.89.0.3"},
		{"four_only.", typeAAAA, "Success"}, // there is such a name, but no such address
		{"four_only.two.net.", typeA, "Success 192.0.2.1"},
		{"a.b.", typeA, "Success 10.89.1.3"},
		{"a.b.two.net.", typeA, "Success 10.89.1.3"},
		{"a.b.one.", typeA, "Success 192.0.2.1"},
		{"db.", typeA, "Success 192.0.2.78"}, // --add-host comes first
		{"printer.local.", typeA, "Success 192.0.2.77"},
		{"printer.local.", typeAAAA, "Success"},
		{"host.containers.internal.", typeA, "Success 10.89.0.1"},
		{"host.docker.internal.", typeAAAA, "Success fd00::1"},
		{"nobody.", typeA, "NameError"},
		{"nobody.", typeAAAA, "NameError"},
		{"3.0.89.10.in-addr.arpa.", typePTR, "NameError"}, // no container has it
		{"1.0.89.10.in-addr.arpa.", typePTR, "Success host.containers.internal."},
		{"77.2.0.192.in-addr.arpa.", typePTR, "Success Printer.local."},
	} {
		g.want(c.name, c.kind, c.want)
	}
	for _, q := range s.questions() {
		if !strings.Contains(q, "two.net") && !strings.Contains(q, "a.b.one") {
			t.Errorf("went outside: %s", q)
		}
	}
}

func TestReverse(t *testing.T) {
	g := newRig(t, nil).start()
	store := network.Store{RunRoot: filepath.Dir(g.networks)}
	if store.Dir(idOne) != filepath.Join(g.networks, idOne) {
		t.Fatalf("the store has its networks in %s", store.Dir(idOne))
	}
	for file, text := range map[string]string{
		"address/10.89.0.3": other, "address/fd00::3": other, "address/10.89.0.4": "../../secret",
		"endpoint/" + other: `{"container":"` + other + `","name":"Web"}`, "endpoint/" + self: self, "address/10.89.0.5": self,
	} {
		path := filepath.Join(g.networks, idOne, file)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Names that no message can have are left out.
	g.sandbox(network.Sandbox{
		Endpoints: []network.Endpoint{endpoint("One", idOne, "10.89.0.2/24", "fd00::2/64")},
		Hosts:     []network.HostName{{Name: strings.Repeat("x", 70), Address: netip.MustParseAddr("10.89.0.3")}, {Name: "a..b", Address: netip.MustParseAddr("10.89.0.3")}, {Name: "ok.", Address: netip.MustParseAddr("10.89.0.6")}},
	})
	g.want("6.0.89.10.in-addr.arpa.", typePTR, "Success ok.")
	g.want("3.0.89.10.in-addr.arpa.", typePTR, "Success Web.One.")
	g.want("3.0.89.10.IN-ADDR.arpa.", typePTR, "Success Web.One.")
	g.want("3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", typePTR, "Success Web.One.")
	g.want("4.0.89.10.in-addr.arpa.", typePTR, "NameError")
	g.want("5.0.89.10.in-addr.arpa.", typePTR, "NameError") // about to be connected
}

func TestAddressOf(t *testing.T) {
	six := strings.Repeat("0.", 30) + "d.f.ip6.arpa"
	for name, want := range map[string]string{
		"4.3.2.1.in-addr.arpa": "1.2.3.4", six: "fd00::", "3.2.1.in-addr.arpa": "", "5.4.3.2.1.in-addr.arpa": "", "x.3.2.1.in-addr.arpa": "",
		"04.3.2.1.in-addr.arpa": "", "256.3.2.1.in-addr.arpa": "", "0.d.f.ip6.arpa": "", strings.Replace(six, "0.", "00", 1): "", "g" + six[1:]: "", "a.arpa": "", "": "",
	} {
		a, ok := addressOf(name)
		if ok != (want != "") || ok && a.String() != want {
			t.Errorf("%s: %v %t", name, a, ok)
		}
	}
}

// A container sees the networks that it is in, from the next question on.
func TestChangesAreSeenAtOnce(t *testing.T) {
	g := newRig(t, nil).start()
	g.name(idTwo, "web", other, "10.89.1.3")
	for range 100 {
		g.want("web.", typeA, "NameError")
		g.sandbox(network.Sandbox{Endpoints: []network.Endpoint{endpoint("One", idOne), endpoint("Two", idTwo)}})
		g.want("web.", typeA, "Success 10.89.1.3")
		g.sandbox(network.Sandbox{Endpoints: []network.Endpoint{endpoint("One", idOne)}})
	}
	g.name(idOne, "web", other, "10.89.0.3")
	g.want("web.", typeA, "Success 10.89.0.3")
	g.name(idOne, "web", other, "10.89.0.4")
	g.want("web.", typeA, "Success 10.89.0.4")
	os.Remove(filepath.Join(g.networks, idOne, "name/web", other))
	g.want("web.", typeA, "NameError")
	os.Remove(filepath.Join(g.networks, idOne, "name/web"))
	g.want("web.", typeA, "NameError")
}

// Several containers that share a name share the questions, too.
func TestTurns(t *testing.T) {
	g := newRig(t, nil).start()
	for i, a := range []string{"10.89.0.3", "10.89.0.4", "10.89.0.5"} {
		g.name(idOne, "web", strings.Repeat(string(rune('b'+i)), 64), a)
	}
	first := map[string]int{}
	for range 30 {
		words := strings.Fields(g.ask("web.", typeA))
		if len(words) != 4 {
			t.Fatal(words)
		}
		first[words[1]]++
		if slices.Sort(words[1:]); !slices.Equal(words[1:], []string{"10.89.0.3", "10.89.0.4", "10.89.0.5"}) {
			t.Fatal(words)
		}
	}
	for a, n := range first {
		if n != 10 {
			t.Errorf("%s came first %d times of 30", a, n)
		}
	}
}

// No name leads out of the directory of names.
func TestPathTraversal(t *testing.T) {
	g := newRig(t, nil).start()
	g.name(idOne, "web", other, "10.89.0.3")
	g.name(idTwo, "secret", other, "10.89.1.3") // of a network that this container is not in
	if err := os.WriteFile(filepath.Join(g.networks, other), []byte("10.0.0.66\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Symlink(filepath.Join(g.networks, idTwo, "name/secret"), filepath.Join(g.networks, idOne, "name/link"))
	for _, labels := range [][]string{
		{"../../" + idTwo + "/name/secret"}, {"..", "..", idTwo}, {"..\x00", "web"}, {"."}, {".."}, {"", "web"}, {"../name/web"},
		{"web/"}, {"/"}, {"web\x00"}, {"link"}, {"..", "one"}, {".", "one"}, {"../../" + idTwo + "/name/secret", "one"},
	} {
		m := message(7, "x.", typeA, 0)[:headerSize]
		for _, l := range labels {
			m = append(append(m, byte(len(l))), l...)
		}
		m = append(m, 0, 0, 1, 0, 1)
		answer := g.exchange(m, 200*time.Millisecond)
		if answer != nil && (answer[3]&0xf == 0 || answer[7] != 0) {
			t.Errorf("%q is known: %x", labels, answer)
		}
	}
}

// More addresses than fit are cut, and all are had by TCP or EDNS.
func TestTruncation(t *testing.T) {
	g := newRig(t, nil).start()
	for i := range 60 {
		id := strings.Repeat("0", 62) + string(rune('a'+i/10)) + string(rune('0'+i%10))
		g.name(idOne, "web", id, netip.AddrFrom4([4]byte{10, 89, 0, byte(10 + i)}).String())
	}
	short := g.exchange(message(1, "web.", typeA, 0), time.Second)
	if len(short) > 512 || !strings.HasPrefix(describe(t, short, 1, "web."), "Success truncated 10.89") {
		t.Errorf("%d bytes: %s", len(short), describe(t, short, 1, "web."))
	}
	for size, cut := range map[int]bool{100: true, 600: true, 1232: false, 65535: false} {
		m := g.exchange(message(2, "web.", typeA, size), time.Second)
		got := describe(t, m, 2, "web.")
		if len(m) > max(size, 512) || strings.Contains(got, "truncated") != cut || !cut && strings.Count(got, "10.89.") != 60 {
			t.Errorf("with room for %d: %d bytes: %s", size, len(m), got)
		}
		var a dnsmessage.Message
		if a.Unpack(m) != nil || len(a.Additionals) != 1 || a.Additionals[0].Header.Type != dnsmessage.TypeOPT || !a.Additionals[0].Header.DNSSECAllowed() {
			t.Errorf("with room for %d: no EDNS: %+v", size, a.Additionals)
		}
	}
	c := g.dial()
	c.Write(framed(message(3, "web.", typeA, 0)))
	if got := describe(t, readFramed(c), 3, "web."); strings.Count(got, "10.89.") != 60 || strings.Contains(got, "truncated") {
		t.Errorf("by TCP: %s", got)
	}
}
