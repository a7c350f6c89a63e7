package network

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/internal/netns"
	"loper.run/internal/nft"
)

// Resolver is where a container asks for names, in its own namespace.
func Resolver() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 11}) }

// resolverTable leads what is sent to the resolver's port 53 to where it listens.
var resolverTable = nft.Table{Family: nft.IP, Name: "loper-names"}

// ListenNames opens the sockets that a container's resolver listens on, inside
// the container's network namespace. They have ports of their own: port 53 of
// all addresses may be a server's of the container.
func ListenNames(namespace *os.File) (udp, tcp int, err error) {
	const nonblock = unix.SOCK_NONBLOCK
	fds, err := netns.Open(namespace,
		netns.Want{Domain: unix.AF_INET, Type: unix.SOCK_DGRAM | nonblock},
		netns.Want{Domain: unix.AF_INET, Type: unix.SOCK_STREAM | nonblock},
		netns.Netlink(unix.NETLINK_NETFILTER))
	if err != nil {
		return -1, -1, fmt.Errorf("resolver of the container: %w", err)
	}
	c, err := nft.New(fds[2])
	if err == nil {
		err = leadNames(c, fds[0], fds[1])
		c.Close()
	}
	if err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return -1, -1, fmt.Errorf("resolver of the container: %w", err)
	}
	return fds[0], fds[1], nil
}

func leadNames(c *nft.Conn, udp, tcp int) error {
	chain := nft.Chain{Table: resolverTable, Name: "output", Type: nft.NAT, Hook: nft.Output, Priority: -100} // dstnat
	var b nft.Batch
	b.AddTable(resolverTable)
	b.DeleteTable(resolverTable) // of a run before, where the namespace lives on
	b.AddTable(resolverTable)
	b.AddChain(chain)
	for _, s := range []struct {
		fd       int
		protocol []byte
	}{{udp, nft.UDP}, {tcp, nft.TCP}} {
		port, err := bindNames(s.fd)
		if err != nil {
			return err
		}
		b.AddRule(chain, "", nft.Is(nft.DAddr4, nft.Addr(Resolver())), nft.Is(nft.L4Proto, s.protocol),
			nft.Is(nft.DPort, nft.Port(53)), nft.DNAT(Resolver(), port))
	}
	if err := unix.Listen(tcp, 16); err != nil {
		return os.NewSyscallError("listen", err)
	}
	return c.Commit(&b)
}

// bindNames gives a socket the resolver's address and a port that the kernel
// chooses. The loopback interface need not be up yet.
func bindNames(fd int) (port uint16, err error) {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: Resolver().As4()}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return uint16(at.(*unix.SockaddrInet4).Port), nil
}
