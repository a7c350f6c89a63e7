package main

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"loper.run/container"
)

// psPort is a port as `ps` shows it; one that is only exposed has no public one.
type psPort struct {
	ip              string
	private, public int
	protocol        string
}

func (p psPort) key(number int) string { return strconv.Itoa(number) + "/" + p.protocol }

// portList is a container's ports in the order of `ps`.
func portList(ports container.PortMap) []psPort {
	var list []psPort
	for key, bindings := range ports {
		number, protocol, _ := strings.Cut(key, "/")
		p := psPort{protocol: protocol}
		p.private, _ = strconv.Atoi(number)
		for _, b := range bindings {
			p.ip = b.HostIP
			p.public, _ = strconv.Atoi(b.HostPort)
			list = append(list, p)
		}
		if len(bindings) == 0 {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b psPort) int {
		return cmp.Or(cmp.Compare(a.private, b.private), cmp.Compare(a.ip, b.ip), cmp.Compare(a.public, b.public), cmp.Compare(a.protocol, b.protocol))
	})
	return list
}

// portsText is the column PORTS. Ports in a row that have the same number outside
// are one range, as docker shows them.
func portsText(ports container.PortMap) string {
	type span struct{ first, last int }
	open := map[psPort]*span{} // by address and protocol
	var order []psPort
	var done, moved []string
	for _, p := range portList(ports) {
		if p.public != 0 && p.public != p.private {
			moved = append(moved, fmt.Sprintf("%s->%s", net.JoinHostPort(p.ip, strconv.Itoa(p.public)), p.key(p.private)))
			continue
		}
		group := psPort{ip: p.ip, protocol: p.protocol}
		switch s := open[group]; {
		case s == nil:
			open[group] = &span{p.private, p.private}
			order = append(order, group)
		case p.private == s.last+1:
			s.last = p.private
		default:
			done = append(done, spanText(group, s.first, s.last))
			*s = span{p.private, p.private}
		}
	}
	for _, group := range order {
		done = append(done, spanText(group, open[group].first, open[group].last))
	}
	return strings.Join(append(done, moved...), ", ")
}

func spanText(group psPort, first, last int) string {
	ports := strconv.Itoa(first)
	if last != first {
		ports += "-" + strconv.Itoa(last)
	}
	if group.ip != "" {
		ports = net.JoinHostPort(group.ip, ports) + "->" + ports
	}
	return ports + "/" + group.protocol
}

// portFilter reads the ports of a filter, PORT[-PORT][/PROTOCOL]; nil: none are
// asked for.
func portFilter(words []string) (map[string]bool, error) {
	if len(words) == 0 {
		return nil, nil
	}
	asked := map[string]bool{}
	for _, word := range words {
		keys, err := container.ParseExpose(word)
		if err != nil {
			return nil, fmt.Errorf("invalid filter '%s': %w", word, err)
		}
		for _, key := range keys {
			asked[key] = true
		}
	}
	return asked, nil
}
