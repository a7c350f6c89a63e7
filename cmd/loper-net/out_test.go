package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"loper.run/internal/netcontrol"
)

func wayOut() *netcontrol.Program { return &netcontrol.Program{Interface: "out0"} }

// each runs a test with the peer's address of both families.
func each(t *testing.T, f func(t *testing.T, peer string)) {
	t.Run("4", func(t *testing.T) { f(t, peerAddress) })
	t.Run("6", func(t *testing.T) { f(t, peerAddress6) })
}

// All bytes arrive, in both directions at once, and the source is the host.
func TestOutTCP(t *testing.T) {
	w := newWorld(t, wayOut())
	each(t, func(t *testing.T, peer string) {
		l := listen(t, w.peer, net.JoinHostPort(peer, "0"))
		const size = 64 << 20
		from := make(chan string, 1)
		sums := make(chan [32]byte, 2)
		send := func(c net.Conn, seed uint64) {
			h := sha256.New()
			if _, err := io.CopyN(io.MultiWriter(c, h), rand.NewChaCha8([32]byte{byte(seed)}), size); err != nil {
				t.Error(err)
			}
			c.(*net.TCPConn).CloseWrite()
			sums <- [32]byte(h.Sum(nil))
		}
		receive := func(c net.Conn) (sum [32]byte) {
			h := sha256.New()
			if n, err := io.Copy(h, c); n != size || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
			return [32]byte(h.Sum(nil))
		}
		got := make(chan [32]byte, 2)
		go func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			from <- c.RemoteAddr().(*net.TCPAddr).IP.String()
			go send(c, 1)
			got <- receive(c)
		}()
		c, err := dial(w.container, "tcp", l.Addr().String())
		must(t, err)
		begun := time.Now()
		go send(c, 2)
		got <- receive(c)
		a, b := <-got, <-got
		x, y := <-sums, <-sums
		if !(a == x && b == y || a == y && b == x) {
			t.Error("other bytes arrived than were sent")
		}
		if f := <-from; f != hostAddress && f != hostAddress6 {
			t.Errorf("the peer saw %s", f)
		}
		t.Logf("%.0f MB/s in both directions together", 2*size/1e6/time.Since(begun).Seconds())
	})
}

