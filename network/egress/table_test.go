package egress

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/nft"
	"loper.run/test/env"
)

const (
	named4, named6 = "192.0.2.10", "2001:db8::10"
	other4, other6 = "192.0.2.20", "2001:db8::20"
)

// world is a container with rules, and a machine outside that has all addresses and answers on ports 80 and 443.
func world(t *testing.T, words ...string) (inside *env.Netns, c *nft.Conn, r *Rules) {
	t.Helper()
	inside, outside := env.TestNetns(t), env.TestNetns(t)
	err := env.Wire(inside, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, outside, "eth0",
		[]string{named4 + "/24", named6 + "/64", other4 + "/24", other6 + "/64", "169.254.169.254/16"})
	if err != nil {
		t.Fatal(err)
	}
	if err := inside.IP("address", "add", "169.254.1.1/16", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"80", "443"} {
		outside.Do(func() {
			l, err := net.Listen("tcp", ":"+port)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			for _, address := range []string{named4, named6, other4, other6} { // so that answers come from where the question went
				u, err := net.ListenPacket("udp", net.JoinHostPort(address, port))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { u.Close() })
				go echo(u)
			}
		})
	}
	if c, err = nft.OpenIn(inside.File()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if r, err = Parse(words); err != nil {
		t.Fatal(err)
	}
	if err := r.Install(c, true); err != nil {
		t.Fatal(err)
	}
	return inside, c, r
}

func echo(u net.PacketConn) {
	b := make([]byte, 100)
	for {
		n, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		u.WriteTo(b[:n], from)
	}
}

// reaches says whether something answers there, and fails the test if a refusal is not told at once.
func reaches(t *testing.T, from *env.Netns, network, address, port string) (ok bool) {
	t.Helper()
	from.Do(func() {
		begun := time.Now()
		c, err := net.DialTimeout(network, net.JoinHostPort(address, port), time.Second)
		if err == nil && network == "udp" {
			c.SetDeadline(time.Now().Add(300 * time.Millisecond))
			c.Write([]byte("x"))
			_, err = c.Read(make([]byte, 1))
		}
		if c != nil {
			c.Close()
		}
		if err != nil && network == "tcp" && time.Since(begun) > 900*time.Millisecond {
			t.Errorf("%s %s:%s is refused without a word: %v", network, address, port, err)
		}
		ok = err == nil
	})
	return ok
}

func want(t *testing.T, from *env.Netns, list map[string]bool) {
	t.Helper()
	for what, allowed := range list {
		f := strings.Fields(what)
		if got := reaches(t, from, f[0], f[1], f[2]); got != allowed {
			t.Errorf("%s: reached %v, want %v", what, got, allowed)
		}
	}
}

func TestNone(t *testing.T) {
	inside, c, r := world(t, "none")
	if err := r.Learn(c, "example.org", netip.MustParseAddr(named4), time.Hour); err != nil {
		t.Fatal(err)
	}
	want(t, inside, map[string]bool{"tcp " + named4 + " 80": false, "tcp " + named6 + " 80": false, "udp " + named4 + " 80": false, "udp " + named6 + " 80": false})
}

