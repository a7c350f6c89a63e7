package inside

import (
	"fmt"
	"net/netip"
	"os"

	"loper.run/internal/netcontrol"
	"loper.run/internal/netlink"

	"golang.org/x/sys/unix"
)

// TUN_F_… of linux/if_tun.h: the kernel leaves checksums and the cutting into segments to us.
const offloads = 1 | 2 | 4 // checksums, TCP over IPv4, TCP over IPv6

// wayOut makes a tun interface with default routes, and returns its descriptor. Its packets have a header that says how
// they are to be cut into segments, so that many segments cross at once whatever the containers' MTU is.
func wayOut(s Settings) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	if err := configure(fd, s); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func configure(fd int, s Settings) error {
	r, err := unix.NewIfreq(s.Interface)
	if err != nil {
		return fmt.Errorf("the interface name %q: %w", s.Interface, err)
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return fmt.Errorf("make the interface %s: %w", s.Interface, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
		return os.NewSyscallError("TUNSETOFFLOAD", err)
	}
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	link, err := c.Link(s.Interface)
	if err != nil {
		return err
	}
	requests := []netlink.Request{
		netlink.Set(netlink.Settings{Index: link.Index, Name: s.Interface, MTU: s.MTU, NoLinkLocal: true}).Or(unix.EAFNOSUPPORT, unix.EINVAL),
		netlink.Set(netlink.Settings{Index: link.Index, Name: s.Interface, MTU: s.MTU, Up: true}),
		netlink.NewAddress(link.Index, netlink.Address{Prefix: host(netcontrol.Address), Peer: netip.MustParseAddr(netcontrol.Gateway)}),
		netlink.NewRoute(netlink.Route{To: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Index: link.Index}),
	}
	if s.IPv6 {
		requests = append(requests,
			netlink.NewAddress(link.Index, netlink.Address{Prefix: host(netcontrol.Address6), Peer: netip.MustParseAddr(netcontrol.Gateway6), Flags: unix.IFA_F_NODAD}),
			netlink.NewRoute(netlink.Route{To: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Index: link.Index}))
	}
	return c.Ask(requests)
}

// host is an address alone.
func host(address string) netip.Prefix {
	a := netip.MustParseAddr(address)
	return netip.PrefixFrom(a, a.BitLen())
}
