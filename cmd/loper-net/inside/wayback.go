package inside

import (
	"net/netip"

	"loper.run/internal/netlink"
	"loper.run/internal/nft"

	"golang.org/x/sys/unix"
)

// mark is of packets that belong to our sockets, and table is where they find the way to them: "LP".
const (
	mark  = 0x4c50
	table = 0x4c50
)

// wayBack makes rules for sockets that are bound to addresses which the namespace does not have: what a container answers
// to such an address is not routed on, but is for this namespace itself. It belongs to nobody else and is gone with the
// namespace.
func wayBack() error {
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	loopback, err := c.Link("lo")
	if err != nil {
		return err
	}
	requests := []netlink.Request{
		netlink.Set(netlink.Settings{Index: loopback.Index, Name: "lo", Up: true}),
		markRule(unix.AF_INET), markRule(unix.AF_INET6).Or(unix.EAFNOSUPPORT),
	}
	for i, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		r := netlink.NewRoute(netlink.Route{To: netip.PrefixFrom(any, 0), Index: loopback.Index, Table: table, Type: unix.RTN_LOCAL})
		if i == 1 {
			r = r.Or(unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EACCES) // a host without IPv6
		}
		requests = append(requests, r)
	}
	if err := c.Ask(requests); err != nil {
		return err
	}
	f, err := nft.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	var b nft.Batch
	ours := nft.Table{Family: nft.Inet, Name: "loper-net"}
	b.AddTable(ours) // so that there is one to delete
	b.DeleteTable(ours)
	b.AddTable(ours)
	before := nft.Chain{Table: ours, Name: "prerouting", Type: nft.Filter, Hook: nft.Prerouting, Priority: -150}
	b.AddChain(before)
	// Asking for a state has fragments put together first: only the first one has a port.
	tracked := nft.Any(nft.CtState, nft.Invalid|nft.NewState|nft.Established|nft.Related|nft.Untracked)
	b.AddRule(before, "answers to clients of published ports", tracked, nft.Transparent(), nft.SetMark(mark))
	return f.Commit(&b)
}

// markRule sends packets with the mark to the table. There is one already after a loper-net that was killed.
func markRule(family byte) netlink.Request {
	m := make([]byte, unix.SizeofRtMsg) // struct fib_rule_hdr is of the same form
	m[0], m[4], m[7] = family, unix.RT_TABLE_UNSPEC, unix.FR_ACT_TO_TBL
	m = netlink.AppendUint32(m, unix.FRA_TABLE, table)
	m = netlink.AppendUint32(m, unix.FRA_FWMARK, mark)
	m = netlink.AppendUint32(m, unix.FRA_PRIORITY, 100)
	return netlink.Request{
		Message: netlink.Message{Kind: unix.RTM_NEWRULE, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: m},
		What:    "add a routing rule", Accept: []unix.Errno{unix.EEXIST},
	}
}
