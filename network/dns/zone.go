package dns

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"loper.run/network"
)

const (
	// maxAddresses is how many addresses of a name are found, or learned of one
	// answer.
	maxAddresses = 128
	// maxNames is how many names of an address are found.
	maxNames = 16
)

// hostNames stand for the machine that the container runs on.
var hostNames = [...]string{"host.containers.internal", "host.docker.internal"}

// zone is what the container's networks know, as their files say at the moment
// of the question.
type zone struct {
	run, networks int // directories

	sandbox network.Sandbox
	read    stamp // of the network.json that sandbox is of
	turn    int   // who comes first among several addresses
	failed  bool  // a file could not be read that may be there
	found   []netip.Addr
	buf     [4096]byte
}

// stamp tells one state of a file from another.
type stamp struct {
	inode          uint64
	size           int64
	modify, change unix.Timespec
}

func stampOf(st *unix.Stat_t) stamp { return stamp{st.Ino, st.Size, st.Mtim, st.Ctim} }

// look answers what it can of a question.
func (z *zone) look(q *question) {
	z.refresh()
	z.failed, z.found = false, z.found[:0]
	switch {
	case q.kind == typePTR && z.reverse(q):
	case q.file != nil && (z.hosts(q) || z.containers(q) || z.machine(q)):
		q.addresses = z.choose(q.kind)
		q.known = true
	}
	if !q.known && q.code == 0 && z.failed {
		q.code = codeServerFailed // it would be wrong to say that there is no such name
	}
}

// internal: none of the container's networks has a way out, and so nothing may
// leave by the way of names either.
func (z *zone) internal() bool {
	for i := range z.sandbox.Endpoints {
		if !z.sandbox.Endpoints[i].Internal {
			return false
		}
	}
	return true
}

// hosts finds a name among those of --add-host, which come first as they do in
// /etc/hosts.
func (z *zone) hosts(q *question) bool {
	known := false
	for _, h := range z.sandbox.Hosts {
		if sameName(h.Name, q.file) {
			known = true
			z.add(h.Address)
		}
	}
	return known
}

// machine finds the names of the host: the first gateway of each family.
func (z *zone) machine(q *question) bool {
	if string(q.file) != hostNames[0] && string(q.file) != hostNames[1] {
		return false
	}
	for _, four := range []bool{true, false} {
		z.gateway(four)
	}
	if len(z.found) == 0 && q.code == 0 {
		q.code = codeNoName // nobody else has such a name
	}
	return len(z.found) > 0
}

func (z *zone) gateway(four bool) {
	for _, e := range z.sandbox.Endpoints {
		for _, g := range e.Gateways {
			if g.Is4() == four {
				z.add(g)
				return
			}
		}
	}
}

// containers finds a name in all the container's networks, as it is and with
// the network's name behind.
func (z *zone) containers(q *question) bool {
	known := false
	for i := range z.sandbox.Endpoints {
		e := &z.sandbox.Endpoints[i]
		if e.NoDNS {
			continue
		}
		if z.entries(e.NetworkID, q.file) {
			known = true
		}
		head := len(q.file) - len(e.Network) - 1
		if head > 0 && q.file[head] == '.' && sameName(e.Network, q.file[head+1:]) && z.entries(e.NetworkID, q.file[:head]) {
			known = true
		}
	}
	return known
}

// sameName compares a name of ours with one in lower case.
func sameName(name string, lower []byte) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) != len(lower) {
		return false
	}
	for i, c := range lower {
		d := name[i]
		if d >= 'A' && d <= 'Z' {
			d += 'a' - 'A'
		}
		if c != d {
			return false
		}
	}
	return true
}

// entries finds the addresses of all containers that have a name in a network.
func (z *zone) entries(id string, file []byte) bool {
	dir := z.open(unix.O_DIRECTORY, id, "name", string(file))
	if dir < 0 {
		return false
	}
	defer unix.Close(dir)
	known := false
	var names [2048]byte
	for {
		n, err := unix.Getdents(dir, names[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			z.failed = z.failed || err != nil && err != unix.ENOENT
			return known
		}
		for list := names[:n]; len(list) > 19; {
			size := int(binary.NativeEndian.Uint16(list[16:]))
			if size < 20 || size > len(list) {
				break
			}
			if name := list[19:size]; name[0] != '.' && z.entry(dir, string(name[:cString(name)])) {
				known = true
			}
			list = list[size:]
		}
	}
}

func cString(b []byte) int {
	for i, c := range b {
		if c == 0 {
			return i
		}
	}
	return len(b)
}

// entry reads the addresses of one container, a line each.
func (z *zone) entry(dir int, name string) bool {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		z.failed = z.failed || err != unix.ENOENT
		return false
	}
	text := z.contents(fd)
	for len(text) > 0 {
		var line []byte
		line, text = cut(text, '\n')
		if a, err := netip.ParseAddr(string(line)); err == nil {
			z.add(a)
		}
	}
	return true
}

func cut(text []byte, at byte) (before, after []byte) {
	for i, c := range text {
		if c == at {
			return text[:i], text[i+1:]
		}
	}
	return text, nil
}

// open opens a file below the directory of all networks. The parts are safe:
// ids of ours, and names that network.AppendName has made.
func (z *zone) open(flags int, parts ...string) int {
	fd, err := unix.Openat(z.networks, strings.Join(parts, "/"), flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		z.failed = z.failed || err != unix.ENOENT
		return -1
	}
	return fd
}

// contents reads and closes a small file.
func (z *zone) contents(fd int) []byte {
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, z.buf[:]) // all of it: it is a regular file, and small
		if err == unix.EINTR {
			continue
		}
		z.failed = z.failed || err != nil
		return z.buf[:max(n, 0)]
	}
}

func (z *zone) add(a netip.Addr) {
	if len(z.found) < maxAddresses && a.IsValid() {
		z.found = append(z.found, a.Unmap().WithZone(""))
	}
}

// choose leaves the addresses that a question is about, each time another one first.
func (z *zone) choose(kind dnsmessage.Type) []netip.Addr {
	kept := z.found[:0]
	for _, a := range z.found {
		if kind == typeANY || kind == typeA && a.Is4() || kind == typeAAAA && a.Is6() {
			kept = append(kept, a)
		}
	}
	if len(kept) > 1 {
		z.turn++
		turn := z.turn % len(kept)
		slices.Reverse(kept[:turn])
		slices.Reverse(kept[turn:])
		slices.Reverse(kept)
	}
	return kept
}

// refresh reads network.json again if it is another one than before.
func (z *zone) refresh() {
	var st unix.Stat_t
	if err := unix.Fstatat(z.run, network.SandboxFile, &st, 0); err != nil {
		return // what was read is the last that is known
	}
	if stampOf(&st) == z.read {
		return
	}
	fd, err := unix.Openat(z.run, network.SandboxFile, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil || st.Size > maxSandbox {
		return
	}
	data := make([]byte, st.Size)
	for used := 0; used < len(data); {
		n, err := unix.Read(fd, data[used:])
		if n <= 0 || err != nil {
			return
		}
		used += n
	}
	var s network.Sandbox
	if json.Unmarshal(data, &s) != nil {
		return
	}
	z.sandbox, z.read = s, stampOf(&st)
}

// maxSandbox bounds what is read of a network.json.
const maxSandbox = 16 << 20
