package egress

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/netns"
)

func TestRefusals(t *testing.T) {
	inside, _, _ := world(t, "192.0.2.10:80")
	fds, err := netns.Open(inside.File(), netns.Netlink(unix.NETLINK_NETFILTER))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	if err := Listen(fds[0]); err != nil {
		t.Fatal(err)
	}
	reaches(t, inside, "tcp", named4, "80")
	reaches(t, inside, "tcp", other4, "443")
	reaches(t, inside, "tcp", other6, "443")
	reaches(t, inside, "udp", named4, "443")
	var told []string
	for end := time.Now().Add(3 * time.Second); len(told) < 3 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		Refusals(fds[0], make([]byte, 16<<10), func(d string) { told = append(told, d) })
	}
	for _, want := range []string{"tcp 192.0.2.20:443", "tcp [2001:db8::20]:443", "udp 192.0.2.10:443"} {
		if !slices.Contains(told, want) {
			t.Errorf("%s is not among %q", want, told)
		}
	}
	if slices.Contains(told, "tcp 192.0.2.10:80") {
		t.Errorf("told of what is allowed: %q", told)
	}
}

func TestDestination(t *testing.T) {
	v4 := func(protocol byte, more ...byte) []byte {
		return append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, more...)
	}
	for _, test := range []struct {
		packet []byte
		want   string
	}{
		{v4(6, 0, 1, 1, 187), "tcp 10.0.0.2:443"}, {v4(17, 0, 1, 0, 53), "udp 10.0.0.2:53"}, {v4(1), "icmp 10.0.0.2"}, {v4(47), "protocol 47 10.0.0.2"}, {v4(6), "tcp 10.0.0.2"},
		{nil, ""}, {[]byte{0x45}, ""}, {append([]byte{0x4f}, v4(6)[1:]...), ""}, {make([]byte, 40), ""}, {append([]byte{0x60}, make([]byte, 39)...), "protocol 0 ::"},
	} {
		if got := destination(test.packet); got != test.want {
			t.Errorf("% x: %q, want %q", test.packet, got, test.want)
		}
	}
}
