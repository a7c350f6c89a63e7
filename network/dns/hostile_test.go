package dns

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// full is an answer of as many bytes as a message can have: that the name stands for itself, and thousands of addresses.
func full(q dnsmessage.Message) []byte {
	m := respond(q, dnsmessage.RCodeSuccess)
	m.Answers = append(m.Answers, alias(q.Questions[0].Name.String(), q.Questions[0].Name.String()))
	b := pack(m)
	n := 1
	for len(b)+16 < 65000 {
		n++
		b = append(b, 0xc0, headerSize, 0, byte(typeA), 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, byte(n>>8), byte(n))
	}
	binary.BigEndian.PutUint16(b[6:], uint16(n))
	return b
}

// Who has a zone that is allowed can't keep the monitor busy with one answer.
func TestAnswerFullOfAddresses(t *testing.T) {
	s := newServer(t)
	s.set(func(_, _ string, q dnsmessage.Message, raw []byte) [][]byte { return [][]byte{full(q)} })
	g := newRig(t, s, "127.0.0.2")
	learned := 0
	g.r.Learned = func(string, netip.Addr, uint32) { learned++ }
	g.start()
	begun := time.Now()
	g.exchange(message(1, "evil.example.", typeA, 0), 20*time.Second)
	took := time.Since(begun)
	g.halt()
	t.Logf("%d addresses in %v", learned, took)
	if learned > maxAddresses || learned < maxAddresses/2 {
		t.Errorf("%d addresses were learned", learned)
	}
}

// A flood of what is no question is no way to have the machine's processors either: not by datagrams, nor by connections
// on which bytes come one by one.
func TestFloodOfGarbage(t *testing.T) {
	for name, flood := range map[string]func(g *rig, stop chan bool){
		"datagrams": func(g *rig, stop chan bool) {
			c, _ := net.Dial("udp", g.addr)
			defer c.Close()
			for i := 0; !closed(stop); i++ {
				c.Write([][]byte{{1}, make([]byte, maxQuery+1), message(1, "x.", typeA, 0)[:15]}[i%3])
			}
		},
		"bytes": func(g *rig, stop chan bool) {
			for !closed(stop) {
				c, err := net.Dial("tcp", g.addr)
				if err != nil {
					return
				}
				for i := 0; i < 700 && !closed(stop); i++ {
					c.Write([]byte{3})
				}
				c.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil).start()
			g.name(idOne, "web", other, "10.89.0.3")
			stop := make(chan bool)
			for range 3 {
				go flood(g, stop)
			}
			full := false
			for end := time.Now().Add(20 * time.Second); !full && time.Now().Before(end); time.Sleep(time.Millisecond) {
				g.halt()
				full = g.r.pace.full
				g.start()
			}
			close(stop)
			if !full {
				t.Error("it was listened to all the time")
			}
			time.Sleep(2 * slice)
			g.want("web.", typeA, "Success 10.89.0.3")
		})
	}
}

func closed(stop chan bool) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// Clients that ask for long answers and don't read them stay known when the monitor replaces itself: else their descriptors
// would stay open for ever.
func TestSuspendFullConnections(t *testing.T) {
	s := newServer(t)
	s.set(func(_, _ string, q dnsmessage.Message, raw []byte) [][]byte { return [][]byte{full(q)} })
	g := newRig(t, s, "127.0.0.2").start()
	many := []byte(strings.Repeat(string(framed(message(2, "evil.example.", typeA, 0))), 300))
	for range maxConns {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 2048)
		at := netip.MustParseAddrPort(g.addr)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, many); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		g.halt()
		defer g.start()
		waiting := 0
		for _, c := range g.r.conns {
			if len(c.out) > 0 {
				waiting++
			}
		}
		if waiting < maxConns {
			return fmt.Errorf("%d of %d clients have more than they read", waiting, maxConns)
		}
		return nil
	})
	g.succeed()
	time.Sleep(100 * time.Millisecond)
	g.halt()
	if n := len(g.r.conns); n != maxConns {
		t.Errorf("%d of %d connections are left", n, maxConns)
	}
	g.start()
}

// A dot within a label is not what parts labels: nobody is asked for such a name.
func TestDotInALabel(t *testing.T) {
	s := newServer(t)
	g := newRig(t, s, "127.0.0.2")
	asked := ""
	g.r.Allow = func(name string) bool { asked += name; return true }
	g.start()
	m := message(1, "evil.", typeA, 0)[:headerSize]
	m = append(append(m, 8), "x.debian"...)
	m = append(append(m, 3), "org"...)
	m = append(m, 0, 0, 1, 0, 1)
	if a := g.exchange(m, 300*time.Millisecond); a != nil || asked != "" || len(s.questions()) > 0 {
		t.Errorf("answer %x; asked for %q and %q", a, asked, s.questions())
	}
}
