package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loper.run/internal/netcontrol"
)

// newPorts is a world whose way out is somebody else's: a dead end, which nothing may be sent to.
func newPorts(t testing.TB) *world {
	w := newWorld(t, nil)
	must(t, w.user.IP("link", "add", "out0", "type", "veth", "peer", "name", "out1"))
	must(t, w.user.IP("link", "set", "out0", "up"))
	must(t, w.user.IP("route", "add", "default", "dev", "out0"))
	w.start(netcontrol.Program{})
	return w
}

// The container sees who its client is.
func TestPortsSource(t *testing.T) {
	w := newPorts(t)
	echo(t, w)
	if _, err := w.client.Publish(published("tcp", "", 8080)); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, address string
		peer          bool
		want          string // "": the client's own
	}{
		{"peer", hostAddress, true, ""},
		{"peer, IPv6", hostAddress6, true, ""},
		{"host to its own address", hostAddress, false, ""},
		{"host to its own address, IPv6", hostAddress6, false, ""},
		{"loopback", "127.0.0.1", false, gateway},
		{"loopback, IPv6", "::1", false, gateway6},
	} {
		from := w.host
		if x.peer {
			from = w.peer
		}
		c, err := dial(from, "tcp", net.JoinHostPort(x.address, "8080"))
		must(t, err)
		io.WriteString(c, "hello")
		c.(*net.TCPConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		said, err := io.ReadAll(c)
		want := c.LocalAddr().String() + "\nhello"
		if x.want != "" {
			host, _, _ := bytes.Cut(said, []byte("\n"))
			if seen, _, _ := net.SplitHostPort(string(host)); seen != x.want {
				t.Errorf("%s: the container saw %q, %v", x.name, said, err)
			}
		} else if string(said) != want || err != nil {
			t.Errorf("%s: %q instead of %q, %v", x.name, said, want, err)
		}
		c.Close()
	}
}

// A client whose address is one of the container's own wire would be looked for there.
func TestPortsClientOfTheSubnet(t *testing.T) {
	w := newPorts(t)
	echo(t, w)
	must(t, w.peer.IP("address", "add", "10.89.0.2/32", "dev", "wire"))
	must(t, w.host.IP("route", "add", "10.89.0.2/32", "dev", "wire"))
	_, err := w.client.Publish(published("tcp", "", 8080))
	must(t, err)
	var c net.Conn
	w.peer.Do(func() {
		c, err = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 89, 0, 2)}, Timeout: 3 * time.Second}).Dial("tcp", hostAddress+":8080")
	})
	must(t, err)
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(3 * time.Second))
	said := make([]byte, 9)
	if _, err := io.ReadFull(c, said); err != nil || string(said) != gateway {
		t.Errorf("%q, %v", said, err)
	}
}

// A client of IPv6 reaches a container that has IPv4 alone.
func TestPortsOtherFamily(t *testing.T) {
	w := newPorts(t)
	echo(t, w)
	p := published("tcp", "", 8080)
	p.Targets = p.Targets[:1]
	_, err := w.client.Publish(p)
	must(t, err)
	c, err := dial(w.peer, "tcp", "["+hostAddress6+"]:8080")
	must(t, err)
	defer c.Close()
	said := make([]byte, 9)
	c.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.ReadFull(c, said); err != nil || string(said) != gateway {
		t.Errorf("%q, %v", said, err)
	}
}

