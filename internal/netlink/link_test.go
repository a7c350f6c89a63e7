package netlink

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func show(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

func pair(t *testing.T) (there *os.File, host, inside *Conn) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip of Debian's iproute2: ", err)
	}
	inNewNamespace(t)
	there = other(t)
	host, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	inside, err = OpenIn(there)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inside.Close() })
	return there, host, inside
}

// A bridge and a cable from it into another namespace, in as few messages as there can be.
func TestBridgeAndVeth(t *testing.T) {
	there, host, inside := pair(t)
	mac, own := []byte{2, 0, 0, 0, 0, 7}, []byte{2, 0, 0, 0, 0, 1}
	requests := []Request{
		Bridge(Settings{Name: "br0", Address: own, MTU: 1400, Group: 7}, BridgeOptions{}),
		Set(Settings{Name: "br0", Alias: "a name", Up: true, IPv4: map[uint16]uint32{IPv4RouteLocalnet: 1, IPv4Forwarding: 1}}),
		FindLink("br0"), FindLink("nothing").Or(unix.ENODEV), Forwarding(unix.AF_INET),
	}
	// A new namespace takes IPv4's settings over from the first one.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if err := host.Ask(requests); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("this kernel has no bridge")
		}
		t.Fatal(err)
	}
	bridge, err := requests[2].Link()
	if err != nil || bridge.Kind != "bridge" || bridge.Alias != "a name" || !bytes.Equal(bridge.Address, own) || bridge.MTU != 1400 || !bridge.Up {
		t.Fatalf("%+v, %v", bridge, err)
	}
	if _, err := requests[3].Link(); !errors.Is(err, unix.ENODEV) {
		t.Errorf("error %v", err)
	}
	if requests[4].Forwards() {
		t.Error("forwards, though it was told not to")
	}
	requests = []Request{
		Veth(Settings{Name: "v0", Master: bridge.Index, MTU: 1400}, Settings{Name: "eth0", Address: mac, Namespace: there, MTU: 1400}),
		Set(Settings{Name: "v0", NoLinkLocal: true}),
		Set(Settings{Name: "v0", Up: true}),
		FindLink("v0"),
	}
	if err := host.Ask(requests); err != nil {
		t.Fatal(err)
	}
	veth, err := requests[3].Link()
	if err != nil || veth.Master != bridge.Index || veth.Peer == 0 || veth.Kind != "veth" {
		t.Fatalf("%+v, %v", veth, err)
	}
	requests = []Request{
		Set(Settings{Index: 1, Up: true}),
		Set(Settings{Index: veth.Peer, NoLinkLocal: true}),
		Set(Settings{Index: veth.Peer, Up: true}),
		NewAddress(veth.Peer, Address{Prefix: netip.MustParsePrefix("192.0.2.2/24")}),
		NewAddress(veth.Peer, Address{Prefix: netip.MustParsePrefix("2001:db8::2/64"), Flags: unix.IFA_F_NODAD}),
		NewRoute(Route{To: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.0.2.1"), Index: veth.Peer}),
		NewRoute(Route{To: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("2001:db8::1"), Index: veth.Peer}),
		NewRoute(Route{To: netip.MustParsePrefix("198.51.100.0/24"), Index: veth.Peer}),
	}
	if err := inside.Ask(requests); err != nil {
		t.Fatal(err)
	}
	if l, err := inside.LinkAt(veth.Peer); err != nil || l.Name != "eth0" || !bytes.Equal(l.Address, mac) || l.MTU != 1400 || !l.Up {
		t.Errorf("%+v, %v", l, err)
	}
	routes, err := inside.Routes()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range routes {
		if r.Table == unix.RT_TABLE_MAIN && r.Type == unix.RTN_UNICAST {
			s := r.To.String()
			if r.Gateway.IsValid() {
				s += " " + r.Gateway.String()
			}
			got = append(got, s)
		}
	}
	if s := strings.Join(got, ", "); s != "0.0.0.0/0 192.0.2.1, 192.0.2.0/24, 198.51.100.0/24, 2001:db8::/64, ::/0 2001:db8::1" {
		t.Error(s)
	}
	list, err := inside.Addresses(veth.Peer)
	if err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if s := show(t, "-d", "link", "show", "br0"); !strings.Contains(s, "forward_delay 0 ") || !strings.Contains(s, "stp_state 0 ") {
		t.Error(s)
	}
	links, err := host.Links()
	if err != nil || len(links) < 3 {
		t.Errorf("%+v, %v", links, err)
	}
	// An error in the middle is told with its message, and what comes behind it is done.
	requests = []Request{
		Set(Settings{Name: "br0", MTU: 1300}), Delete("nothing"), Delete("v0"),
	}
	err = host.Ask(requests)
	if !errors.Is(err, unix.ENODEV) || !strings.HasPrefix(err.Error(), "delete the interface nothing: ") {
		t.Errorf("error %v", err)
	}
	if _, err := inside.LinkAt(veth.Peer); !errors.Is(err, unix.ENODEV) {
		t.Errorf("error %v", err)
	}
	if l, err := host.Link("br0"); err != nil || l.MTU != 1300 {
		t.Errorf("%+v, %v", l, err)
	}
	if err := host.Ask(nil); err != nil {
		t.Error(err)
	}
}

func TestMacvlan(t *testing.T) {
	there, host, inside := pair(t)
	requests := []Request{Veth(Settings{Name: "parent"}, Settings{Name: "other"}), Set(Settings{Name: "parent", Up: true}), FindLink("parent")}
	if err := host.Ask(requests); err != nil {
		t.Skip("this kernel has no veth: ", err)
	}
	parent, err := requests[2].Link()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Ask([]Request{Neighbour(parent.Index, netip.MustParseAddr("192.0.2.2"), []byte{2, 0, 0, 0, 0, 7})}); err != nil {
		t.Error(err)
	}
	if s := show(t, "neigh", "show", "nud", "all", "dev", "parent"); !strings.Contains(s, "192.0.2.2 lladdr 02:00:00:00:00:07") {
		t.Error(s)
	}
	const bridgeMode = 4
	requests = []Request{Macvlan(Settings{Name: "eth0", Parent: parent.Index, Namespace: there}, bridgeMode)}
	if err := host.Ask(requests); err != nil {
		t.Fatal(err)
	}
	if l, err := inside.Link("eth0"); err != nil || l.Kind != "macvlan" || l.Peer != parent.Index {
		t.Errorf("%+v, %v", l, err)
	}
	if err := inside.Ask([]Request{Delete("eth0")}); err != nil { // a parent has one kind at a time
		t.Error(err)
	}
	for _, r := range []Request{
		Ipvlan(Settings{Name: "eth1", Parent: parent.Index, Namespace: there}, 0),
		VLAN(Settings{Name: "parent.5", Parent: parent.Index}, 5),
	} {
		if err := host.Ask([]Request{r}); errors.Is(err, unix.EOPNOTSUPP) {
			t.Log(err)
		} else if err != nil {
			t.Error(err)
		}
	}
}
