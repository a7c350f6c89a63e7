package netns_test

import (
	"os"
	"testing"

	"loper.run/internal/netlink"
	"loper.run/internal/netns"
	"loper.run/test/env"

	"golang.org/x/sys/unix"
)

// An ordinary user opens sockets in a network namespace of his own, and uses
// them with the rights of its owner.
func TestOpenAsUser(t *testing.T) {
	if !env.AsUser(t, false, nil) {
		return
	}
	owner, namespace, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	defer namespace.Close()
	fds, err := netns.Open(namespace, netns.Netlink(unix.NETLINK_ROUTE), netns.Want{Setting: "ipv6/conf/nothing/accept_ra"},
		netns.Want{Setting: "ipv4/ip_forward"}, netns.Want{Domain: unix.AF_INET, Type: unix.SOCK_STREAM})
	if err != nil {
		t.Fatal(err)
	}
	route, err := netlink.New(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer route.Close()
	lo, err := route.Link("lo")
	if err != nil || lo.Up {
		t.Fatalf("%+v, %v", lo, err)
	}
	if err := route.SetUp(lo.Index); err != nil {
		t.Error(err)
	}
	if fds[1] != -1 {
		t.Errorf("descriptor %d of a setting that is not there", fds[1])
	}
	if _, err := unix.Write(fds[2], []byte("1")); err != nil {
		t.Error(err)
	}
	unix.Close(fds[2])
	// Below the host's first port for ordinary users, with an address that only the rights over the namespace give.
	if err := unix.SetsockoptInt(fds[3], unix.SOL_IP, unix.IP_TRANSPARENT, 1); err != nil {
		t.Error(err)
	}
	if err := unix.Bind(fds[3], &unix.SockaddrInet4{Port: 80, Addr: [4]byte{192, 0, 2, 7}}); err != nil {
		t.Error(err)
	}
	unix.Close(fds[3])
	// What is the host's stays the host's.
	host, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if fds, err := netns.Open(host, netns.Netlink(unix.NETLINK_ROUTE)); err == nil {
		t.Errorf("%v in the host's namespace", fds)
	}
}