// All bytes arrive in both directions, and the end of one direction leaves the other open.
func TestPortsTCP(t *testing.T) {
	w := newPorts(t)
	const size = 64 << 20
	l := listen(t, w.container, containerAddress+":80")
	sums := make(chan [32]byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		h := sha256.New()
		io.Copy(h, c)
		sums <- [32]byte(h.Sum(nil))
		io.CopyN(c, rand.NewChaCha8([32]byte{2}), size)
	}()
	_, err := w.client.Publish(published("tcp", "", 8080))
	must(t, err)
	c, err := dial(w.peer, "tcp", hostAddress+":8080")
	must(t, err)
	defer c.Close()
	sent, got, want := sha256.New(), sha256.New(), sha256.New()
	_, err = io.CopyN(io.MultiWriter(c, sent), rand.NewChaCha8([32]byte{1}), size)
	must(t, err)
	c.(*net.TCPConn).CloseWrite()
	if <-sums != [32]byte(sent.Sum(nil)) {
		t.Error("the container got something else")
	}
	n, err := io.Copy(got, c)
	io.CopyN(want, rand.NewChaCha8([32]byte{2}), size)
	if n != size || err != nil || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("the client got %d bytes, %v", n, err)
	}
}

// A reader that stops for a while, and a reset in the middle.
func TestPortsSlowAndReset(t *testing.T) {
	w := newPorts(t)
	l := listen(t, w.container, containerAddress+":80")
	_, err := w.client.Publish(published("tcp", "", 8080))
	must(t, err)
	accepted := make(chan net.Conn, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	c, err := dial(w.peer, "tcp", hostAddress+":8080")
	must(t, err)
	s := <-accepted
	data := make([]byte, 32<<20)
	rand.NewChaCha8([32]byte{3}).Read(data)
	go func() {
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
	}()
	time.Sleep(200 * time.Millisecond) // everything on the way is full now
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	s.(*net.TCPConn).SetLinger(0)
	s.Close()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
	c.Close()
	// Nobody listens in the container.
	l.Close()
	c, err = dial(w.peer, "tcp", hostAddress+":8080")
	if err == nil {
		_, err = io.ReadAll(c)
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a closed port: %v", err)
	}
}

func TestPortsUDP(t *testing.T) {
	w := newPorts(t)
	for _, a := range []string{containerAddress, containerAddress6} {
		var l net.PacketConn
		var err error
		w.container.Do(func() { l, err = net.ListenPacket("udp", net.JoinHostPort(a, "80")) })
		must(t, err)
		t.Cleanup(func() { l.Close() })
		go func() {
			room := make([]byte, 1<<16)
			for {
				n, from, err := l.ReadFrom(room)
				if err != nil {
					return
				}
				l.WriteTo(append([]byte(from.String()+" "), room[:n]...), from)
			}
		}()
	}
	_, err := w.client.Publish(published("udp", "", 5353))
	must(t, err)
	for _, x := range []struct {
		address, want string
		peer          bool
	}{{hostAddress, "", true}, {hostAddress6, "", true}, {"127.0.0.1", gateway, false}, {"::1", gateway6, false}} {
		from := w.host
		if x.peer {
			from = w.peer
		}
		for _, size := range []int{0, 10, 1400, 8000} {
			// Connected: an answer from another address would not arrive.
			c, err := dial(from, "udp", net.JoinHostPort(x.address, "5353"))
			must(t, err)
			c.SetDeadline(time.Now().Add(3 * time.Second))
			c.Write(bytes.Repeat([]byte("x"), size))
			room := make([]byte, 1<<16)
			n, err := c.Read(room)
			who, data, _ := bytes.Cut(room[:n], []byte(" "))
			seen, _, _ := net.SplitHostPort(string(who))
			if x.want == "" && string(who) != c.LocalAddr().String() || x.want != "" && seen != x.want || len(data) != size || err != nil {
				t.Errorf("%s, %d bytes: %q, %d bytes, %v", x.address, size, who, len(data), err)
			}
			c.Close()
		}
	}
}

// Ports go all or none, one owner has each, and they go with it.
func TestPortsControl(t *testing.T) {
	w := newPorts(t)
	echo(t, w)
	reach := func(port uint16) error {
		c, err := dial(w.peer, "tcp", netip.AddrPortFrom(netip.MustParseAddr(hostAddress), port).String())
		if err == nil {
			c.Close()
		}
		return err
	}
	any, err := w.client.Publish(published("tcp", "", 0), published("udp", hostAddress, 0))
	must(t, err)
	if any[0].Port == 0 || any[1].Port == 0 {
		t.Errorf("%+v", any)
	}
	must(t, reach(any[0].Port))
	if _, err := w.client.Publish(any...); err != nil {
		t.Errorf("once more: %v", err)
	}
	other, err := netcontrol.Dial(w.dir)
	must(t, err)
	defer other.Close()
	if _, err := other.Publish(published("tcp", "", 7000), any[0]); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another's: %v", err)
	}
	if err := reach(7000); err == nil {
		t.Error("one of a refused request is published")
	}
	other.Withdraw(any...)
	must(t, reach(any[0].Port))
	l := listen(t, w.host, "0.0.0.0:7001")
	if _, err := other.Publish(published("tcp", "", 7001)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the host's: %v", err)
	}
	l.Close()
	for _, bad := range []netcontrol.Port{{Protocol: "sctp", Port: 1}, {Protocol: "tcp", Port: 7003}, published("tcp", "198.51.100.1", 7003)} {
		if _, err := other.Publish(bad); err == nil {
			t.Errorf("%+v was published", bad)
		}
	}
	// The loopback address alone, and 1000 at a time.
	_, err = other.Publish(published("tcp", "127.0.0.1", 7002))
	must(t, err)
	if err := reach(7002); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("published on loopback, reached from outside: %v", err)
	}
	var many []netcontrol.Port
	for i := range uint16(1000) {
		many = append(many, published("tcp", "", 20000+i))
	}
	begun := time.Now()
	_, err = other.Publish(many...)
	must(t, err)
	t.Logf("1000 ports: %s", time.Since(begun))
	must(t, reach(20999))
	list, err := w.client.List()
	if len(list) != 1003 || err != nil {
		t.Errorf("%d ports, %v", len(list), err)
	}
	other.Close()
	for range 200 {
		if list, err = w.client.List(); len(list) == 2 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if len(list) != 2 || err != nil {
		t.Errorf("after its owner has gone: %d ports, %v", len(list), err)
	}
	// New targets for what is published.
	moved := any[0]
	moved.Targets = []netcontrol.Target{{Address: netip.MustParseAddrPort("10.89.0.2:81")}}
	_, err = w.client.Publish(moved)
	must(t, err)
	l = listen(t, w.container, "10.89.0.2:81")
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, "new")
			c.Close()
		}
	}()
	c, err := dial(w.peer, "tcp", netip.AddrPortFrom(netip.MustParseAddr(hostAddress), moved.Port).String())
	must(t, err)
	if said, err := io.ReadAll(c); string(said) != "new" || err != nil {
		t.Errorf("%q, %v", said, err)
	}
	w.client.Withdraw(any...)
	if err := reach(any[0].Port); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("withdrawn: %v", err)
	}
}