// A connection stands only when the real one does.
func TestOutRefused(t *testing.T) {
	w := newWorld(t, wayOut())
	each(t, func(t *testing.T, peer string) {
		begun := time.Now()
		if c, err := dial(w.container, "tcp", net.JoinHostPort(peer, "1")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v, %v", c, err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
	// Nobody has this address on the peer's wire.
	for _, a := range []string{"192.0.2.77:1", "[2001:db8::77]:1"} {
		begun := time.Now()
		c, err := dial(w.container, "tcp", a)
		if !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("%s: %v, %v", a, c, err)
		}
		t.Log(a, time.Since(begun))
	}
	must(t, w.host.IP("route", "add", "unreachable", "198.51.100.0/24"))
	must(t, w.host.IP("route", "add", "prohibit", "198.51.101.0/24"))
	for a, want := range map[string]error{"198.51.100.1:1": syscall.EHOSTUNREACH, "198.51.101.1:1": syscall.EHOSTUNREACH} {
		if c, err := dial(w.container, "tcp", a); !errors.Is(err, want) {
			t.Errorf("%s: %v, %v", a, c, err)
		}
	}
}

// The host's loopback is not reached, in whatever way it is written.
func TestOutLoopback(t *testing.T) {
	w := newWorld(t, wayOut())
	l4, l6 := listen(t, w.host, "127.0.0.1:7777"), listen(t, w.host, "[::1]:7777")
	for _, l := range []net.Listener{l4, l6} {
		go func() {
			if c, err := l.Accept(); err == nil {
				t.Errorf("%s was reached", l.Addr())
				c.Close()
			}
		}()
	}
	must(t, w.container.IP("route", "add", "0.0.0.0/8", "via", gateway))
	for _, a := range []string{netcontrol.Gateway + ":7777", "[" + netcontrol.Gateway6 + "]:7777", "[::ffff:127.0.0.1]:7777", "[::127.0.0.1]:7777", "[64:ff9b::127.0.0.1]:7777", "0.0.0.1:7777"} {
		var c net.Conn
		var err error
		w.container.Do(func() { c, err = net.DialTimeout("tcp", a, time.Second) })
		if err == nil {
			t.Errorf("%s: connected with %s", a, c.RemoteAddr())
		}
	}
	// The host's other addresses are reached as by any process of the user.
	l := listen(t, w.host, hostAddress+":7778")
	go l.Accept()
	c, err := dial(w.container, "tcp", l.Addr().String())
	must(t, err)
	c.Close()
}

func TestOutHostLoopback(t *testing.T) {
	w := newWorld(t, &netcontrol.Program{Interface: "out0", HostLoopback: true})
	for gateway, host := range map[string]string{netcontrol.Gateway: "127.0.0.1", netcontrol.Gateway6: "::1"} {
		l := listen(t, w.host, net.JoinHostPort(host, "7777"))
		go l.Accept()
		c, err := dial(w.container, "tcp", net.JoinHostPort(gateway, "7777"))
		must(t, err)
		c.Close()
	}
}

// The end of one direction leaves the other one open.
func TestOutHalfClose(t *testing.T) {
	w := newWorld(t, wayOut())
	each(t, func(t *testing.T, peer string) {
		l := listen(t, w.peer, net.JoinHostPort(peer, "0"))
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			data, _ := io.ReadAll(c)
			time.Sleep(20 * time.Millisecond)
			fmt.Fprintf(c, "you said %s", data)
			c.Close()
		}()
		c, err := dial(w.container, "tcp", l.Addr().String())
		must(t, err)
		io.WriteString(c, "all")
		c.(*net.TCPConn).CloseWrite()
		data, err := io.ReadAll(c)
		if string(data) != "you said all" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
	})
}

// A connection that ends badly on one side does so on the other, and nothing is left of it.
func TestOutReset(t *testing.T) {
	w := newWorld(t, wayOut())
	each(t, func(t *testing.T, peer string) {
		for _, byPeer := range []bool{true, false} {
			l := listen(t, w.peer, net.JoinHostPort(peer, "0"))
			accepted := make(chan net.Conn)
			go func() {
				c, _ := l.Accept()
				accepted <- c
			}()
			a, err := dial(w.container, "tcp", l.Addr().String())
			must(t, err)
			b := <-accepted
			if byPeer {
				a, b = b, a
			}
			go io.Copy(a, neverEnding{}) // in the middle of much
			io.ReadFull(b, make([]byte, 1<<20))
			a.(*net.TCPConn).SetLinger(0)
			a.Close()
			b.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.Copy(io.Discard, b); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("by the peer %v: %v", byPeer, err)
			}
			b.Close()
		}
	})
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

func TestOutManyConnections(t *testing.T) {
	w := newWorld(t, wayOut())
	l := listen(t, w.peer, peerAddress+":0")
	go serveEach(l, func(c net.Conn) { io.Copy(c, c) })
	manyConnections(t, w.container, func(int) string { return l.Addr().String() }, func(net.Conn) string { return "" })
}

func TestOutUDP(t *testing.T) {
	w := newWorld(t, wayOut())
	each(t, func(t *testing.T, peer string) {
		var l net.PacketConn
		var err error
		w.peer.Do(func() { l, err = net.ListenPacket("udp", net.JoinHostPort(peer, "53")) })
		must(t, err)
		defer l.Close()
		go func() {
			room := make([]byte, 1<<16)
			for {
				n, from, err := l.ReadFrom(room)
				if err != nil {
					return
				}
				if host := from.(*net.UDPAddr).IP.String(); host != hostAddress && host != hostAddress6 {
					t.Errorf("the peer saw %s", host)
				}
				l.WriteTo(room[:n], from)
			}
		}()
		for _, size := range []int{0, 1, 512, 1400, 1500, 9000, 65000} { // names are short, the largest come in fragments
			c, err := dial(w.container, "udp", l.LocalAddr().String())
			must(t, err)
			defer c.Close()
			data := bytes.Repeat([]byte{byte(size)}, size)
			c.Write(data)
			c.SetReadDeadline(time.Now().Add(3 * time.Second))
			room := make([]byte, 1<<16)
			n, err := c.Read(room)
			if err != nil || !bytes.Equal(room[:n], data) {
				t.Errorf("%d bytes: %d came back, %v", size, n, err)
			}
		}
		// Nobody listens: the container is told.
		c, err := dial(w.container, "udp", net.JoinHostPort(peer, "54"))
		must(t, err)
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(3 * time.Second))
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a closed port: %v", err)
		}
	})
}

// Pings go through where the host lets users ping, and are answered by who was asked.
func TestOutPing(t *testing.T) {
	w := newWorld(t, wayOut())
	must(t, w.container.Setting("ipv4/ping_group_range", "0 2147483647"))
	for _, to := range []string{peerAddress, peerAddress6, netcontrol.Gateway, netcontrol.Gateway6} {
		for _, size := range []int{8, 56, 3000} { // the last in fragments
			if err := w.ping(to, size); err != nil {
				t.Errorf("%s, %d bytes: %v", to, size, err)
			}
		}
	}
	// Nobody there: no answer, or word from the gateway that there is none.
	if err := w.ping("192.0.2.77", 8); err == nil {
		t.Error("an address that nobody has answered")
	}
	// A host that lets no user ping: no answer, and no harm.
	must(t, w.host.Setting("ipv4/ping_group_range", "1 0"))
	w.peer.IP("address", "add", "192.0.2.3/24", "dev", "wire")
	if err := w.ping("192.0.2.3", 8); err == nil {
		t.Error("an answer, though the host lets nobody ping")
	}
	if c, err := dial(w.container, "tcp", peerAddress+":1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, %v", c, err)
	}
}

