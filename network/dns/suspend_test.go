package dns

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// succeed lets another resolver go on with what this one has, as after an execve.
func (g *rig) succeed() {
	g.t.Helper()
	g.halt()
	fds, list, err := g.r.Suspend()
	if err != nil {
		g.t.Fatal(err)
	}
	kept := map[int]bool{}
	for _, fd := range list {
		kept[fd] = true
	}
	// Everything that is not in the list ends here.
	for _, q := range g.r.pending {
		for _, a := range q.asked {
			if kept[a.fd] {
				g.t.Errorf("the socket to a server, %d, is kept", a.fd)
			}
			unix.Close(a.fd)
		}
	}
	for _, c := range g.r.conns {
		if !kept[c.fd] {
			g.t.Errorf("connection %d is not kept", c.fd)
		}
	}
	unix.Close(g.r.epoll)
	unix.Munmap(g.r.buf)
	host := g.r.host
	if g.r, err = New(fds); err != nil {
		g.t.Fatal(err)
	}
	g.r.host = host
	g.start()
}

// Questions on their way are answered by the successor, by UDP and by TCP.
func TestSuspend(t *testing.T) {
	before := descriptors(t)
	t.Run("", func(t *testing.T) {
		s := newServer(t)
		g := newRig(t, s, "127.0.0.2").start()
		g.name(idOne, "web", other, "10.89.0.3")
		s.set(func(transport, at string, q dnsmessage.Message, raw []byte) [][]byte {
			time.Sleep(300 * time.Millisecond)
			return fixed("192.0.2.1")(transport, at, q, raw)
		})
		var clients []net.Conn
		for i := range 20 {
			c, err := net.Dial("udp", g.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			c.Write(message(uint16(i), fmt.Sprintf("n%d.example.", i), typeA, 0))
			clients = append(clients, c)
		}
		stream := g.dial()
		whole := framed(message(77, "tcp.example.", typeA, 0))
		stream.Write(append(whole, whole[:9]...)) // and a part of the next
		quiet := g.dial()
		time.Sleep(50 * time.Millisecond)
		for range 3 {
			g.succeed()
			time.Sleep(50 * time.Millisecond)
		}
		buf := make([]byte, 1000)
		for i, c := range clients {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatal(i, err)
			}
			if got := describe(t, buf[:n], uint16(i), fmt.Sprintf("n%d.example.", i)); got != "Success 192.0.2.1" {
				t.Error(got)
			}
		}
		for range 2 {
			if got := describe(t, readFramed(stream), 77, "tcp.example."); got != "Success 192.0.2.1" {
				t.Error(got)
			}
			stream.Write(whole[9:])
		}
		g.succeed()
		quiet.Write(framed(message(78, "web.", typeA, 0)))
		if got := describe(t, readFramed(quiet), 78, "web."); got != "Success 10.89.0.3" {
			t.Error(got)
		}
	})
	eventually(t, func() error {
		if after := descriptors(t); after > before {
			return fmt.Errorf("%d descriptors before, %d after", before, after)
		}
		return nil
	})
}

func descriptors(t *testing.T) int {
	list, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range list {
		if to, _ := os.Readlink(l); to != "" {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, ok func() error) {
	t.Helper()
	var err error
	for range 100 {
		if err = ok(); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error(err)
}