// Many clients at once, from one port to several of the host too.
func TestPortsManyConnections(t *testing.T) {
	w := newPorts(t)
	echo(t, w)
	_, err := w.client.Publish(published("tcp", "", 8080), published("tcp", "", 8081))
	must(t, err)
	manyConnections(t, w.peer, func(i int) string { return fmt.Sprintf("%s:%d", hostAddress, 8080+i%2) },
		func(c net.Conn) string { return c.LocalAddr().String() + "\n" })
	// The same client port to both ports: one of them can't keep its address.
	var cs []net.Conn
	for _, port := range []string{"8080", "8081"} {
		var c net.Conn
		w.peer.Do(func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(peerAddress), Port: 4711}, Control: reuse}
			c, err = d.Dial("tcp", net.JoinHostPort(hostAddress, port))
		})
		must(t, err)
		cs = append(cs, c)
		c.SetReadDeadline(time.Now().Add(3 * time.Second))
		if _, err := c.Read(make([]byte, 100)); err != nil {
			t.Errorf("port %s: %v", port, err)
		}
	}
	for _, c := range cs {
		c.Close()
	}
}

func reuse(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
}

// A loper-net that is killed leaves the namespace usable for the next.
func TestKilled(t *testing.T) {
	w := newPorts(t)
	echo(t, w)
	for range 3 {
		syscall.Kill(w.client.Hello.PID, syscall.SIGKILL)
		w.gone()
		if _, err := w.client.List(); !errors.Is(err, netcontrol.ErrEnded) {
			t.Errorf("to a dead one: %v", err)
		}
		if _, err := netcontrol.Dial(w.dir); !errors.Is(err, netcontrol.ErrEnded) {
			t.Errorf("to a dead one: %v", err)
		}
		w.client.Close()
		w.start(netcontrol.Program{})
		_, err := w.client.Publish(published("tcp", "", 8080))
		must(t, err)
		c, err := dial(w.peer, "tcp", hostAddress+":8080")
		must(t, err)
		said := make([]byte, len(c.LocalAddr().String()))
		if _, err := io.ReadFull(c, said); string(said) != c.LocalAddr().String() || err != nil {
			t.Errorf("%q, %v", said, err)
		}
		c.Close()
	}
}

