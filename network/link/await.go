package link

import (
	"net/netip"
	"time"

	"loper.run/internal/netlink"

	"golang.org/x/sys/unix"
)

// awaitLocal waits until the kernel answers to new IPv6 addresses: it makes them
// its own in a worker, a moment after it was told, and what comes before that is
// lost.
func awaitLocal(c *netlink.Conn, addresses []netip.Prefix) error {
	const longest, step = 100 * time.Millisecond, 50 * time.Microsecond
	for _, a := range addresses {
		if a.Addr().Is4() {
			continue
		}
		for start := time.Now(); time.Since(start) < longest; time.Sleep(step) {
			requests := []netlink.Request{netlink.RouteTo(a.Addr())}
			if err := c.Ask(requests); requests[0].Err == nil && err != nil {
				return err
			}
			// Without a route there is no IPv6 there.
			if r, ok := requests[0].Routed(); !ok || r.Type == unix.RTN_LOCAL {
				break
			}
		}
	}
	return nil
}
