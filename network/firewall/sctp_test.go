package firewall_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"loper.run/test/env"
)

// The first packet of an SCTP association finds the container too. It is made by
// hand: not every kernel that can forward SCTP speaks it.
func TestSCTP(t *testing.T) {
	w := newWorld(t)
	b := w.box(w.net(1, nil), published("", 8132, 132, "sctp"))
	w.host.Do(func() {
		if _, err := unix.Open("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established", unix.O_RDONLY, 0); errors.Is(err, unix.ENOENT) {
			t.Skip("this kernel does not track SCTP")
		}
	})
	raw := func(ns *env.Netns) (fd int) {
		ns.Do(func() {
			var err error
			fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
			w.must(err)
		})
		t.Cleanup(func() { unix.Close(fd) })
		w.must(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}))
		return fd
	}
	packet := make([]byte, 32)
	binary.BigEndian.PutUint16(packet[0:], 4000) // from port
	binary.BigEndian.PutUint16(packet[2:], 8132) // to port
	packet[12] = 1                               // INIT
	binary.BigEndian.PutUint16(packet[14:], 20)
	binary.BigEndian.PutUint32(packet[16:], 0x12345678) // tag
	binary.BigEndian.PutUint32(packet[20:], 65536)      // window
	binary.BigEndian.PutUint16(packet[24:], 1)          // streams out
	binary.BigEndian.PutUint16(packet[26:], 1)          // streams in
	binary.LittleEndian.PutUint32(packet[8:], crc32.Checksum(packet, crc32.MakeTable(crc32.Castagnoli)))
	in, out := raw(b.ns), raw(w.outside)
	w.must(unix.Sendto(out, packet, 0, &unix.SockaddrInet4{Addr: netip.MustParseAddr(host4).As4()}))
	got := make([]byte, 100)
	n, from, err := unix.Recvfrom(in, got, 0)
	if err != nil || n < 52 {
		t.Fatalf("%d bytes, %v\n%s", n, err, w.nft("list", "ruleset"))
	}
	if a := from.(*unix.SockaddrInet4).Addr; netip.AddrFrom4(a).String() != outside4 {
		t.Errorf("from %v", a)
	}
	if port := binary.BigEndian.Uint16(got[22:]); port != 132 {
		t.Errorf("to port %d", port)
	}
}
