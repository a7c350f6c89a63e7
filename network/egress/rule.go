// Package egress says where a container may go, by name. Once rules are given,
// everything else is denied: by a table in the container's own network
// namespace, which consults sets of addresses that the container's resolver
// fills with what it answers for the names that are allowed.
package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Rules are those of one --egress. The zero value allows nothing.
type Rules struct{ list []rule }

// rule allows one name, or one network, and ports of it.
type rule struct {
	name     string // lower case, without the last dot; "": a network
	below    bool   // what is below the name, and not the name itself
	network  netip.Prefix
	from, to uint16 // ports; 0: all, and other protocols too
	protocol uint8  // IPPROTO_TCP or IPPROTO_UDP; 0: both
}

// Parse reads the words of --egress. Nil with no error: all is allowed, by the
// word "all" or by no words.
//
//	none | all | RULE[,RULE…]      RULE: TARGET[:PORT[-PORT][/tcp|/udp]]
//
// A target is a name, *.NAME for all that is below it, an address, or a
// network; IPv6 with a port stands in brackets.
func Parse(words []string) (*Rules, error) {
	var r Rules
	var all, none bool
	for _, word := range words {
		for part := range strings.SplitSeq(word, ",") {
			switch part = strings.TrimSpace(part); part {
			case "all":
				all = true
			case "none":
				none = true
			default:
				one, err := parseRule(part)
				if err != nil {
					return nil, fmt.Errorf("invalid egress rule %q: %w", part, err)
				}
				r.list = append(r.list, one)
			}
		}
	}
	if (all && none) || (all || none) && len(r.list) > 0 {
		return nil, fmt.Errorf("invalid egress %q: all and none stand alone", strings.Join(words, ","))
	}
	if all || len(words) == 0 {
		return nil, nil
	}
	return &r, nil
}

func parseRule(text string) (r rule, err error) {
	target, ports := text, ""
	switch {
	case strings.HasPrefix(text, "["):
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return r, fmt.Errorf("the bracket is not closed")
		}
		target, ports = text[1:end], text[end+1:]
		if slash := strings.IndexByte(ports, '/'); slash == 0 { // [2001:db8::]/32:443
			bits, rest, _ := strings.Cut(ports, ":")
			target, ports = target+bits, strings.TrimSuffix(":"+rest, ":")
		}
		if ports != "" && ports[0] != ':' {
			return r, fmt.Errorf("want :PORT behind the bracket")
		}
		ports = strings.TrimPrefix(ports, ":")
	case strings.Count(text, ":") == 1:
		target, ports, _ = strings.Cut(text, ":")
		if ports == "" {
			return r, fmt.Errorf("there is no port behind the colon")
		}
	}
	if r.from, r.to, r.protocol, err = parsePorts(ports); err != nil {
		return r, err
	}
	if strings.ContainsAny(target, ":/") || numeric(target) {
		r.network, err = parseNetwork(target)
		return r, err
	}
	r.name, r.below = strings.CutPrefix(lower(strings.TrimSuffix(target, ".")), "*.")
	return r, checkName(r.name)
}

// numeric: an address is meant, even a wrong one.
func numeric(target string) bool {
	return target != "" && strings.Trim(target, "0123456789.") == ""
}

func parseNetwork(target string) (netip.Prefix, error) {
	if !strings.Contains(target, "/") {
		address, err := netip.ParseAddr(target)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no IP address", target)
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(target)
	if err != nil || network.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is no network in the form ADDRESS/BITS", target)
	}
	if network != network.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits behind its /%d: use %s", target, network.Bits(), network.Masked())
	}
	return network, nil
}

func parsePorts(text string) (from, to uint16, protocol uint8, err error) {
	if text == "" {
		return 0, 0, 0, nil
	}
	numbers, kind, has := strings.Cut(text, "/")
	switch kind {
	case "tcp":
		protocol = unix.IPPROTO_TCP
	case "udp":
		protocol = unix.IPPROTO_UDP
	default:
		if has {
			return 0, 0, 0, fmt.Errorf("unknown protocol %q: tcp or udp", kind)
		}
	}
	first, last, ranged := strings.Cut(numbers, "-")
	if !ranged {
		last = first
	}
	ends := [2]uint16{}
	for i, number := range []string{first, last} {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return 0, 0, 0, fmt.Errorf("%q is no port: 1 to 65535", number)
		}
		ends[i] = uint16(n)
	}
	if ends[0] > ends[1] {
		return 0, 0, 0, fmt.Errorf("ports %s: the first is above the last", numbers)
	}
	return ends[0], ends[1], protocol, nil
}

// checkName takes what can be the name of a host, or of a container.
func checkName(name string) error {
	if len(name) > 253 {
		return fmt.Errorf("a name has at most 253 characters")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return fmt.Errorf("%q is neither a name, nor *.NAME, nor an address", name)
		}
	}
	return nil
}

// Allow tells whether the resolver may answer for a name, which comes in any
// case and with or without a last dot.
func (r *Rules) Allow(name string) bool {
	return slices.ContainsFunc(r.list, func(one rule) bool { return one.matches(name) })
}

func (r *rule) matches(name string) bool {
	if r.name == "" {
		return false
	}
	name = lower(strings.TrimSuffix(name, "."))
	if !r.below {
		return name == r.name
	}
	before, ok := strings.CutSuffix(name, r.name)
	return ok && len(before) > 1 && before[len(before)-1] == '.'
}

// lower has small letters as name servers see them: those of ASCII. To Unicode
// the sign of Kelvin is a k, which would make one name of two.
func lower(name string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}, name)
}
