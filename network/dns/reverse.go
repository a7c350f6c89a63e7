package dns

import (
	"encoding/json"
	"net/netip"
	"strings"
)

// reverse finds the names of an address. One of the container's networks that
// nobody has is nobody else's business either.
func (z *zone) reverse(q *question) bool {
	a, ok := addressOf(string(q.name))
	if !ok {
		return false
	}
	for _, h := range z.sandbox.Hosts {
		if h.Address.Unmap() == a {
			q.addName(h.Name)
		}
	}
	ours := false
	for i := range z.sandbox.Endpoints {
		e := &z.sandbox.Endpoints[i]
		for _, p := range e.Addresses {
			ours = ours || p.Contains(a)
		}
		for _, g := range e.Gateways {
			if g == a {
				q.addName(hostNames[0])
			}
		}
		if name := z.owner(e.NetworkID, a); name != "" && !e.NoDNS {
			q.addName(name + "." + e.Network)
		}
	}
	q.known = len(q.names) > 0
	if ours && !q.known {
		q.code = codeNoName
	}
	return q.known
}

// addName adds a name that can be answered.
func (q *question) addName(name string) {
	for _, n := range q.names {
		if strings.EqualFold(n, name) {
			return
		}
	}
	if len(q.names) < maxNames {
		q.names = append(q.names, name)
	}
}

// owner is the name of the container that has an address of a network.
func (z *zone) owner(network string, a netip.Addr) string {
	fd := z.open(0, network, "address", a.String())
	if fd < 0 {
		return ""
	}
	id := string(z.contents(fd))
	if !hexadecimal(id) {
		return ""
	}
	if fd = z.open(0, network, "endpoint", id); fd < 0 {
		return ""
	}
	var member struct{ Name string }
	if json.Unmarshal(z.contents(fd), &member) != nil {
		return "" // it is about to be connected
	}
	return member.Name
}

func hexadecimal(id string) bool {
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return id != ""
}

// addressOf reads the name that stands for an address.
func addressOf(name string) (netip.Addr, bool) {
	if head, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(head, ".")
		if len(labels) != 4 {
			return netip.Addr{}, false
		}
		labels[0], labels[1], labels[2], labels[3] = labels[3], labels[2], labels[1], labels[0]
		a, err := netip.ParseAddr(strings.Join(labels, "."))
		return a, err == nil && a.Is4()
	}
	head, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(head) != 63 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		digit := strings.IndexByte("0123456789abcdef", head[2*i])
		if digit < 0 || i < 31 && head[2*i+1] != '.' {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(digit) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}
