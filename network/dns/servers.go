package dns

import (
	"bytes"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// servers are the resolvers of the host, as its resolv.conf names them.
type servers struct {
	path string
	port int
	read stamp
	list []netip.Addr
}

// maxServers is how many the C libraries ask.
const maxServers = 3

// get reads the file again if it is another one than before.
func (s *servers) get() []netip.Addr {
	var st unix.Stat_t
	if err := unix.Stat(s.path, &st); err != nil {
		st = unix.Stat_t{}
	}
	if stampOf(&st) != s.read || s.list == nil {
		s.list, s.read = readServers(s.path), stampOf(&st)
	}
	return s.list
}

// readServers reads the lines "nameserver ADDRESS". Without one the machine
// itself is meant, as the C libraries have it.
func readServers(path string) []netip.Addr {
	var list []netip.Addr
	for line := range bytes.Lines(readFile(path, 16<<10)) {
		words := bytes.Fields(line)
		if len(words) < 2 || string(words[0]) != "nameserver" || len(list) == maxServers {
			continue
		}
		if a, err := netip.ParseAddr(string(words[1])); err == nil {
			list = append(list, a.Unmap())
		}
	}
	if len(list) == 0 {
		list = append(list, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return list
}

// readFile reads a file's beginning. Package os would bring its poller along.
func readFile(path string, limit int) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	data := make([]byte, limit)
	used := 0
	for used < limit {
		n, err := unix.Read(fd, data[used:])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			break
		}
		used += n
	}
	return data[:used]
}

// sockaddr is where a server is asked. A zone is the name of an interface.
func (s *servers) sockaddr(a netip.Addr) (unix.Sockaddr, int) {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: s.port, Addr: a.As4()}, unix.AF_INET
	}
	to := &unix.SockaddrInet6{Port: s.port, Addr: a.As16()}
	if zone := a.Zone(); zone != "" && !bytes.ContainsRune([]byte(zone), '/') {
		index := bytes.TrimSpace(readFile("/sys/class/net/"+zone+"/ifindex", 16))
		n, err := strconv.ParseUint(string(index), 10, 32)
		if err != nil {
			n, _ = strconv.ParseUint(zone, 10, 32)
		}
		to.ZoneId = uint32(n)
	}
	return to, unix.AF_INET6
}

// nameservers are who is asked for what no network knows: the container's own
// choice, else its networks', else the host's.
func (r *Resolver) nameservers() []netip.Addr {
	if list := r.zone.sandbox.Nameservers; len(list) > 0 {
		return list
	}
	for _, e := range r.zone.sandbox.Endpoints {
		if len(e.Nameservers) > 0 && !e.Internal {
			return e.Nameservers
		}
	}
	return r.host.get()
}
