package link

import (
	"fmt"

	"loper.run/internal/netlink"
	"loper.run/network"

	"golang.org/x/sys/unix"
)

// rates limits the container's interfaces, on the host's side: the container
// can undo neither. What goes to it waits in the host's end. What comes from it
// takes a detour through an interface that has nothing but a queue.
func (w *work) rates() error {
	in, out := w.sandbox.RateIn, w.sandbox.RateOut
	if in == 0 && out == 0 {
		return nil
	}
	for i := range w.places {
		p := &w.places[i]
		if p.outer == 0 {
			return fmt.Errorf("network %s: the rate of a %s network cannot be limited: use a bridge network", p.Network, p.Driver)
		}
		var requests []netlink.Request
		if in != 0 {
			requests = append(requests, limit(p.outer, in, p.mtu()))
		}
		if out != 0 {
			index, err := w.makeDetour(p)
			if err != nil {
				return err
			}
			requests = append(requests, limit(index, out, p.mtu()))
			requests = append(requests, netlink.Divert(p.outer, index)...)
		}
		if err := w.host.Ask(requests); err != nil {
			return fmt.Errorf("network %s: %w: the kernel may lack sch_tbf, sch_ingress, cls_u32 or act_mirred", p.Network, err)
		}
	}
	return nil
}

func (w *work) makeDetour(p *place) (int32, error) {
	name := detour(p.Endpoint)
	requests := []netlink.Request{
		netlink.Simple(netlink.Settings{Name: name}, "ifb").Or(unix.EEXIST), // left by a killed start
		netlink.Set(netlink.Settings{Name: name, NoLinkLocal: true}).Or(noIPv6...),
		netlink.Set(netlink.Settings{Name: name, Alias: mark(p.Endpoint), Up: true}),
		netlink.FindLink(name),
	}
	if err := w.host.Ask(requests); err != nil {
		return 0, missing(requests[0].Err, "ifb", err)
	}
	l, err := requests[len(requests)-1].Link()
	return l.Index, err
}

// detour is the name of the interface that a container's packets wait in.
func detour(e *network.Endpoint) string {
	return "li" + e.HostInterface[min(2, len(e.HostInterface)):]
}

// limit keeps to bits a second. A hundredth of a second may come at once, but a
// packet always: a larger one would never be sent. What waits is sent within a
// twentieth.
func limit(index int32, bits uint64, mtu int) netlink.Request {
	const least, most, header = 32 << 10, 64 << 20, 64
	rate := max(bits/8, 1)
	burst := min(max(rate/100, least, uint64(mtu+header)), most)
	return netlink.Limit(index, rate, uint32(burst), uint32(burst+min(rate/20, most)))
}
