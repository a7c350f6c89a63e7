package link_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"loper.run/internal/netlink"
	"loper.run/network"
	"loper.run/network/link"
	"loper.run/test/env"
)

// connectEnv has a test process connect and disconnect one container, over and over.
const connectEnv = "LOPER_TEST_CONNECT"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(connectEnv)); err == nil {
		if err := churn(n); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// churn is one of many processes in the host's namespace.
func churn(n int) error {
	for range 3 {
		inside, err := env.NewNetns()
		if err != nil {
			return err
		}
		s := sandbox(n)
		if err := link.Connect(s, inside.File(), noRules); err != nil {
			return err
		}
		if out, err := run(inside, "ip", "-6", "route", "get", "fd00::1"); err != nil || !strings.Contains(out, "eth0") {
			return err
		}
		if err := link.DisconnectOne(s, &s.Endpoints[0], inside.File()); err != nil {
			return err
		}
		inside.Close()
	}
	return nil
}

// Fifty processes find no bridge, and make one.
func TestManyAtOnce(t *testing.T) {
	h := host(t)
	const processes = 50
	var running []*exec.Cmd
	errs := make([]strings.Builder, processes)
	for n := range processes {
		c := exec.Command(os.Args[0], "-test.run=^$")
		c.Env = append(os.Environ(), connectEnv+"="+strconv.Itoa(n+2))
		c.Stderr = &errs[n]
		var err error
		h.Do(func() { err = c.Start() })
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, c)
	}
	for n, c := range running {
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %s", err, errs[n].String())
		}
	}
	all := interfaces(t, h)
	if bridge := all["lbr-red"]; bridge.Ifalias != "loper "+networkID+" sealed" || len(bridge.Addr_info) != 3 {
		t.Errorf("%+v", bridge)
	}
	for name := range all {
		if strings.HasPrefix(name, "lv") {
			t.Errorf("%s is left", name)
		}
	}
}

// A bridge that is deleted under containers is made again by the next one that
// comes, or by Repair, with all of them on it.
func TestBridgeDeleted(t *testing.T) {
	h := host(t)
	a, b := sandbox(2), sandbox(3)
	inA, inB := connect(t, a), connect(t, b)
	must(t, h, "ip", "link", "delete", "lbr-red")
	inC := connect(t, sandbox(4))
	reach(t, inC, inA, "10.89.0.2", "fd00::2")
	reach(t, inA, inB, "10.89.0.3", "fd00::3")
	reach(t, inB, h, "10.89.0.1", "fd00::1")
	must(t, h, "ip", "link", "delete", "lbr-red")
	if err := link.Repair(a); err != nil {
		t.Fatal(err)
	}
	reach(t, inA, inB, "10.89.0.3", "fd00::3")
	must(t, h, "ip", "link", "set", "lbr-red", "down")
	must(t, h, "ip", "link", "set", "lv000000020001", "nomaster")
	if err := link.Repair(a); err != nil {
		t.Fatal(err)
	}
	reach(t, inA, inB, "10.89.0.3", "fd00::3")
}

// What killed processes left of a bridge or of a container is finished or taken
// away.
func TestLeftovers(t *testing.T) {
	h := host(t)
	// A bridge that somebody began to make, and nothing more.
	must(t, h, "ip", "link", "add", "lbr-red", "address", "02:4c:6f:70:65:72", "type", "bridge", "stp_state", "0", "forward_delay", "0")
	must(t, h, "ip", "link", "add", "lv000000020001", "type", "veth", "peer", "name", "x")
	inA := connect(t, sandbox(2))
	reach(t, inA, h, "10.89.0.1", "fd00::1")
	if all := interfaces(t, h); all["x"].Ifname != "" || all["lbr-red"].Ifalias == "" {
		t.Errorf("%+v", all)
	}
}

func TestRefused(t *testing.T) {
	h := host(t)
	must(t, h, "ip", "link", "add", "lbr-red", "type", "ifb")
	n := env.TestNetns(t)
	refused := func(s *network.Sandbox, want string) {
		t.Helper()
		err := link.Connect(s, n.File(), noRules)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, not %s", err, want)
		}
		if all := interfaces(t, n); len(all) != 1 && want != "eth0 already" {
			t.Errorf("%v", all)
		}
	}
	refused(sandbox(2), "lbr-red is no bridge")
	must(t, h, "ip", "link", "delete", "lbr-red")
	must(t, h, "ip", "link", "add", "lbr-red", "type", "bridge")
	refused(sandbox(2), "belongs to somebody else")
	// The same bridge is good if that is what was asked for.
	e := endpoint(2)
	e.Mode = link.Unmanaged
	must(t, h, "ip", "addr", "add", "10.89.0.1/16", "dev", "lbr-red")
	must(t, h, "ip", "link", "set", "lbr-red", "up")
	reach(t, connect(t, sandbox(2, e)), h, "10.89.0.1")
	// It is not ours to delete.
	if err := link.TearDown(&network.Network{ID: networkID, Driver: network.Bridge, Interface: "lbr-red", Mode: link.Unmanaged}); err != nil {
		t.Error(err)
	}
	if _, err := linkOf(h, "lbr-red"); err != nil {
		t.Error(err)
	}
	must(t, h, "ip", "link", "delete", "lbr-red")
	refused(sandbox(2, e), "there is no bridge lbr-red")

	must(t, n, "ip", "link", "add", "eth0", "type", "ifb")
	refused(sandbox(3), "eth0 already")
	must(t, n, "ip", "link", "delete", "eth0")
	// The second of two cannot be made: the first does not stay.
	other := endpoint(3)
	other.NetworkID, other.HostInterface = strings.Repeat("5", 64), "lv000000030002"
	refused(sandbox(3, endpoint(3), other), "belongs to somebody else")
	other.Link = "lbr-blue"
	refused(sandbox(3, endpoint(3), other), "eth0 already")
	if _, err := linkOf(h, "lv000000030001"); err == nil {
		t.Error("the first of two interfaces stays")
	}
	bad := endpoint(4)
	bad.MAC = "x"
	refused(sandbox(4, bad), "link-layer address")
}

