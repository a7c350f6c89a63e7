package link_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"loper.run/network/link"
	"loper.run/test/env"
)

// throughput sends so many bytes from one namespace to another, and returns the
// bits a second.
func throughput(t *testing.T, from, to *env.Netns, address string, bytes int) float64 {
	t.Helper()
	var listener net.Listener
	var err error
	to.Do(func() { listener, err = net.Listen("tcp", net.JoinHostPort(address, "0")) })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan time.Duration, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		start := time.Now()
		io.Copy(io.Discard, c)
		done <- time.Since(start)
	}()
	var c net.Conn
	from.Do(func() { c, err = net.Dial("tcp", listener.Addr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(make([]byte, bytes)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case took := <-done:
		return float64(bytes) * 8 / took.Seconds()
	case <-time.After(20 * time.Second):
		t.Fatal("the bytes do not arrive")
		return 0
	}
}

// Also with the large packets that an ordinary user's networks have.
func TestRates(t *testing.T) {
	for _, mtu := range []int{1500, 65520} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) { testRates(t, mtu) })
	}
}

func testRates(t *testing.T, mtu int) {
	h := host(t)
	s := sandbox(2)
	s.RateIn, s.RateOut, s.Endpoints[0].MTU = 16e6, 8e6, mtu
	n := env.TestNetns(t)
	if err := link.Connect(s, n.File(), noRules); err != nil {
		if strings.Contains(err.Error(), "the kernel") {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	near := func(what string, got float64, want uint64) {
		t.Helper()
		t.Logf("%s: %.1f Mbit/s", what, got/1e6)
		if got < float64(want)/2 || got > float64(want)*1.5 {
			t.Errorf("%s: %.1f Mbit/s, with a limit of %d", what, got/1e6, want/1e6)
		}
	}
	near("in", throughput(t, h, n, "10.89.0.2", 1<<19), s.RateIn)
	near("out", throughput(t, n, h, "10.89.0.1", 1<<19), s.RateOut)
	near("out, IPv6", throughput(t, n, h, "fd00::1", 1<<19), s.RateOut)
	// Another container has no limit, and this one none that it could take away.
	other := connect(t, sandbox(3))
	if got := throughput(t, other, h, "10.89.0.1", 8<<20); got < 40e6 {
		t.Errorf("a container without a limit has %.1f Mbit/s", got/1e6)
	}
	must(t, n, "tc", "qdisc", "replace", "dev", "eth0", "root", "pfifo")
	near("out, again", throughput(t, n, h, "10.89.0.1", 1<<19), s.RateOut)
	if err := link.Disconnect(s); err != nil {
		t.Error(err)
	}
	if _, err := linkOf(h, "li000000020001"); err == nil {
		t.Error("the interface that packets waited in is still there")
	}
}