func TestNames(t *testing.T) {
	inside, c, r := world(t, "example.org,*.example.com:443/tcp")
	want(t, inside, map[string]bool{"tcp " + named4 + " 80": false, "tcp " + named6 + " 80": false})
	for name, addresses := range map[string][]string{"Example.ORG.": {named4, named6}, "www.example.com": {other4, other6}, "example.com": {other4}, "evil.org": {other4}} {
		for _, a := range addresses {
			for range 2 { // a second answer renews the first
				if err := r.Learn(c, name, netip.MustParseAddr(a), time.Second); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	want(t, inside, map[string]bool{
		"tcp " + named4 + " 80": true, "tcp " + named6 + " 80": true, "udp " + named4 + " 80": true, "udp " + named6 + " 443": true,
		"tcp " + other4 + " 443": true, "tcp " + other6 + " 443": true,
		"tcp " + other4 + " 80": false, "tcp " + other6 + " 80": false, "udp " + other4 + " 443": false, "udp " + other6 + " 443": false,
	})
}

func TestLifetime(t *testing.T) {
	inside, c, r := world(t, "example.org")
	list := func() string {
		var out []byte
		inside.Do(func() { out, _ = exec.Command("nft", "list", "ruleset").CombinedOutput() })
		return string(out)
	}
	for given, shown := range map[time.Duration]string{0: "1m", 90 * time.Second: "1m30s", time.Hour * 1000: "1d"} {
		if err := r.Learn(c, "example.org", netip.MustParseAddr(named4), given); err != nil {
			t.Fatal(err)
		}
		if text := list(); !strings.Contains(text, named4+" timeout "+shown+" expires") {
			t.Errorf("%v: %s is not in\n%s", given, shown, text)
		}
	}
}

func TestNetworks(t *testing.T) {
	inside, _, _ := world(t, "192.0.2.8/29:80", "[2001:db8::20]:443/tcp", "169.254.169.254")
	want(t, inside, map[string]bool{
		"tcp " + named4 + " 80": true, "udp " + named4 + " 80": true, "tcp " + named4 + " 443": false, "tcp " + other4 + " 80": false,
		"tcp " + other6 + " 443": true, "udp " + other6 + " 443": false, "tcp " + other6 + " 80": false, "tcp " + named6 + " 443": false,
		"tcp 169.254.169.254 80": true,
	})
}

// No name gives a right to addresses of the link, or of the container itself.
func TestRebinding(t *testing.T) {
	inside, c, r := world(t, "*.evil.org")
	for _, a := range []string{"169.254.169.254", "::ffff:169.254.169.254", "127.0.0.1", "::1", "224.0.0.1", "0.0.0.0"} {
		if err := r.Learn(c, "x.evil.org", netip.MustParseAddr(a), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	want(t, inside, map[string]bool{"tcp 169.254.169.254 80": false})
}

// What is sent in other ways than TCP and UDP does not get out either.
func TestOtherProtocols(t *testing.T) {
	inside, _, _ := world(t, "none")
	inside.Do(func() {
		for _, try := range []struct {
			name          string
			domain, proto int
			to            unix.Sockaddr
			packet        []byte
		}{
			{"ping", unix.AF_INET, unix.IPPROTO_ICMP, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 10}}, []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}},
			{"ping of IPv6", unix.AF_INET6, unix.IPPROTO_ICMPV6, &unix.SockaddrInet6{Addr: netip.MustParseAddr(named6).As16()}, []byte{128, 0, 0, 0, 0, 0, 0, 0}},
			{"router advertisement", unix.AF_INET6, unix.IPPROTO_ICMPV6, &unix.SockaddrInet6{Addr: netip.MustParseAddr("2001:db8::20").As16()}, make([]byte, 16)},
			{"GRE", unix.AF_INET, unix.IPPROTO_GRE, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 10}}, make([]byte, 8)},
			{"IP in IP", unix.AF_INET, unix.IPPROTO_IPIP, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 10}}, make([]byte, 40)},
		} {
			fd, err := unix.Socket(try.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, try.proto)
			if err != nil {
				t.Fatalf("%s: %v", try.name, err)
			}
			if err := unix.Sendto(fd, try.packet, 0, try.to); !errors.Is(err, syscall.EPERM) {
				t.Errorf("%s: %v, want it refused", try.name, err)
			}
			unix.Close(fd)
		}
	})
}

// Many answers, of many names.
func TestManyAddresses(t *testing.T) {
	inside, c, r := world(t, "example.org:80-90", "*.org:85")
	for i := range 300 {
		for range 2 {
			if err := r.Learn(c, "example.org", netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	var out []byte
	inside.Do(func() { out, _ = exec.Command("nft", "list", "ruleset").CombinedOutput() })
	if n := strings.Count(string(out), "expires"); n != 600 {
		t.Errorf("%d elements, want 600", n)
	}
}

// A zone that gives its names all addresses there are fills its own rule's set, and nothing more of the kernel's memory.
func TestSetsAreBounded(t *testing.T) {
	inside, c, r := world(t, "*.evil.org", "example.org")
	refused := 0
	for i := range maxAddresses + 500 {
		if err := r.Learn(c, "x.evil.org", netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), time.Hour); err != nil {
			refused++
		}
	}
	if refused != 500 {
		t.Errorf("%d addresses were refused, want 500", refused)
	}
	// One that is there is renewed, and other rules have sets of their own.
	for name, a := range map[string]string{"y.evil.org": "11.0.0.1", "example.org": named4} {
		if err := r.Learn(c, name, netip.MustParseAddr(a), time.Hour); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	want(t, inside, map[string]bool{"tcp " + named4 + " 80": true, "tcp " + other4 + " 80": false})
}

// A socket that is bound to the loopback interface gets nowhere else by it, and neither do packets with a route in them.
func TestDetours(t *testing.T) {
	inside, _, _ := world(t, named4)
	for _, network := range []string{"udp4", "udp6"} {
		to := map[string]string{"udp4": other4, "udp6": other6}[network]
		inside.Do(func() {
			d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
				c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "lo") })
				return err
			}}
			c, err := d.Dial(network, net.JoinHostPort(to, "80"))
			if err != nil {
				return
			}
			defer c.Close()
			c.Write([]byte("x"))
			c.SetDeadline(time.Now().Add(300 * time.Millisecond))
			if n, err := c.Read(make([]byte, 1)); n > 0 {
				t.Errorf("%s by the loopback interface: %v", to, err)
			}
		})
	}
	inside.Do(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		// Loose source routing by the address that is denied to the one that is allowed.
		route := append([]byte{131, 7, 4}, 192, 0, 2, 20, 1)
		if err := unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, string(route)); err != nil {
			t.Fatal(err)
		}
		err = unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{192, 0, 2, 10}})
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("a packet by way of another address: %v, want it refused", err)
		}
	})
}
