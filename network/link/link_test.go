package link_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"loper.run/internal/netlink"
	"loper.run/network"
	"loper.run/network/link"
	"loper.run/test/env"

	"golang.org/x/sys/unix"
)

// host is a namespace that is the host for a test. It has the one rule that bridges
// are sealed without.
func host(t testing.TB) *env.Netns {
	t.Helper()
	env.Need(t, "nft")
	h := env.TestNetns(t)
	must(t, h, "nft", fmt.Sprintf("table inet pass { chain pass { type filter hook postrouting priority 0; meta mark set meta mark | %#x; }; }", network.PassMark))
	network.HostNamespace = h.File()
	t.Cleanup(func() { network.HostNamespace = nil })
	return h
}

func noRules(string) error { return nil }

const networkID = "4c6f706572206973206120636f6e7461696e657220656e67696e650a00000001"

// endpoint is the place of container n in a bridge network.
func endpoint(n int) network.Endpoint {
	return network.Endpoint{
		Network: "red", NetworkID: networkID, Driver: network.Bridge, Link: "lbr-red", HostInterface: fmt.Sprintf("lv%08d0001", n),
		Interface: "eth0", MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", n>>8, n&255),
		Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.89.%d.%d/16", n>>8, n&255)), netip.MustParsePrefix(fmt.Sprintf("fd00::%x/64", n))},
		Gateways:  []netip.Addr{netip.MustParseAddr("10.89.0.1"), netip.MustParseAddr("fd00::1")},
	}
}

func sandbox(n int, endpoints ...network.Endpoint) *network.Sandbox {
	if endpoints == nil {
		endpoints = []network.Endpoint{endpoint(n)}
	}
	return &network.Sandbox{Container: fmt.Sprintf("%064x", n), Name: fmt.Sprint("c", n), Endpoints: endpoints}
}

// run runs a program in a namespace.
func run(n *env.Netns, words ...string) (string, error) {
	var out []byte
	var err error
	n.Do(func() { out, err = exec.Command(words[0], words[1:]...).CombinedOutput() })
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, out)
	}
	return string(out), err
}

func must(t testing.TB, n *env.Netns, words ...string) string {
	t.Helper()
	out, err := run(n, words...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func connect(t testing.TB, s *network.Sandbox) *env.Netns {
	t.Helper()
	n := env.TestNetns(t)
	if err := link.Connect(s, n.File(), noRules); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Disconnect(s) })
	return n
}

// shown is what ip(8) tells of an interface.
type shown struct {
	Ifname, Operstate, Address, Master, Ifalias string
	Mtu                                         int
	Flags                                       []string
	Linkinfo                                    struct {
		Info_kind string
		Info_data map[string]any
	}
	Addr_info []struct {
		Local, Scope string
		Prefixlen    int
		Tentative    bool
	}
}

func interfaces(t testing.TB, n *env.Netns) map[string]shown {
	t.Helper()
	var list []shown
	if err := json.Unmarshal([]byte(must(t, n, "ip", "-j", "-d", "addr")), &list); err != nil {
		t.Fatal(err)
	}
	found := map[string]shown{}
	for _, s := range list {
		found[s.Ifname] = s
	}
	return found
}

