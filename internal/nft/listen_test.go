package nft

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func listening(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err == nil {
		err = Listen(fd)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// What may take rules away is heard, wherever in a change it stands; what comes
// and goes in sets is not.
func TestListen(t *testing.T) {
	inNewNamespace(t)
	fd := listening(t)
	elements := func(from, n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("10.%d.%d.%d", from, i/250, i%250))
		}
		return "add element ip banned hosts { " + strings.Join(list, ", ") + " }"
	}
	for i, c := range []struct {
		change string
		heard  bool
	}{
		{"add table ip banned", true},
		{"add set ip banned hosts { type ipv4_addr; }", false},
		{"add chain ip banned in { type filter hook input priority 0; }", true},
		{"add rule ip banned in ip saddr @hosts drop", true},
		{elements(1, 1), false},
		{elements(2, 30), false},
		{elements(3, 1000), false}, // each element is a message, few of them fit into one datagram
		{"delete element ip banned hosts { 10.1.0.0, 10.2.0.1 }", false},
		{elements(4, 5) + "; add rule ip banned in ip daddr 1.2.3.4 drop", true},
		{"flush set ip banned hosts", false},
		{"add set ip banned more { type ipv4_addr; flags timeout; }", false},
		{"add element ip banned more { 1.1.1.1 timeout 1h }", false},
		{"flush set ip banned more", false},
		{"delete set ip banned more", true},
		{"flush chain ip banned in", true},
		{"delete chain ip banned in", true},
		{"flush ruleset", true},
		{"flush ruleset", false},
	} {
		program(t, "nft", c.change)
		if got := Heard(fd); got != c.heard {
			t.Errorf("%d: %.60s: heard %v", i, c.change, got)
		}
	}
}

// Nothing is missed when there is no room for all of it.
func TestListenOverrun(t *testing.T) {
	inNewNamespace(t)
	fd := listening(t)
	for range 2 {
		for i := range 50 {
			program(t, "nft", fmt.Sprintf("add table ip t%d; delete table ip t%d", i, i))
		}
		if !Heard(fd) {
			t.Fatal("nothing heard")
		}
	}
	if Heard(fd) {
		t.Error("heard of nothing")
	}
	program(t, "nft", "add table ip last")
	if !Heard(fd) {
		t.Error("deaf since there was no room")
	}
}
