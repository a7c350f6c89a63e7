package egress

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Of <linux/netfilter/nfnetlink_log.h>.
const (
	ulogSubsystem = 4
	ulogPacket    = 0
	ulogConfig    = 1

	configCommand = 1
	configMode    = 2
	configQueue   = 5
	bindGroup     = 1
	copyPacket    = 2

	packetPayload = 9
)

// headers is as much of a refused packet as says where it should have gone.
const headers = 64

// Listen makes a NETLINK_NETFILTER socket of the container's namespace hear of
// the packets that are refused there. It stays the caller's.
func Listen(fd int) error {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	c, err := netlink.New(copied)
	if err != nil {
		return err
	}
	defer c.Close()
	group := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, LogGroup}
	mode := append(binary.BigEndian.AppendUint32(nil, headers), copyPacket, 0)
	for _, body := range [][]byte{
		netlink.Append(group[:4:4], configCommand, []byte{bindGroup}),
		netlink.Append(group[:4:4], configMode, mode),
		netlink.Append(group[:4:4], configQueue, []byte{0, 0, 0, 1}), // each at once
	} {
		if _, err := c.Do(ulogSubsystem<<8|ulogConfig, 0, body); err != nil {
			return fmt.Errorf("listen for refused packets: %w (the kernel's module is nfnetlink_log)", err)
		}
	}
	return unix.SetNonblock(fd, true)
}

// Refusals reads once from the socket of Listen, with the help of buf, and
// tells of each packet where it should have gone, as in "tcp 192.0.2.1:443".
func Refusals(fd int, buf []byte, tell func(destination string)) {
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return
	}
	for datagram := buf[:n]; len(datagram) >= unix.NLMSG_HDRLEN; {
		size := int(binary.NativeEndian.Uint32(datagram))
		if size < unix.NLMSG_HDRLEN || size > len(datagram) {
			return
		}
		kind, content := binary.NativeEndian.Uint16(datagram[4:]), datagram[unix.NLMSG_HDRLEN:size]
		datagram = datagram[min((size+3)&^3, len(datagram)):]
		if kind != ulogSubsystem<<8|ulogPacket || len(content) < 4 {
			continue
		}
		for kind, value := range netlink.Attributes(content[4:]) {
			if kind == packetPayload {
				if text := destination(value); text != "" {
					tell(text)
				}
			}
		}
	}
}

// destination reads the beginning of a packet; "" for one that is cut.
func destination(p []byte) string {
	var to netip.Addr
	var protocol byte
	switch {
	case len(p) >= 20 && p[0]>>4 == 4 && len(p) >= int(p[0]&15)*4:
		to, _ = netip.AddrFromSlice(p[16:20])
		protocol, p = p[9], p[int(p[0]&15)*4:]
	case len(p) >= 40 && p[0]>>4 == 6:
		to, _ = netip.AddrFromSlice(p[24:40])
		protocol, p = p[6], p[40:]
	default:
		return ""
	}
	name := map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp", unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "ipv6-icmp"}[protocol]
	switch {
	case name == "":
		return "protocol " + strconv.Itoa(int(protocol)) + " " + to.String()
	case name == "icmp" || name == "ipv6-icmp" || len(p) < 4:
		return name + " " + to.String()
	}
	return name + " " + netip.AddrPortFrom(to, binary.BigEndian.Uint16(p[2:])).String()
}
