// Package ports carries connections to ports of the host to containers in a network namespace that the host's packets do
// not reach: with a socket on each side, the inner one bound to the client's own address.
package ports

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"loper.run/cmd/loper-net/inside"
	"loper.run/cmd/loper-net/sock"
	"loper.run/internal/netcontrol"

	"golang.org/x/sys/unix"
)

// Owner is who published something.
type Owner uint64

// Table is what is published.
type Table struct {
	// Socket makes a socket in the namespace, which may be bound to any address.
	Socket func(inside.Kind) (int, error)
	Log    io.Writer
	Max    int // connections and flows together

	open   atomic.Int64
	owners atomic.Uint64

	mu      sync.Mutex
	entries map[key]*entry
}

// key is what there is only one of.
type key struct {
	protocol string
	host     netip.Addr
	port     uint16
}

// entry is a published port.
type entry struct {
	table     *Table
	owner     Owner
	port      netcontrol.Port // as it was asked for, with the number that was chosen
	targets   atomic.Pointer[[]netcontrol.Target]
	open      atomic.Int64
	listeners []*sock.Socket
}

// NewOwner returns an owner that has nothing yet.
func (t *Table) NewOwner() Owner { return Owner(t.owners.Add(1)) }

// Publish publishes all ports or none, and returns them with the numbers that were chosen. What the owner has published
// already gets the new targets; connections that are open stay.
func (t *Table) Publish(owner Owner, list []netcontrol.Port) (published []netcontrol.Port, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entries == nil {
		t.entries = map[key]*entry{}
	}
	for _, p := range list {
		if err := check(p); err != nil {
			return nil, err
		}
	}
	var fresh []key
	for _, p := range list {
		k := key{p.Protocol, p.Host, p.Port}
		e := t.entries[k]
		switch {
		case e != nil && e.owner != owner:
			err = fmt.Errorf("publish %s: another container has it: %w", describe(p), unix.EADDRINUSE)
		case e == nil:
			if e, err = t.listen(owner, p); err == nil {
				k.port = e.port.Port
				t.entries[k] = e
				fresh = append(fresh, k)
			}
		}
		if err != nil {
			for _, k := range fresh {
				t.remove(k)
			}
			return nil, err
		}
		targets := slices.Clone(p.Targets)
		e.targets.Store(&targets)
		p.Port = e.port.Port
		published = append(published, p)
	}
	for _, k := range fresh {
		t.entries[k].start()
	}
	return published, nil
}

// Withdraw takes back what the owner has published of these.
func (t *Table) Withdraw(owner Owner, list []netcontrol.Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range list {
		k := key{p.Protocol, p.Host, p.Port}
		if e := t.entries[k]; e != nil && e.owner == owner {
			t.remove(k)
		}
	}
}

// Leave takes back all that the owner has published.
func (t *Table) Leave(owner Owner) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, e := range t.entries {
		if e.owner == owner {
			t.remove(k)
		}
	}
}

// List lists what is published, in order, from the n-th on and at most so many.
func (t *Table) List(n, most int) []netcontrol.Port {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]netcontrol.Port, 0, len(t.entries))
	for _, e := range t.entries {
		p := e.port
		p.Targets, p.Open = *e.targets.Load(), int(e.open.Load())
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b netcontrol.Port) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol), a.Host.Compare(b.Host))
	})
	n = min(max(n, 0), len(list))
	return list[n:min(n+most, len(list))]
}

func (t *Table) remove(k key) {
	for _, s := range t.entries[k].listeners {
		s.Close()
	}
	delete(t.entries, k)
}

func (t *Table) logf(format string, args ...any) {
	if t.Log != nil {
		fmt.Fprintf(t.Log, "loper-net: published ports: "+format+"\n", args...)
	}
}

// take counts a connection, unless there are too many; drop takes it off.
func (e *entry) take() bool {
	if e.table.open.Add(1) > int64(e.table.Max) {
		e.table.open.Add(-1)
		return false
	}
	e.open.Add(1)
	return true
}

func (e *entry) drop() {
	e.open.Add(-1)
	e.table.open.Add(-1)
}

// check refuses what can't be published.
func check(p netcontrol.Port) error {
	if p.Protocol != "tcp" && p.Protocol != "udp" {
		return fmt.Errorf("publish %s: no protocol for an ordinary user's containers; tcp and udp are", describe(p))
	}
	if len(p.Targets) == 0 || len(p.Targets) > 2 || len(p.Targets) == 2 && p.Targets[0].Address.Addr().Is4() == p.Targets[1].Address.Addr().Is4() {
		return fmt.Errorf("publish %s: it leads to %d addresses; one of each family may be", describe(p), len(p.Targets))
	}
	for _, to := range p.Targets {
		if a := to.Address.Addr(); !to.Address.IsValid() || a.Is4In6() || a.Zone() != "" || to.Address.Port() == 0 {
			return fmt.Errorf("publish %s: it can't lead to %s", describe(p), to.Address)
		}
	}
	if p.Host.Zone() != "" || p.Host.Is4In6() {
		return fmt.Errorf("publish %s: no address of the host", describe(p))
	}
	return nil
}

func describe(p netcontrol.Port) string {
	host := "all addresses"
	if p.Host.IsValid() {
		host = p.Host.String()
	}
	return fmt.Sprintf("port %d/%s of %s", p.Port, p.Protocol, host)
}
