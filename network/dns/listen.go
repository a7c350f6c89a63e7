package dns

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/internal/netns"
	"loper.run/internal/nft"
)

// address is where a container asks for names, in its own namespace.
func address() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 11}) }

// table leads what is sent to port 53 of address to where the resolver listens.
var table = nft.Table{Family: nft.IP, Name: "loper-names"}

// Listen opens what the resolver of a container stands on: its run directory,
// the directory of all networks, and sockets inside its network namespace.
// These have ports of their own: port 53 of all addresses may be a server's of
// the container.
func Listen(runDir, networks string, namespace *os.File) (_ Descriptors, err error) {
	fds := None
	defer func() {
		if err != nil {
			fds.close()
		}
	}()
	for _, dir := range []struct {
		fd   *int
		path string
	}{{&fds.Run, runDir}, {&fds.Networks, networks}} {
		if *dir.fd, err = unix.Open(dir.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return None, &os.PathError{Op: "open", Path: dir.path, Err: err}
		}
	}
	sockets, err := netns.Open(namespace,
		netns.Want{Domain: unix.AF_INET, Type: unix.SOCK_DGRAM | unix.SOCK_NONBLOCK},
		netns.Want{Domain: unix.AF_INET, Type: unix.SOCK_STREAM | unix.SOCK_NONBLOCK},
		netns.Netlink(unix.NETLINK_NETFILTER))
	if err != nil {
		return None, fmt.Errorf("resolver of the container: %w", err)
	}
	fds.UDP, fds.TCP = sockets[0], sockets[1]
	c, err := nft.New(sockets[2])
	if err == nil {
		err = lead(c, fds.UDP, fds.TCP)
		c.Close()
	}
	if err != nil {
		return None, fmt.Errorf("resolver of the container: %w", err)
	}
	return fds, nil
}

// lead binds the sockets, and adds the rules that lead to them.
func lead(c *nft.Conn, udp, tcp int) error {
	if err := bringUp(udp); err != nil {
		return err
	}
	chain := nft.Chain{Table: table, Name: "output", Type: nft.NAT, Hook: nft.Output, Priority: -100} // dstnat
	var b nft.Batch
	b.AddTable(table)
	b.DeleteTable(table) // of a run before, where the namespace lives on
	b.AddTable(table)
	b.AddChain(chain)
	for _, s := range []struct {
		fd       int
		protocol []byte
	}{{udp, nft.UDP}, {tcp, nft.TCP}} {
		port, err := bind(s.fd)
		if err != nil {
			return err
		}
		b.AddRule(chain, "", nft.Is(nft.DAddr4, nft.Addr(address())), nft.Is(nft.L4Proto, s.protocol),
			nft.Is(nft.DPort, nft.Port(53)), nft.DNAT(address(), port))
	}
	if err := unix.Listen(tcp, 16); err != nil {
		return os.NewSyscallError("listen", err)
	}
	return c.Commit(&b)
}

// bringUp brings the loopback interface of a socket's namespace up, as the
// container will. As long as a namespace has no address, the kernel takes any that
// a socket is bound to for a broadcast, and sends answers with another.
func bringUp(fd int) error {
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("bring the loopback interface up", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}

// bind gives a socket the resolver's address and a port that the kernel chooses.
func bind(fd int) (port uint16, err error) {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: address().As4()}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return uint16(at.(*unix.SockaddrInet4).Port), nil
}
