package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
)

const portDir = "port"

// The ports that are chosen from when any will do.
const (
	firstPort = 49153
	lastPort  = 65535
)

var errPortTaken = errors.New("port is taken")

// portTaken is a port that a container has.
type portTaken struct {
	port  Port
	owner string // its id
	name  string // of the owner, or what else is known of it
}

func (e *portTaken) Error() string {
	return fmt.Sprintf("%v: %s by container %s", errPortTaken, e.port, e.name)
}

func (e *portTaken) Unwrap() error { return errPortTaken }

// claimPorts takes ports of the host for a container, and chooses those that are
// left open. Containers that have ended lose theirs.
func (s *Store) claimPorts(container string, ports []Port) ([]Port, error) {
	for {
		chosen, err := s.takePorts(container, ports)
		taken, ok := errors.AsType[*portTaken](err)
		if !ok || !s.gone(taken.owner) {
			return chosen, err
		}
		if err := s.Release(taken.owner); err != nil {
			return nil, err
		}
	}
}

func (s *Store) takePorts(container string, ports []Port) ([]Port, error) {
	if len(ports) == 0 {
		return nil, nil
	}
	dir := s.Dir(portDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockPorts(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := enough(ports); err != nil {
		return nil, err
	}
	chosen := make([]Port, len(ports))
	mine := map[string][]Port{} // by their directories
	// Who looks for a port doesn't get one that is asked for by its number.
	for _, open := range []bool{false, true} {
		for i, p := range ports {
			if p.open() == open {
				if chosen[i], err = s.choosePort(dir, p, mine); err != nil {
					return nil, err
				}
				at := chosen[i].dir()
				mine[at] = append(mine[at], chosen[i])
			}
		}
	}
	var list strings.Builder
	for _, p := range chosen {
		list.WriteString(p.key() + "\n")
	}
	if err := os.WriteFile(filepath.Join(dir, container), []byte(list.String()), 0o600); err != nil {
		return nil, err
	}
	for _, p := range chosen {
		path := filepath.Join(dir, p.key())
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(container), 0o600); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// lockPorts takes the lock under which ports are taken and given up.
func lockPorts(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock.Lock(d, unix.LOCK_EX); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// open reports whether there is a choice.
func (p Port) open() bool { return p.HostPort == 0 || p.HostEnd > p.HostPort }

// enough refuses at once what there can't be: an image may expose all ports.
func enough(ports []Port) error {
	open := map[string]int{}
	for _, p := range ports {
		if p.HostPort != 0 {
			continue
		}
		if open[p.Protocol]++; open[p.Protocol] > lastPort-firstPort+1 {
			return fmt.Errorf("publish more than %d/%s ports without saying which: only %d-%d are chosen from", lastPort-firstPort+1, p.Protocol, firstPort, lastPort)
		}
	}
	return nil
}

// key is the file of a port that is chosen.
func (p Port) key() string {
	host := "*"
	if p.Host.IsValid() {
		host = p.Host.String()
	}
	return p.dir() + "/" + host
}

// dir is the directory of that file: a port of all addresses.
func (p Port) dir() string { return p.Protocol + "-" + strconv.Itoa(int(p.HostPort)) }

// choosePort finds the port that a request gets.
func (s *Store) choosePort(dir string, p Port, mine map[string][]Port) (Port, error) {
	switch p.Protocol {
	case "tcp", "udp", "sctp":
	default:
		return p, fmt.Errorf("publish port %d: protocol %q is not tcp, udp or sctp", p.ContainerPort, p.Protocol)
	}
	if p.ContainerPort == 0 || p.Host.Zone() != "" || p.Host.IsMulticast() {
		return p, fmt.Errorf("publish port %d of host address %s: no such port", p.ContainerPort, p.Host)
	}
	p.Host = p.Host.Unmap()
	from, to, start := p.HostPort, max(p.HostEnd, p.HostPort), p.HostPort
	if from == 0 {
		from, to = firstPort, lastPort
		start = from
		if data, err := os.ReadFile(filepath.Join(dir, ".last")); err == nil {
			if n, err := strconv.ParseUint(string(data), 10, 16); err == nil && uint16(n) >= from && uint16(n) < to {
				start = uint16(n) + 1
			}
		}
	}
	request, p := p, Port{Host: p.Host, HostPort: start, ContainerPort: p.ContainerPort, Protocol: p.Protocol}
	for {
		err := s.portFree(dir, p, mine)
		if err == nil {
			if request.HostPort == 0 {
				err = os.WriteFile(filepath.Join(dir, ".last"), []byte(strconv.Itoa(int(p.HostPort))), 0o600)
			}
			return p, err
		}
		if !request.open() {
			return p, err
		}
		if p.HostPort++; p.HostPort > to || p.HostPort == 0 {
			p.HostPort = from
		}
		if p.HostPort == start {
			return p, fmt.Errorf("%w: all of %d-%d/%s are: %w", errPortTaken, from, to, p.Protocol, err)
		}
	}
}

// portFree says who has a port already: this container, another one, or somebody else.
func (s *Store) portFree(dir string, p Port, mine map[string][]Port) error {
	for _, m := range mine[p.dir()] {
		if overlap(m.Host, p.Host) {
			return fmt.Errorf("%w: %s is asked for twice", errPortTaken, p)
		}
	}
	hosts, err := names(filepath.Join(dir, p.dir()))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for host := range hosts {
		if a, _ := netip.ParseAddr(host); !overlap(a, p.Host) {
			continue
		}
		owner, err := s.portOwner(filepath.Join(dir, p.dir(), host))
		if err != nil {
			return err
		}
		if owner != "" {
			name := ShortID(owner)
			if sb, err := ReadSandbox(filepath.Join(s.RunRoot, owner)); err == nil && sb.Name != "" {
				name = sb.Name
			}
			return &portTaken{p, owner, name}
		}
	}
	if s.PortInUse != nil {
		return s.PortInUse(p)
	}
	return nil
}

// portOwner is the container that has a port; "" is nobody.
func (s *Store) portOwner(path string) (string, error) {
	owner, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if !isID(string(owner)) { // whoever took it was killed
		return "", remove(path)
	}
	return string(owner), nil
}

// overlap reports whether two host addresses have one in common; invalid is all.
func overlap(a, b netip.Addr) bool {
	if !a.IsValid() || !b.IsValid() {
		return true
	}
	return a.Is4() == b.Is4() && (a == b || a.IsUnspecified() || b.IsUnspecified())
}

// String is a port of the host as people write it: 127.0.0.1:8080/tcp.
func (p Port) String() string {
	port := strconv.Itoa(int(p.HostPort)) + "/" + p.Protocol
	switch {
	case !p.Host.IsValid():
		return port
	case p.Host.Is6():
		return "[" + p.Host.String() + "]:" + port
	}
	return p.Host.String() + ":" + port
}

// releasePorts gives up the ports of a container. Its list goes last.
func (s *Store) releasePorts(container string) error {
	dir := s.Dir(portDir)
	if _, err := os.Lstat(filepath.Join(dir, container)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := lockPorts(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	list, err := os.ReadFile(filepath.Join(dir, container))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for key := range strings.Lines(string(list)) {
		path := filepath.Join(dir, filepath.Clean("/"+strings.TrimSuffix(key, "\n")))
		if owner, err := s.portOwner(path); err != nil || owner == container {
			if err := remove(path); err != nil {
				return err
			}
		}
		os.Remove(filepath.Dir(path)) // unless others have it on other addresses
	}
	return remove(filepath.Join(dir, container))
}
