package firewall

import (
	"slices"

	"loper.run/internal/nft"
)

// friendly is a rule of ours in a chain of others.
type friendly struct {
	comment string
	exprs   []nft.Expr
}

// rules are those that a chain needs which would stop us.
func (f Friends) rules(c nft.Chain) []friendly {
	gate := gateOf(f.Table)
	switch c.Hook {
	case nft.Prerouting:
		if f.Gate {
			return []friendly{{"the gate", []nft.Expr{nft.Is(nft.IIFName, nft.Name(gate.in)), nft.Counter(), nft.Accept()}}}
		}
	case nft.Output:
		if f.Gate {
			return []friendly{{"the gate", []nft.Expr{nft.Is(nft.OIFName, nft.Name(gate.out)), nft.Counter(), nft.Accept()}}}
		}
	case nft.Forward:
		var list []friendly
		for name := range f.Bridges {
			list = append(list,
				friendly{"from " + name, []nft.Expr{nft.Is(nft.IIFName, nft.Name(name)), nft.Counter(), nft.Accept()}},
				friendly{"to " + name, []nft.Expr{nft.Is(nft.OIFName, nft.Name(name)), known(c), nft.Counter(), nft.Accept()}})
		}
		return list
	}
	return nil
}

// known matches what belongs to a connection from inside, or to one that was
// translated to get there.
func known(c nft.Chain) nft.Expr {
	if byIPTables(c) {
		return nft.XTState(nft.XTEstablished | nft.XTRelated | nft.XTDNAT)
	}
	// Translated and answered, in one expression: what comes back to a container
	// belongs to a connection whose sender was translated, or that was answered.
	return nft.Any(nft.CtStatus, nft.StatusSeenReply|nft.StatusSNAT|nft.StatusDNAT)
}

// maxJumps is how deep chains are followed.
const maxJumps = 8

// stops reports whether a base chain ends every packet that none of its rules
// knows.
func (v *view) stops(c nft.Chain) (bool, error) {
	fate, err := v.fate(c, 0)
	return fate == nft.Stopped || c.Drop && fate != nft.Accepted, err
}

// fate is what becomes of a packet that none of a chain's rules knows, if that
// is not left to the policy.
func (v *view) fate(c nft.Chain, depth int) (nft.Fate, error) {
	rules, err := v.of(c)
	if err != nil {
		return nft.Depends, err
	}
	for _, r := range rules {
		fate, to := r.Always()
		if fate == nft.Jumped && depth < maxJumps {
			fate, err = v.fate(nft.Chain{Table: c.Table, Name: to}, depth+1)
		}
		switch {
		case err != nil:
			return nft.Depends, err
		case fate == nft.Returned && depth > 0:
			return nft.Depends, nil
		case fate == nft.Accepted, fate == nft.Stopped:
			return fate, nil
		}
	}
	return nft.Depends, nil
}

// stopsFriends is stops for the hooks that our packets come by. At prerouting a
// chain may ask the routing table whether a sender may be behind the interface
// that it came in by, which nobody is behind the gate.
func (v *view) stopsFriends(c nft.Chain) (bool, error) {
	switch c.Hook {
	case nft.Forward, nft.Output:
		return v.stops(c)
	case nft.Prerouting:
		rules, err := v.of(c)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(rules, func(r nft.Rule) bool { return r.Asks("fib") }) {
			return true, nil
		}
		return v.stops(c)
	}
	return false, nil
}
