package network

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// socketHolder says in words who has a port of the host.
func socketHolder(p Port, a netip.Addr) string {
	const unknown = "something on the host"
	for _, table := range []string{p.Protocol, p.Protocol + "6"} {
		f, err := os.Open("/proc/thread-self/net/" + table)
		if err != nil {
			continue
		}
		inode, uid := findSocket(f, p.HostPort, a)
		f.Close()
		if inode == "" {
			continue
		}
		if who := socketProcess("socket:[" + inode + "]"); who != "" {
			return who
		}
		return "a process of user " + uid
	}
	return unknown
}

// findSocket looks into a table like /proc/net/tcp for a socket that has a port
// of an address, first for one that waits for connections.
func findSocket(table *os.File, port uint16, a netip.Addr) (inode, uid string) {
	const listening = "0A"
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		// sl local remote state queues timers retransmits uid timeout inode
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[9] == "0" {
			continue
		}
		local, ok := parseLocal(f[1])
		if !ok || local.Port() != port || !meet(local.Addr(), a) {
			continue
		}
		if inode == "" || f[3] == listening {
			inode, uid = f[9], f[7]
		}
		if f[3] == listening {
			break
		}
	}
	return inode, uid
}

// meet is overlap, but a socket of all IPv6 addresses may be one of all IPv4
// addresses too.
func meet(local, a netip.Addr) bool {
	return local == netip.IPv6Unspecified() || overlap(local.Unmap(), a)
}

// parseLocal reads an address as 0100007F:1F90, words of it in the host's order.
func parseLocal(s string) (netip.AddrPort, bool) {
	address, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(address)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, uint16(n)), ok
}

// socketProcess finds a process that has a socket open, among those that the
// caller may look into.
func socketProcess(socket string) string {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return ""
	}
	for _, process := range processes {
		pid, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", process.Name(), "fd")
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && to == socket {
				name, _ := os.ReadFile(filepath.Join("/proc", process.Name(), "comm"))
				return fmt.Sprintf("%s (process %d)", printable(strings.TrimSuffix(string(name), "\n")), pid)
			}
		}
	}
	return ""
}

// printable leaves out of a name, which any process gives itself, what a
// terminal would act upon.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
