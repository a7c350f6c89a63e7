package netns_test

import (
	"os"
	"strings"
	"testing"

	"loper.run/internal/netlink"
	"loper.run/internal/netns"
	"loper.run/test/env"

	"golang.org/x/sys/unix"
)

func TestOpen(t *testing.T) {
	n := env.TestNetns(t)
	if err := n.IP("link", "add", "only-here", "type", "veth", "peer", "name", "too"); err != nil {
		t.Skip(err)
	}
	fds, err := netns.Open(n.File(), netns.Netlink(unix.NETLINK_ROUTE), netns.Want{Setting: "ipv6/conf/only-here/accept_ra"},
		netns.Want{Setting: "ipv6/conf/nothing/accept_ra"}, netns.Want{Domain: unix.AF_INET, Type: unix.SOCK_DGRAM})
	if err != nil {
		t.Fatal(err)
	}
	c, err := netlink.New(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Link("only-here"); err != nil {
		t.Error(err)
	}
	if fds[1] < 0 || fds[2] != -1 {
		t.Errorf("%v", fds)
	}
	if _, err := unix.Write(fds[1], []byte("0")); err != nil {
		t.Error(err)
	}
	unix.Close(fds[1])
	if err := unix.Bind(fds[3], &unix.SockaddrInet4{Port: 5353, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Error(err)
	}
	unix.Close(fds[3])
	n.Do(func() {
		data, err := os.ReadFile("/proc/sys/net/ipv6/conf/only-here/accept_ra")
		if err != nil || string(data) != "0\n" {
			t.Errorf("%q, %v", data, err)
		}
	})
	// nil is where the caller is.
	fds, err = netns.Open(nil, netns.Netlink(unix.NETLINK_ROUTE))
	if err != nil {
		t.Fatal(err)
	}
	own, err := netlink.New(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if _, err := own.Link("only-here"); err == nil {
		t.Error("the caller is elsewhere")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := netns.Open(null, netns.Netlink(unix.NETLINK_ROUTE)); err == nil || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("error %v", err)
	}
}
