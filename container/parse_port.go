package container

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"loper.run/network"
)

// ParsePublish reads one --publish: [[ADDRESS:]HOSTPORT:]PORT[/PROTOCOL], with
// ranges of ports, or target=PORT,published=HOSTPORT,protocol=PROTOCOL.
func ParsePublish(word string) ([]network.Port, error) {
	short := word
	if strings.Contains(word, "=") {
		var err error
		if short, err = shortPublish(word); err != nil {
			return nil, fmt.Errorf("invalid publish opts format (%s): %w", word, err)
		}
	}
	list, err := parsePublish(short)
	if err != nil {
		return nil, fmt.Errorf("invalid port %q: %w", word, err)
	}
	return list, nil
}

func parsePublish(word string) ([]network.Port, error) {
	rest, protocol, err := cutProtocol(word)
	if err != nil {
		return nil, err
	}
	address, host := "", ""
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		host, rest = rest[:i], rest[i+1:]
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			address, host = host[:i], host[i+1:]
		}
	}
	first, last, err := portRange(rest)
	if err != nil {
		return nil, fmt.Errorf("invalid containerPort: %s", rest)
	}
	p := network.Port{Protocol: protocol}
	if p.Host, err = hostAddress(address); err != nil {
		return nil, err
	}
	var hostFirst, hostLast int
	if host != "" {
		if hostFirst, hostLast, err = portRange(host); err != nil {
			return nil, fmt.Errorf("invalid hostPort: %s", host)
		}
	}
	choose := first == last && hostFirst != hostLast
	if host != "" && !choose && hostLast-hostFirst != last-first {
		return nil, fmt.Errorf("invalid ranges specified for container and host Ports: %s and %s", rest, host)
	}
	var list []network.Port
	for i := range last - first + 1 {
		p.ContainerPort = uint16(first + i)
		if host != "" {
			p.HostPort = uint16(hostFirst + i)
		}
		if choose {
			p.HostEnd = uint16(hostLast)
		}
		list = append(list, p)
	}
	return list, nil
}

// hostAddress is the address before a port; all addresses are an invalid one.
func hostAddress(word string) (netip.Addr, error) {
	if word == "" {
		return netip.Addr{}, nil
	}
	bare, ok := strings.CutPrefix(word, "[")
	if ok {
		bare, ok = strings.CutSuffix(bare, "]")
	}
	a, err := netip.ParseAddr(bare)
	if err != nil || a.Zone() != "" || ok != a.Is6() {
		return a, fmt.Errorf("invalid IP address: %s", word)
	}
	return a.Unmap(), nil
}

// shortPublish turns docker's long form into the short one.
func shortPublish(word string) (string, error) {
	fields := map[string]string{"protocol": "tcp"}
	for field := range strings.SplitSeq(word, ",") {
		key, value, ok := strings.Cut(field, "=")
		switch key = strings.TrimSpace(key); {
		case !ok || value == "":
			return "", errors.New("want KEY=VALUE")
		case key == "target", key == "published", key == "protocol":
			fields[key] = value
		case key == "mode" && value == "host", key == "mode" && value == "ingress":
		default:
			return "", fmt.Errorf("unknown option %q", field)
		}
	}
	return fields["published"] + ":" + fields["target"] + "/" + fields["protocol"], nil
}

// ParseExpose reads one --expose, PORT[-PORT][/PROTOCOL], as PORT/PROTOCOL words.
func ParseExpose(word string) ([]string, error) {
	ports, protocol, err := cutProtocol(word)
	var first, last int
	if err == nil {
		first, last, err = portRange(ports)
	}
	if err != nil {
		return nil, fmt.Errorf("invalid range format for --expose: %s, error: %w", word, err)
	}
	var list []string
	for port := first; port <= last; port++ {
		list = append(list, strconv.Itoa(port)+"/"+protocol)
	}
	return list, nil
}

// cutProtocol parts PORT/PROTOCOL; tcp is the protocol of a port without one.
func cutProtocol(word string) (port, protocol string, err error) {
	port, protocol, given := strings.Cut(word, "/")
	switch protocol = strings.ToLower(protocol); {
	case port == "":
		return "", "", fmt.Errorf("no port specified: %s<empty>", word)
	case !given:
		return port, "tcp", nil
	case protocol == "tcp", protocol == "udp", protocol == "sctp":
		return port, protocol, nil
	}
	return "", "", fmt.Errorf("invalid proto: %s", protocol)
}

// portRange reads PORT or FIRST-LAST.
func portRange(word string) (first, last int, err error) {
	from, to, ranged := strings.Cut(word, "-")
	if first, err = portNumber(from); err != nil {
		return 0, 0, err
	}
	if last = first; ranged {
		if last, err = portNumber(to); err == nil && last < first {
			err = fmt.Errorf("invalid range specified for port: %s", word)
		}
	}
	return first, last, err
}

func portNumber(word string) (int, error) {
	n, err := strconv.ParseUint(word, 10, 16)
	if err != nil || n == 0 || word[0] == '+' {
		return 0, fmt.Errorf("'%s' is not a port (1 to 65535)", word)
	}
	return int(n), nil
}