// A kernel, or a container, without IPv6 has IPv4 all the same.
func TestNoIPv6(t *testing.T) {
	h := host(t)
	n := env.TestNetns(t)
	must(t, n, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	must(t, h, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	s := sandbox(2)
	if err := link.Connect(s, n.File(), noRules); err != nil {
		t.Fatal(err)
	}
	reach(t, n, h, "10.89.0.1")
	if got := interfaces(t, n)["eth0"].addresses(); got != "10.89.0.2/16" {
		t.Error(got)
	}
}

// A container with two networks leaves by the first, and by the other when that
// is gone.
func TestSeveral(t *testing.T) {
	h := host(t)
	first, second, third := endpoint(2), endpoint(2), endpoint(2)
	for i, e := range []*network.Endpoint{&second, &third} {
		c := string(rune('1' + i))
		e.NetworkID, e.Network, e.Link = strings.Repeat(c, 64), "n"+c, "lbr-"+c
		e.HostInterface, e.Interface, e.MAC = "lv00000002100"+c, "net"+c, "02:00:00:00:01:0"+c
		e.Addresses = []netip.Prefix{netip.MustParsePrefix("10.9" + c + ".0.2/24"), netip.MustParsePrefix("fd0" + c + "::2/64")}
		e.Gateways = []netip.Addr{netip.MustParseAddr("10.9" + c + ".0.1"), netip.MustParseAddr("fd0" + c + "::1")}
	}
	third.Internal = true
	s := sandbox(2, third, first)
	n := connect(t, s)
	routes := func() string { return must(t, n, "ip", "route") + must(t, n, "ip", "-6", "route") }
	if r := routes(); !strings.Contains(r, "default via 10.89.0.1 dev eth0") || !strings.Contains(r, "default via fd00::1 dev eth0") || strings.Count(r, "default") != 2 {
		t.Error(r)
	}
	reach(t, n, h, "10.92.0.1", "fd02::1", "10.89.0.1", "fd00::1")
	s.Endpoints = append(s.Endpoints, second)
	if err := link.ConnectOne(s, &second, n.File(), noRules); err != nil {
		t.Fatal(err)
	}
	reach(t, n, h, "10.91.0.1", "fd01::1", "10.89.0.1")
	if r := routes(); !strings.Contains(r, "default via 10.89.0.1 dev eth0") || strings.Count(r, "default") != 2 {
		t.Error(r)
	}
	if err := link.DisconnectOne(s, &first, n.File()); err != nil {
		t.Fatal(err)
	}
	if r := routes(); !strings.Contains(r, "default via 10.91.0.1 dev net1") || !strings.Contains(r, "default via fd01::1 dev net1") || strings.Count(r, "default") != 2 {
		t.Error(r)
	}
	reach(t, n, h, "10.91.0.1", "fd01::1")
	if all := interfaces(t, h); all["lv000000020001"].Ifname != "" {
		t.Error("the host's end is still there")
	}
}

// An MTU is the network's, else that of the way out.
func TestMTU(t *testing.T) {
	h := host(t)
	must(t, h, "ip", "link", "add", "up0", "mtu", "1380", "type", "veth", "peer", "name", "up1")
	must(t, h, "ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
	must(t, h, "ip", "link", "set", "up0", "up")
	must(t, h, "ip", "route", "add", "default", "via", "192.0.2.9")
	e := endpoint(3)
	e.MTU, e.Link, e.NetworkID = 1300, "lbr-small", strings.Repeat("7", 64)
	for _, c := range []struct {
		s    *network.Sandbox
		want int
	}{{sandbox(2), 1380}, {sandbox(3, e), 1300}} {
		n := connect(t, c.s)
		all := interfaces(t, h)
		for _, got := range []int{interfaces(t, n)["eth0"].Mtu, all[c.s.Endpoints[0].Link].Mtu, all[c.s.Endpoints[0].HostInterface].Mtu} {
			if got != c.want {
				t.Errorf("MTU %d, not %d", got, c.want)
			}
		}
	}
}

// Forwarding is switched on when a container needs it, and what the host has
// learned from its routers stays.
func TestForwarding(t *testing.T) {
	h := host(t)
	must(t, h, "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
	inner := endpoint(2)
	inner.Internal = true
	connect(t, sandbox(2, inner))
	if got := setting(t, h, "ipv4/ip_forward"); got != "0" {
		t.Errorf("ip_forward is %s for an internal network", got)
	}
	connect(t, sandbox(3))
	if got := setting(t, h, "ipv4/ip_forward"); got != "1" {
		t.Errorf("ip_forward is %s", got)
	}
	var forced string
	h.Do(func() {
		data, _ := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf/lbr-red/force_forwarding"))
		forced = strings.TrimSpace(string(data))
	})
	switch all := setting(t, h, "ipv6/conf/all/forwarding"); {
	case forced == "1" && all == "0": // it is no router to others
	case forced == "" && all == "1":
	default:
		t.Errorf("forwarding is %s, and forced %s", all, forced)
	}
	routes, err := hostRoutes(h)
	if err != nil || !slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.To.String() == "10.89.0.0/16" }) {
		t.Errorf("%v, %v", routes, err)
	}
}

func hostRoutes(h *env.Netns) ([]netlink.Route, error) {
	c, err := netlink.OpenIn(h.File())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Routes()
}
