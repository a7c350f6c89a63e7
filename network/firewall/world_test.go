package firewall_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/internal/flock"
	"loper.run/network"
	"loper.run/network/firewall"
	"loper.run/test/env"
)

// world is a host with bridges and containers, and somebody outside.
type world struct {
	*testing.T
	host, outside *env.Netns
	store         *network.Store
	wall          *firewall.Firewall
	members       int
	locks         map[string]*os.File // of who runs
}

// box is a container: a namespace, and what the engine knows of it.
type box struct {
	*network.Sandbox
	ns *env.Netns
}

// The host's and the outsider's addresses.
const (
	host4, host6       = "198.51.100.1", "2001:db8:51::1"
	outside4, outside6 = "198.51.100.9", "2001:db8:51::9"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	env.Need(t, "nft")
	w := &world{T: t, locks: map[string]*os.File{}, host: env.TestNetns(t), outside: env.TestNetns(t)}
	w.host.Do(noDAD)
	w.outside.Do(noDAD)
	if err := env.Wire(w.host, "up0", []string{host4 + "/24", host6 + "/64"}, w.outside, "eth0", []string{outside4 + "/24", outside6 + "/64"}); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	w.store = &network.Store{Root: filepath.Join(dir, "root"), RunRoot: filepath.Join(dir, "run")}
	w.wall = &firewall.Firewall{Store: w.store, Host: w.host.File()}
	w.setting("ipv4/ip_forward", "1")
	w.setting("ipv4/conf/all/rp_filter", "1") // the strict way, as many hosts have it
	w.setting("ipv6/conf/all/forwarding", "1")
	return w
}

// noDAD lets interfaces use their IPv6 addresses at once.
func noDAD() {
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/all/accept_dad", []byte("0"), 0)
}

func (w *world) setting(name, value string) {
	w.Helper()
	w.host.Do(func() {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			w.Fatal(err)
		}
	})
}

// bridgesFilter has bridges show the packet filter what crosses them, or not.
func (w *world) bridgesFilter(on string) bool {
	there := false
	w.host.Do(func() {
		for _, family := range []string{"iptables", "ip6tables"} {
			there = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+family, []byte(on), 0) == nil
		}
	})
	return there
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// net makes a bridge, and returns what each of its containers has of it. Its
// subnets are 10.90.N.0/24 and fd90:N::/64.
func (w *world) net(n int, set func(*network.Endpoint)) network.Endpoint {
	w.Helper()
	e := network.Endpoint{
		Network: fmt.Sprint("net", n), NetworkID: fmt.Sprint(n), Driver: network.Bridge, Link: fmt.Sprint("br", n),
		Interface: "eth0", Gateways: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.90.%d.1", n)), netip.MustParseAddr(fmt.Sprintf("fd90:%d::1", n))},
	}
	if set != nil {
		set(&e)
	}
	w.must(w.host.IP("link", "add", e.Link, "address", fmt.Sprintf("02:00:00:00:00:%02x", n), "type", "bridge"))
	w.must(w.host.IP("addr", "add", fmt.Sprintf("10.90.%d.1/24", n), "dev", e.Link))
	w.must(w.host.IP("addr", "add", fmt.Sprintf("fd90:%d::1/64", n), "nodad", "dev", e.Link))
	w.must(w.host.IP("link", "set", e.Link, "up"))
	return e
}

// box starts a container on a network, as .N.
func (w *world) box(e network.Endpoint, ports ...network.Port) *box {
	w.Helper()
	w.members++
	last := w.members + 1
	var n int
	fmt.Sscanf(e.Link, "br%d", &n)
	e.Addresses = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.90.%d.%d/24", n, last)), netip.MustParsePrefix(fmt.Sprintf("fd90:%d::%d/64", n, last))}
	b := &box{
		ns:      env.TestNetns(w.T),
		Sandbox: &network.Sandbox{Container: fmt.Sprintf("%04x%060x", last, last), Endpoints: []network.Endpoint{e}, Ports: ports},
	}
	outer := fmt.Sprint("v", last)
	b.Endpoints[0].HostInterface = outer
	b.ns.Do(noDAD)
	w.must(env.Wire(w.host, outer, nil, b.ns, "eth0", []string{e.Addresses[0].String(), e.Addresses[1].String()}))
	w.must(w.host.IP("link", "set", outer, "master", e.Link))
	w.must(w.host.IP("link", "show", "dev", outer)) // so that the bridge looks for its carrier
	w.must(b.ns.IP("route", "add", "default", "via", e.Gateways[0].String()))
	w.must(b.ns.IP("-6", "route", "add", "default", "via", e.Gateways[1].String()))
	w.running(b.Sandbox)
	firewall.Seal(w.T, w.host, b.Sandbox)
	w.must(w.wall.Attach(b.Sandbox))
	return b
}

