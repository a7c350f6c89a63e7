package out

import (
	"net/netip"
	"os"
	"testing"

	"loper.run/internal/netcontrol"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"golang.org/x/sys/unix"
)

// newFake is a way out of nothing: what it writes is lost.
func newFake(t testing.TB) *Way {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(os.NewFile(uintptr(pair[0]), "tun"), Settings{MTU: 1500, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(pair[1])
	t.Cleanup(w.Close)
	return w
}

// FuzzPackets gives the stack whatever a container may send. All goes to the gateway's address, so that nothing leaves.
func FuzzPackets(f *testing.F) {
	w := newFake(f)
	for _, protocol := range []byte{1, 6, 17, 44, 58} {
		for _, flags := range []byte{0, 0x20, 0x40} {
			four := make([]byte, 60)
			header.IPv4(four).Encode(&header.IPv4Fields{TotalLength: 60, TTL: 64, Protocol: protocol, SrcAddr: address(netip.MustParseAddr("10.89.0.2")), DstAddr: address(w.gateway4)})
			four[6] = flags
			copy(four[20:], []byte{8, 0, 0, 7, 0, 1, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff})
			f.Add(four)
			six := make([]byte, 80)
			header.IPv6(six).Encode(&header.IPv6Fields{PayloadLength: 40, HopLimit: 64, SrcAddr: address(netip.MustParseAddr("fd89::2")), DstAddr: address(w.gateway6)})
			six[6] = protocol
			copy(six[40:], []byte{128, 0, 0, 7, 0, 1, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff})
			f.Add(six)
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) == 0 || len(packet) > maxPacket {
			return
		}
		switch {
		case packet[0]>>4 == header.IPv4Version && len(packet) >= header.IPv4MinimumSize:
			h := header.IPv4(packet)
			h.SetDestinationAddress(address(w.gateway4))
			if n := int(h.HeaderLength()); n >= header.IPv4MinimumSize && n <= len(packet) {
				h.SetChecksum(0)
				h.SetChecksum(^h.CalculateChecksum())
			}
		case packet[0]>>4 == header.IPv6Version && len(packet) >= header.IPv6MinimumSize:
			header.IPv6(packet).SetDestinationAddress(address(w.gateway6))
		}
		w.link.deliver(buffer.NewViewWithData(packet))
	})
}

// No address that a socket takes for this host leads anywhere.
func TestTarget(t *testing.T) {
	w := newFake(t)
	for _, a := range []string{
		"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1", "255.255.255.255", "240.0.0.1",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "ff02::1", netcontrol.Gateway, netcontrol.Gateway6,
	} {
		if to, ok := w.target(netip.MustParseAddr(a)); ok {
			t.Errorf("%s leads to %s", a, to)
		}
	}
	for _, a := range []string{"10.0.0.1", "192.0.2.1", "2001:db8::1", "fd00::1", "1.1.1.1"} {
		if to, ok := w.target(netip.MustParseAddr(a)); !ok || to.String() != a {
			t.Errorf("%s leads to %s, %v", a, to, ok)
		}
	}
}