func (s shown) addresses() string {
	var words []string
	for _, a := range s.Addr_info {
		word := fmt.Sprintf("%s/%d", a.Local, a.Prefixlen)
		if a.Tentative {
			word += " tentative"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// linkOf is the index of an interface.
func linkOf(n *env.Netns, name string) (int, error) {
	c, err := netlink.OpenIn(n.File())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	l, err := c.Link(name)
	return int(l.Index), err
}

// reach checks that one packet and its answer arrive at once, at each address.
func reach(t testing.TB, from, to *env.Netns, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		if err := reached(from, to, address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func reached(from, to *env.Netns, address string) (err error) {
	var server net.PacketConn
	to.Do(func() { server, err = net.ListenPacket("udp", net.JoinHostPort(address, "0")) })
	if err != nil {
		return err
	}
	defer server.Close()
	go func() {
		b := make([]byte, 16)
		if n, who, err := server.ReadFrom(b); err == nil {
			server.WriteTo(b[:n], who)
		}
	}()
	var client net.Conn
	from.Do(func() { client, err = net.Dial("udp", server.LocalAddr().String()) })
	if err != nil {
		return err
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(700 * time.Millisecond)) // less than until ARP asks again
	if _, err := client.Write([]byte("x")); err != nil {
		return err
	}
	_, err = client.Read(make([]byte, 16))
	return err
}

func TestConnect(t *testing.T) {
	h := host(t)
	a, b := sandbox(2), sandbox(3)
	inA := connect(t, a)
	// The first packet arrives, whatever it is, without waiting for anything.
	reach(t, inA, h, "10.89.0.1", "fd00::1")
	inB := connect(t, b)
	reach(t, inA, inB, "10.89.0.3", "fd00::3")
	reach(t, h, inB, "10.89.0.3", "fd00::3")
	eth0 := interfaces(t, inB)["eth0"]
	if got := eth0.addresses(); got != "10.89.0.3/16, fe80::ff:fe00:3/64, fd00::3/64" && got != "10.89.0.3/16, fd00::3/64, fe80::ff:fe00:3/64" {
		t.Error(got)
	}
	if eth0.Address != "02:00:00:00:00:03" || eth0.Linkinfo.Info_kind != "veth" {
		t.Errorf("%+v", eth0)
	}
	outside := interfaces(t, h)
	bridge := outside["lbr-red"]
	if got := bridge.addresses(); got != "10.89.0.1/16, fe80::4cff:fe6f:7065/64, fd00::1/64" && !strings.HasPrefix(got, "10.89.0.1/16, fd00::1/64, fe80::") {
		t.Error(got)
	}
	if d := bridge.Linkinfo.Info_data; d["stp_state"] != 0.0 || d["forward_delay"] != 0.0 || bridge.Ifalias != "loper "+networkID+" sealed" {
		t.Errorf("%+v", bridge)
	}
	if v := outside["lv000000030001"]; v.Master != "lbr-red" || v.addresses() != "" {
		t.Errorf("%+v", v)
	}
	routes := must(t, inB, "ip", "route") + must(t, inB, "ip", "-6", "route")
	for _, want := range []string{"default via 10.89.0.1 dev eth0", "default via fd00::1 dev eth0"} {
		if !strings.Contains(routes, want) {
			t.Error(routes)
		}
	}
	for _, s := range []struct {
		n          *env.Netns
		name, want string
	}{
		{inB, "ipv6/conf/eth0/accept_ra", "0"}, {h, "ipv6/conf/lbr-red/accept_ra", "0"}, {h, "ipv4/ip_forward", "1"},
	} {
		if got := setting(t, s.n, s.name); got != s.want {
			t.Errorf("%s is %q", s.name, got)
		}
	}
	if err := link.Disconnect(a); err != nil {
		t.Error(err)
	}
	if err := link.Disconnect(a); err != nil { // nothing is there any more
		t.Error(err)
	}
	if v, ok := interfaces(t, h)["lv000000020001"]; ok && slices.Contains(v.Flags, "UP") {
		t.Error("the host's end is still up")
	}
	inA.Close()
	for i := 0; ; i++ {
		if _, err := linkOf(h, "lv000000020001"); errors.Is(err, unix.ENODEV) {
			break
		}
		if time.Sleep(10 * time.Millisecond); i == 300 {
			t.Fatal("the host's end is still there")
		}
	}
	n := &network.Network{ID: networkID, Driver: network.Bridge, Interface: "lbr-red"}
	if err := link.TearDown(n); err != nil {
		t.Error(err)
	}
	if _, ok := interfaces(t, h)["lbr-red"]; ok {
		t.Error("the bridge is still there")
	}
	if err := link.TearDown(n); err != nil {
		t.Error(err)
	}
}

func setting(t testing.TB, n *env.Netns, name string) (value string) {
	t.Helper()
	n.Do(func() {
		data, err := os.ReadFile("/proc/sys/net/" + name)
		if err != nil {
			t.Error(err)
		}
		value = strings.TrimSpace(string(data))
	})
	return value
}