// running makes a container's run directory look like that of one that runs.
func (w *world) running(sb *network.Sandbox) {
	w.Helper()
	dir := filepath.Join(w.store.RunRoot, sb.Container)
	w.must(os.MkdirAll(dir, 0o700))
	lock, err := flock.Exclusive(filepath.Join(dir, "monitor.lock"))
	w.must(err)
	w.Cleanup(func() { lock.Close() })
	w.locks[sb.Container] = lock
	w.must(sb.Write(dir))
}

func (b *box) v4() string { return b.Endpoints[0].Addresses[0].Addr().String() }
func (b *box) v6() string { return b.Endpoints[0].Addresses[1].Addr().String() }

func published(host string, from, to uint16, protocol string) network.Port {
	a, _ := netip.ParseAddr(host)
	return network.Port{Host: a, HostPort: from, ContainerPort: to, Protocol: protocol}
}

// serve answers every connection, and every UDP packet, with a name and the
// client's address.
func (w *world) serve(ns *env.Netns, port int, name string) {
	w.Helper()
	var l net.Listener
	var p net.PacketConn
	var err error
	ns.Do(func() {
		if l, err = net.Listen("tcp", fmt.Sprint(":", port)); err == nil {
			p, err = net.ListenPacket("udp", fmt.Sprint(":", port))
		}
	})
	w.must(err)
	w.Cleanup(func() { l.Close(); p.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%s %s", name, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
			c.Close()
		}
	}()
	go func() {
		buffer := make([]byte, 100)
		for {
			_, from, err := p.ReadFrom(buffer)
			if err != nil {
				return
			}
			fmt.Fprintf(answer{p, from}, "%s %s", name, from.(*net.UDPAddr).AddrPort().Addr().Unmap())
		}
	}()
}

type answer struct {
	net.PacketConn
	to net.Addr
}

func (a answer) Write(b []byte) (int, error) { return a.WriteTo(b, a.to) }

// ask asks a server; "" is no answer.
func (w *world) ask(from *env.Netns, protocol, address string, port int) string {
	w.Helper()
	return w.askFor(300*time.Millisecond, from, protocol, address, port)
}

// askFor is ask with another patience.
func (w *world) askFor(patience time.Duration, from *env.Netns, protocol, address string, port int) string {
	w.Helper()
	var got []byte
	from.Do(func() {
		c, err := net.DialTimeout(protocol, net.JoinHostPort(address, fmt.Sprint(port)), patience)
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if protocol == "udp" {
			c.Write([]byte("?"))
			buffer := make([]byte, 100)
			n, _ := c.Read(buffer)
			got = buffer[:n]
			return
		}
		got, _ = io.ReadAll(c)
	})
	return string(got)
}

// expect asks, and wants this answer. An answer may be late, but is the one to
// the first packet: TCP sends it again after a second.
func (w *world) expect(what string, from *env.Netns, protocol, address string, port int, want string) {
	w.Helper()
	patience := 900 * time.Millisecond
	if want == "" {
		patience /= 3
	}
	if got := w.askFor(patience, from, protocol, address, port); got != want {
		w.Errorf("%s: %s to %s port %d: %q, not %q", what, protocol, address, port, got, want)
	}
}

// nft runs nft in the host.
func (w *world) nft(args ...string) string {
	w.Helper()
	var out []byte
	var err error
	w.host.Do(func() { out, err = exec.Command("nft", args...).CombinedOutput() })
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			w.Fatalf("nft %s: %s", strings.Join(args, " "), out)
		}
		w.Fatal(err)
	}
	return string(out)
}

func firewallName(w *world) string { return firewall.TableName(w.store.Root) }

// allowLoopback lets a namespace send to 127.0.0.1 over a wire.
func allowLoopback(t *testing.T) {
	for _, setting := range []string{"all/route_localnet", "all/rp_filter", "eth0/rp_filter"} {
		value := "0"
		if strings.HasSuffix(setting, "localnet") {
			value = "1"
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+setting, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// output is what a program says.
func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	return fmt.Sprint(string(out), err)
}

// stopped makes a container one that runs no more.
func (w *world) stopped(b *box) {
	w.Helper()
	w.locks[b.Container].Close()
	w.must(os.RemoveAll(filepath.Join(w.store.RunRoot, b.Container)))
}