// ping sends an echo request from the container and waits for its answer.
func (w *world) ping(to string, size int) error {
	family, protocol, request, reply := syscall.AF_INET, syscall.IPPROTO_ICMP, byte(8), byte(0)
	a := netip.MustParseAddr(to)
	var address syscall.Sockaddr
	if a.Is6() {
		family, protocol, request, reply = syscall.AF_INET6, syscall.IPPROTO_ICMPV6, 128, 129
		address = &syscall.SockaddrInet6{Addr: a.As16()}
	} else {
		address = &syscall.SockaddrInet4{Addr: a.As4()}
	}
	var fd int
	var err error
	w.container.Do(func() { fd, err = syscall.Socket(family, syscall.SOCK_DGRAM, protocol) })
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 1})
	if err := syscall.Connect(fd, address); err != nil {
		return err
	}
	message := append([]byte{request, 0, 0, 0, 0, 0, 0, 7}, bytes.Repeat([]byte{byte(size)}, size)...)
	if _, err := syscall.Write(fd, message); err != nil {
		return err
	}
	room := make([]byte, 1<<16)
	n, err := syscall.Read(fd, room)
	if err != nil {
		return err
	}
	if n != len(message) || room[0] != reply || !bytes.Equal(room[6:n], message[6:]) {
		return fmt.Errorf("%d bytes that begin with % x", n, room[:min(n, 16)])
	}
	return nil
}

// However many flows there are, old ones make room and memory stays.
func TestOutManyFlows(t *testing.T) {
	w := newWorld(t, wayOut())
	var l net.PacketConn
	var err error
	w.peer.Do(func() { l, err = net.ListenPacket("udp", peerAddress+":9000") })
	must(t, err)
	defer l.Close()
	go func() {
		room := make([]byte, 2048)
		for {
			n, from, err := l.ReadFrom(room)
			if err != nil {
				return
			}
			l.WriteTo(room[:n], from)
		}
	}()
	before := w.resident()
	w.container.Do(func() {
		for i := range 12000 { // each from a port of its own: 3 times as many as there may be
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
			must(t, err)
			syscall.Bind(fd, &syscall.SockaddrInet4{Port: 20000 + i})
			syscall.Sendto(fd, []byte("x"), 0, &syscall.SockaddrInet4{Port: 9000, Addr: [4]byte{192, 0, 2, 2}})
			syscall.Close(fd)
		}
	})
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.client.Hello.PID))
	must(t, err)
	if len(files) > 4096+100 {
		t.Errorf("%d descriptors", len(files))
	}
	after := w.resident()
	t.Logf("%d descriptors, from %d to %d kB", len(files), before, after)
	if after > 150<<10 {
		t.Errorf("%d kB", after)
	}
	c, err := dial(w.container, "udp", peerAddress+":9000")
	must(t, err)
	defer c.Close()
	n := 0
	for range 20 { // the peer may still be busy, and lose some
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		c.Write([]byte("still there"))
		if n, err = c.Read(make([]byte, 100)); err == nil {
			break
		}
	}
	if n != 11 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Connections whose other side reads nothing hold little.
func TestOutStuckConnections(t *testing.T) {
	w := newWorld(t, wayOut())
	l := listen(t, w.peer, peerAddress+":0")
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	chunk := make([]byte, 1<<20)
	for range 100 {
		c, err := dial(w.container, "tcp", l.Addr().String())
		must(t, err)
		defer c.Close()
		c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		for err == nil {
			_, err = c.Write(chunk)
		}
	}
	t.Logf("%d kB", w.resident())
	if w.resident() > 600<<10 {
		t.Errorf("%d kB", w.resident())
	}
}

// resident is how much memory loper-net has, in kB.
func (w *world) resident() (kB int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.client.Hello.PID))
	must(w.t, err)
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d", &kB)
	}
	return kB
}

// A container that tries addresses which don't answer leaves room for others.
func TestOutShare(t *testing.T) {
	w := newWorld(t, wayOut())
	must(t, w.container.IP("address", "add", "10.89.0.3/24", "dev", "eth0"))
	l := listen(t, w.peer, peerAddress+":0")
	go serveEach(l, func(net.Conn) {})
	// These go into the void: an address of the peer's wire that is answered for, but takes nothing.
	must(t, w.host.IP("route", "add", "198.51.100.0/24", "via", peerAddress))
	w.container.Do(func() {
		for i := range 3000 {
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
			must(t, err)
			defer syscall.Close(fd)
			syscall.Connect(fd, &syscall.SockaddrInet4{Port: 1 + i, Addr: [4]byte{198, 51, 100, byte(i)}})
		}
	})
	var c net.Conn
	var err error
	w.container.Do(func() {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 89, 0, 3)}, Timeout: 5 * time.Second}
		c, err = d.Dial("tcp", l.Addr().String())
	})
	must(t, err)
	c.Close()
}