// It stays for its clients, and goes with the last one.
func TestEnds(t *testing.T) {
	w := newPorts(t)
	for range 20 {
		next, err := netcontrol.Dial(w.dir)
		must(t, err)
		w.client.Close()
		w.client = next
	}
	if w.left() == "" {
		t.Error("nothing there")
	}
	for _, f := range []struct {
		file *os.File
		want string
	}{{w.client.Network, "net"}, {w.client.User, "user"}} {
		var a, b syscall.Stat_t
		must(t, syscall.Fstat(int(f.file.Fd()), &a))
		must(t, syscall.Fstat(int(map[string]*os.File{"net": w.user.File(), "user": w.owner}[f.want].Fd()), &b))
		if a.Ino != b.Ino {
			t.Errorf("the greeting came with another %s namespace", f.want)
		}
	}
	w.client.Close()
	w.gone()
}

// A container reaches what is published through the host's own address, itself too.
func TestPortsHairpin(t *testing.T) {
	w := newWorld(t, wayOut())
	echo(t, w)
	_, err := w.client.Publish(published("tcp", "", 8080))
	must(t, err)
	for _, host := range []string{hostAddress, hostAddress6} {
		c, err := dial(w.container, "tcp", net.JoinHostPort(host, "8080"))
		must(t, err)
		c.SetDeadline(time.Now().Add(5 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		if seen, _, _ := net.SplitHostPort(strings.TrimSpace(line)); seen != host || err != nil {
			t.Errorf("the container saw %q, %v", line, err)
		}
		c.Close()
	}
}

// Who starts it is told why it can't work.
func TestStartRefused(t *testing.T) {
	w := newWorld(t, nil)
	for name, p := range map[string]netcontrol.Program{
		"an interface that is there":     {Interface: "bridge0"},
		"a name that is none":            {Interface: "a/b"},
		"a name that is too long":        {Interface: "sixteen-letters-"},
		"an MTU that IPv6 can't do with": {Interface: "out0", MTU: 500},
	} {
		p.Path, p.Dir, p.Log = filepath.Join(programs, "loper-net"), w.dir, filepath.Join(w.dir, "log")
		var err error
		w.host.Do(func() { w.client, err = p.Start(w.owner, w.user.File()) })
		if err == nil {
			w.client.Close()
			t.Errorf("%s: it was started", name)
		}
		t.Logf("%s: %v", name, err)
	}
	w.client = nil
	w.gone()
	// Without the descriptors it says how it is to be started.
	out, err := exec.Command(filepath.Join(programs, "loper-net")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "loper starts this program") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.Command(filepath.Join(programs, "loper-net"), "--help").Output(); err != nil || string(out) != usage {
		t.Errorf("%v: %s", err, out)
	}
}
