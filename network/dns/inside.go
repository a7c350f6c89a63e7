package dns

import (
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"loper.run/internal/netns"
)

// spares is how many sockets are opened at once inside the container's network
// namespace: for an ordinary user each time takes a process.
const spares = 8

// spare is a socket in the container's network namespace that waits for its use.
type spare struct{ fd, family, kind int }

// near reports whether a server is in one of the container's networks. Nobody
// but the container need have a way there.
func (z *zone) near(server netip.Addr) bool {
	for i := range z.sandbox.Endpoints {
		for _, p := range z.sandbox.Endpoints[i].Addresses {
			if p.Contains(server) {
				return true
			}
		}
	}
	return false
}

// socket opens a socket for asking a server: where the monitor is, or where the
// container is. Rules for what the container may reach are not for its resolver.
func (r *Resolver) socket(server netip.Addr, family, kind int) (int, error) {
	if r.Allow != nil || !r.zone.near(server) {
		return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	}
	fit := func(s spare) bool { return s.family == family && s.kind == kind }
	i := slices.IndexFunc(r.spares, fit)
	if i < 0 {
		if err := r.openInside(family, kind); err != nil {
			return -1, err
		}
		i = slices.IndexFunc(r.spares, fit)
	}
	fd := r.spares[i].fd
	r.spares = slices.Delete(r.spares, i, i+1)
	return fd, nil
}

// openInside opens spare sockets. The listener knows the namespace.
func (r *Resolver) openInside(family, kind int) error {
	fd, err := unix.IoctlRetInt(r.fds.UDP, unix.SIOCGSKNS)
	if err != nil {
		return os.NewSyscallError("ioctl SIOCGSKNS", err)
	}
	unix.CloseOnExec(fd)
	namespace := os.NewFile(uintptr(fd), "the container's network namespace")
	defer namespace.Close()
	wants := slices.Repeat([]netns.Want{{Domain: family, Type: kind | unix.SOCK_NONBLOCK}}, spares)
	fds, err := netns.Open(namespace, wants...)
	for _, fd := range fds {
		r.spares = append(r.spares, spare{fd, family, kind})
	}
	return err
}
