package firewall

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
	"loper.run/internal/netlink"
	"loper.run/internal/nft"
	"loper.run/network"
)

// monitorLock is locked, in a container's run directory, as long as it runs.
const monitorLock = "monitor.lock"

// made tells whether the tables are there, as this version makes them.
func (s *session) made() (bool, error) {
	for _, h := range s.halves {
		ok, err := s.conn.HasChain(h.made())
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// rebuild makes the tables anew, in one step, with what all running containers
// and one more need.
func (s *session) rebuild(sb *network.Sandbox) error {
	all, err := s.running()
	if err != nil {
		return err
	}
	if sb != nil {
		all[sb.Container] = sb
	}
	var b nft.Batch
	s.guard.base(&b)
	published := false
	for _, sb := range all {
		s.guard.add(&b, sb)
		published = published || asks(sb)
	}
	for _, h := range s.halves {
		h.base(&b)
		for _, sb := range all {
			h.addNetworks(&b, sb)
			h.addPorts(&b, sb)
		}
	}
	if !published {
		if err := s.closeGate(); err != nil {
			return err
		}
		if err := s.conn.Commit(&b); err != nil {
			return err
		}
		return s.remember()
	}
	links, err := netlink.OpenIn(s.Host)
	if err != nil {
		return err
	}
	defer links.Close()
	g := gateOf(s.halves[0].table.Name)
	for _, h := range s.halves {
		g.passage(&b, h)
	}
	return s.makeGate(links, &b)
}

// running are the containers that run, by their ids.
func (f *Firewall) running() (map[string]*network.Sandbox, error) {
	entries, err := os.ReadDir(f.Store.RunRoot)
	if err != nil {
		return nil, err
	}
	all := map[string]*network.Sandbox{}
	for _, entry := range entries {
		dir := filepath.Join(f.Store.RunRoot, entry.Name())
		lock, err := os.Open(filepath.Join(dir, monitorLock))
		if err != nil {
			continue // not a container's, or one that never ran
		}
		held := errors.Is(flock.Lock(lock, unix.LOCK_SH|unix.LOCK_NB), flock.ErrHeld)
		lock.Close()
		if !held {
			continue
		}
		sb, err := network.ReadSandbox(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has no networks
		}
		if err != nil {
			return nil, err
		}
		if f.Alone {
			sb = opened(sb)
		}
		all[sb.Container] = sb
	}
	return all, nil
}

// Ensure is called before a container starts. It puts the tables back if somebody
// deleted them while containers run, and has the host's own firewall let through
// what the container sends. It returns what people should know, a line each.
func (f *Firewall) Ensure(sb *network.Sandbox) (notes []string, err error) {
	s, err := f.begin()
	if err != nil {
		return nil, err
	}
	defer s.end()
	made, err := s.made()
	if err != nil {
		return nil, err
	}
	if !made {
		connected, err := s.putBack(sb.Container)
		if err != nil {
			return nil, err
		}
		if connected > 0 {
			notes = append(notes, fmt.Sprintf("the firewall's tables %s were gone: put back for %d running containers", TableName(f.Store.Root), connected))
		}
	}
	if len(bridged(sb)) > 0 {
		found, err := s.accommodate(sb)
		if err != nil {
			return notes, err
		}
		more, err := s.notes(found, sb)
		if err != nil {
			return notes, err
		}
		notes = append(notes, more...)
	}
	if now, most, err := s.conn.Tracked(); err == nil && most != 0 && now >= most {
		notes = append(notes, fmt.Sprintf("the kernel tracks as many connections as it may (%d): new ones are dropped; raise net.netfilter.nf_conntrack_max", most))
	}
	return notes, nil
}

// Repair makes the tables anew, with what all running containers need, and the
// rules in others' chains.
func (f *Firewall) Repair() error {
	s, err := f.begin()
	if err != nil {
		return err
	}
	defer s.end()
	all, err := s.running()
	if err != nil {
		return err
	}
	if len(all) > 0 {
		if err := s.rebuild(nil); err != nil {
			return err
		}
	}
	for _, sb := range all {
		// A bridge that is gone takes these settings along; whoever makes it again
		// calls this again.
		if len(sb.Ports) == 0 {
			continue
		}
		if err := s.published(bridged(sb)); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	_, err = s.accommodate(nil)
	return err
}
