package link

import (
	"errors"
	"fmt"
	"net/netip"

	"loper.run/internal/netlink"
	"loper.run/network"

	"golang.org/x/sys/unix"
)

// A seal keeps a bridge's containers closed when somebody has flushed all rules
// of the packet filter. It is a filter of what the host sends, itself or for
// others, out by the bridge, and one of what containers send to the host or
// through it. What is switched between the bridge's ports it doesn't see.
//
// The rules mark what they let out by a bridge. Without them nobody does, and
// the seal drops it; but neighbours are still found, so that all goes on at once
// when the rules are back. What may not come in for any rule is dropped always.

// seal seals a bridge, in place of the seal that it has, and returns the end of
// the bridge's alias. That the kernel cannot is no error: it is told to who makes
// the rules.
func (w *work) seal(p *place) (alias string, err error) {
	index := p.over.Index
	switch err := w.host.Ask([]netlink.Request{netlink.Hooks(index)}); {
	case isAbsent(err):
		w.lacks = "sch_ingress"
		return unsealed, nil
	case errors.Is(err, unix.EINVAL):
		return "", fmt.Errorf("the bridge %s has an ingress queue that somebody else made, and no place for filters: take it away (tc qdisc del dev %s ingress)", p.Link, p.Link)
	case err != nil:
		return "", err
	}
	err = w.host.Ask([]netlink.Request{
		netlink.FilterOut(index, outward()),
		netlink.Filter(index, inward(p.Endpoint)),
	})
	if isAbsent(err) {
		w.lacks = "cls_bpf"
		return unsealed, nil
	}
	return sealed, err
}

func isAbsent(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) }

// sealAgain seals a bridge of ours from which somebody may have taken the seal.
func (w *work) sealAgain(p *place) error {
	if p.Mode == Unmanaged {
		return nil
	}
	alias, err := w.seal(p)
	if err != nil {
		return err
	}
	return w.host.Ask([]netlink.Request{netlink.Set(netlink.Settings{Index: p.over.Index, Alias: mark(p.Endpoint) + alias})})
}

// Where things are in a frame.
const (
	source4, destination4 = 14 + 12, 14 + 16
	source6, destination6 = 14 + 8, 14 + 24
	payload6, icmpType6   = 14 + 4, 14 + 40
)

// outward lets out what the rules have marked, what is not IP, and what finds
// neighbours for the host itself, which nobody forwards.
func outward() program {
	const icmp, hops = unix.IPPROTO_ICMPV6, 255
	var find, six, p program
	find.load(icmpType6)
	find.shift(24)
	find.ends(unix.BPF_JEQ, 135, netlink.NextFilter)
	find.ends(unix.BPF_JEQ, 136, netlink.NextFilter)
	six.load(payload6)
	six.mask(0xffff)
	six.only(icmp<<8|hops, find)
	p.load(ofMark)
	p.ends(unix.BPF_JSET, network.PassMark, netlink.NextFilter)
	p.load(ofProtocol)
	p.ends(unix.BPF_JEQ, unix.ETH_P_IP, netlink.DropPacket)
	p.only(unix.ETH_P_IPV6, six.end(netlink.DropPacket))
	return p.end(netlink.NextFilter)
}

// inward drops what says that it comes from, or goes to, the host's own loopback
// interface: a bridge with published ports would route it. What internal networks
// may send to is the host on their own bridge. A packet with the mark was for
// another address before it was translated, which the bridge may have let the
// packet filter do. What is too short to have addresses is nobody's.
func inward(e *network.Endpoint) program {
	rest := uint32(netlink.NextFilter)
	if e.Internal {
		rest = netlink.DropPacket
	}
	var four, six program
	for _, at := range []uint32{source4, destination4} {
		four.within(at, netip.MustParsePrefix("127.0.0.0/8"), netlink.DropPacket)
	}
	for _, at := range []uint32{source6, destination6} {
		six.within(at, netip.MustParsePrefix("::1/128"), netlink.DropPacket)
	}
	if e.Internal {
		for _, a := range e.Addresses {
			if a.Addr().Is4() {
				four.within(destination4, a, netlink.NextFilter)
			} else {
				six.within(destination6, a, netlink.NextFilter)
			}
		}
		for _, group := range []string{"fe80::/10", "ff02::/16"} { // neighbours are found so
			six.within(destination6, netip.MustParsePrefix(group), netlink.NextFilter)
		}
	}
	var p program
	p.load(ofMark)
	p.ends(unix.BPF_JSET, network.PassMark, netlink.NextFilter)
	p.load(ofProtocol)
	p.only(unix.ETH_P_IP, four.end(rest))
	p.only(unix.ETH_P_IPV6, six.end(rest))
	p.ends(unix.BPF_JEQ, unix.ETH_P_ARP, netlink.NextFilter)
	return p.end(rest)
}
