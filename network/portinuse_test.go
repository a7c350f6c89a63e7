package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
)

// A port that a process of the host has is found out, with the process, and one
// that nobody has is free, whatever connections there were.
func TestPortInUse(t *testing.T) {
	ns := env.TestNetns(t)
	if err := ns.IP("addr", "add", "192.0.2.1/32", "dev", "lo"); err != nil {
		t.Fatal(err)
	}
	me := fmt.Sprintf("(process %d)", os.Getpid())
	listen := func(protocol, address string) {
		t.Helper()
		var err error
		ns.Do(func() {
			if strings.HasPrefix(protocol, "udp") {
				var c net.PacketConn
				if c, err = net.ListenPacket(protocol, address); err == nil {
					t.Cleanup(func() { c.Close() })
				}
				return
			}
			var l net.Listener
			if l, err = net.Listen(protocol, address); err == nil {
				t.Cleanup(func() { l.Close() })
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	listen("tcp4", "0.0.0.0:1001")
	listen("tcp6", "[::1]:1002")
	listen("tcp", ":1003")
	listen("udp4", "127.0.0.1:1004")
	listen("tcp4", "127.0.0.1:1005")
	ns.Do(func() { // the server's end of an ended connection
		l, err := net.Listen("tcp4", "127.0.0.1:1006")
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			c, err := l.Accept()
			if err == nil {
				c.Close()
			}
			l.Close()
		}()
		c, err := net.Dial("tcp4", "127.0.0.1:1006")
		if err != nil {
			t.Error(err)
			return
		}
		c.Read(make([]byte, 1))
		c.Close()
		time.Sleep(50 * time.Millisecond)
	})
	for _, test := range []struct {
		host     string
		port     uint16
		protocol string
		want     string // in the error; "": free
	}{
		{"", 1001, "tcp", me}, {"", 1001, "udp", ""}, {"127.0.0.1", 1001, "tcp", me}, {"::1", 1001, "tcp", ""},
		{"", 1002, "tcp", me}, {"127.0.0.1", 1002, "tcp", ""}, {"::", 1002, "tcp", me},
		{"127.0.0.1", 1003, "tcp", me}, {"::1", 1003, "tcp", me},
		{"", 1004, "udp", me}, {"192.0.2.1", 1004, "udp", ""}, {"", 1004, "tcp", ""},
		{"", 1005, "tcp", me}, {"192.0.2.1", 1005, "tcp", ""},
		{"", 1006, "tcp", ""},
		{"192.0.2.77", 1007, "tcp", "192.0.2.77 is not an address of the host"},
		{"", 1008, "sctp", ""},
	} {
		host, _ := netip.ParseAddr(test.host)
		p := Port{Host: host, HostPort: test.port, ContainerPort: 80, Protocol: test.protocol}
		var err error
		var words string
		ns.Do(func() {
			if err = PortInUse(p); err != nil {
				words = err.Error()
			}
		})
		if (err != nil) != (test.want != "") || !strings.Contains(words, test.want) {
			t.Errorf("%v: error %q, not %q", p, words, test.want)
		}
		if test.want == me && !errors.Is(err, errPortTaken) {
			t.Errorf("%v: error %v", p, err)
		}
	}
}
