package firewall

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/test/env"
)

// lab is a client on one wire with a host, and a container on the host's bridge
// that answers at port 80 with the address of who asks. The host checks senders
// as strictly as it can.
type lab struct {
	t                       testing.TB
	client, host, container *env.Netns
}

const (
	host4, host6     = "192.0.2.1", "2001:db8::1"
	client4, client6 = "192.0.2.2", "2001:db8::2"
	inside4, inside6 = "10.89.0.2", "fd00:89::2"
)

func newLab(t testing.TB) *lab {
	t.Helper()
	env.Need(t, "nft")
	l := &lab{t, env.TestNetns(t), env.TestNetns(t), env.TestNetns(t)}
	for _, n := range []*env.Netns{l.client, l.host, l.container} {
		l.settings(n, map[string]string{"ipv6/conf/default/accept_dad": "0", "ipv6/conf/default/disable_ipv6": "0"})
	}
	l.settings(l.host, map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
		"ipv4/conf/all/rp_filter": "1", "ipv4/conf/default/rp_filter": "1",
		"ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
	})
	l.ok(env.Wire(l.client, "eth0", []string{client4 + "/24", client6 + "/64"}, l.host, "eth0", []string{host4 + "/24", host6 + "/64"}))
	l.ok(env.Wire(l.container, "eth0", []string{inside4 + "/24", inside6 + "/64"}, l.host, "lv0", nil))
	for _, line := range []string{
		"link add loper0 type bridge", "link set lv0 master loper0", "link set loper0 up",
		"address add 10.89.0.1/24 dev loper0", "address add fd00:89::1/64 dev loper0 nodad",
	} {
		l.ok(l.host.IP(strings.Fields(line)...))
	}
	l.ok(l.container.IP("route", "add", "default", "via", "10.89.0.1"))
	l.ok(l.container.IP("-6", "route", "add", "default", "via", "fd00:89::1"))
	l.container.Do(func() {
		for _, at := range []string{inside4, inside6} {
			l.serve(net.JoinHostPort(at, "80"))
		}
	})
	// The neighbours know each other before anything is measured.
	for _, to := range []string{host4, host6} {
		l.until("the host answers the client", func() bool {
			_, _, err := l.dial(l.client, "tcp", net.JoinHostPort(to, "1"))
			return errors.Is(err, unix.ECONNREFUSED)
		})
	}
	for _, to := range []string{inside4, inside6} {
		l.until("the container answers the host", func() bool {
			_, _, err := l.dial(l.host, "tcp", net.JoinHostPort(to, "80"))
			return err == nil
		})
	}
	return l
}

func (l *lab) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) until(what string, f func() bool) {
	l.t.Helper()
	for end := time.Now().Add(30 * wait); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatal("waited in vain until ", what)
		}
	}
}

func (l *lab) settings(n *env.Netns, values map[string]string) {
	l.t.Helper()
	n.Do(func() {
		for name, value := range values {
			if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
				l.t.Error(err)
			}
		}
	})
}

// serve answers each who comes, over TCP and UDP, with who that is.
func (l *lab) serve(at string) {
	l.t.Helper()
	tcp, err := net.Listen("tcp", at)
	l.ok(err)
	udp, err := net.ListenPacket("udp", at)
	l.ok(err)
	l.t.Cleanup(func() { tcp.Close(); udp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, c.RemoteAddr().(*net.TCPAddr).IP)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	go func() {
		buffer := make([]byte, 65536)
		for {
			n, from, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(fmt.Appendf(nil, "%s\n%d", from.(*net.UDPAddr).IP, n), from)
		}
	}()
}

// wait is longer than an answer ever takes, and shorter than a packet that is
// sent a second time, but on an emulated machine.
var wait = 300 * time.Millisecond

func init() {
	if os.Getenv("LOPER_TEST_VM") != "" {
		wait = 4 * time.Second
	}
}

// dial asks a server who asks it.
func (l *lab) dial(from *env.Netns, network, to string) (who string, took time.Duration, err error) {
	begin := time.Now()
	var c net.Conn
	from.Do(func() { c, err = net.DialTimeout(network, to, wait) })
	took = time.Since(begin)
	if err != nil {
		return "", took, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(wait))
	if network == "udp" {
		if _, err = c.Write([]byte("?")); err != nil {
			return "", took, err
		}
	}
	answer := make([]byte, 100)
	n, err := c.Read(answer)
	who, _, _ = strings.Cut(string(answer[:n]), "\n")
	return who, time.Since(begin), err
}

// run runs a program in the host.
func (l *lab) run(input string, args ...string) string {
	l.t.Helper()
	env.Need(l.t, args[0])
	var out []byte
	var err error
	l.host.Do(func() {
		c := exec.Command(args[0], args[1:]...)
		c.Stdin = strings.NewReader(input)
		out, err = c.CombinedOutput()
	})
	if err != nil {
		l.t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// nft carries out commands of nft's language in the host.
func (l *lab) nft(commands string) { l.t.Helper(); l.run(commands, "nft", "-f", "-") }

// rules gives the host those of a file in testdata.
func (l *lab) rules(file string) {
	l.t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	l.ok(err)
	switch {
	case strings.HasSuffix(file, ".nft"):
		l.nft(string(data))
	case strings.HasSuffix(file, ".rules6"):
		l.run(string(data), "ip6tables-nft-restore", "-n")
	default:
		l.run(string(data), "iptables-nft-restore", "-n")
	}
}

// outcome is what becomes of a packet for a port of the host.
type outcome string

const (
	open     outcome = "open"
	silent   outcome = "silent"
	refused  outcome = "refused" // with RST or port-unreachable
	rejected outcome = "rejected"
	asHost   outcome = "what the host's own ports are" // and not open
)

func (l *lab) outcome(from *env.Netns, network, to string) (outcome, string, time.Duration) {
	who, took, err := l.dial(from, network, to)
	switch {
	case err == nil:
		return open, who, took
	case errors.Is(err, unix.ECONNREFUSED):
		return refused, "", took
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENETUNREACH):
		return rejected, "", took
	}
	var timed net.Error
	if errors.As(err, &timed) && timed.Timeout() {
		return silent, "", took
	}
	l.t.Errorf("%s %s: %v", network, to, err)
	return "", "", 0
}

// expect checks what becomes of packets of the client for port 8080 of the host.
func (l *lab) expect(what string, want map[string]outcome) {
	l.t.Helper()
	var all sync.WaitGroup
	for kind, want := range want {
		all.Go(func() {
			network, address, own := kind[:3], host4, client4
			if strings.HasSuffix(kind, "6") {
				address, own = host6, client6
			}
			got, who, took := l.outcome(l.client, network, net.JoinHostPort(address, "8080"))
			if want == asHost {
				want, _, _ = l.outcome(l.client, network, net.JoinHostPort(address, "8079"))
			}
			if got != want {
				l.t.Errorf("%s: %s is %s after %v, want %s", what, kind, got, took, want)
			}
			if got == open && netip.MustParseAddr(who) != netip.MustParseAddr(own) {
				l.t.Errorf("%s: %s: the container sees %s, not the client", what, kind, who)
			}
		})
	}
	all.Wait()
}

func all(o outcome) map[string]outcome {
	return map[string]outcome{"tcp4": o, "udp4": o, "tcp6": o, "udp6": o}
}
