package firewall

import (
	"errors"
	"slices"
	"strings"

	"loper.run/internal/nft"
)

// HostRules is what is known of the rules that others have in a host.
type HostRules struct {
	// By is whose they are, as people call it: ufw, firewalld, iptables, nftables.
	By string
	// Input are the chains that refuse packets for the host itself unless a rule
	// lets them in. So published ports are refused, too.
	Input []nft.Chain
	// Closed are chains that stop containers' packets and that only the program
	// that made them may change.
	Closed []nft.Chain
	// Amended tells that rules of ours were not there, or too many.
	Amended bool
}

// Friends are interfaces of ours whose packets others' chains shall not stop.
type Friends struct {
	Table   string          // ours: rules in others' chains have it in their comment
	Bridges map[string]bool // of networks with a way out
	Gate    bool            // ports are published
}

// Accommodate looks at others' rules, and puts at the head of each chain that
// would stop what is forwarded for our bridges, or goes through the gate, a rule
// that doesn't. A chain of which nothing is known but that it lets through what
// no rule refuses is left alone. Rules of ours that are no longer needed go.
//
// What such a rule lets in from outside is only what our own tables have
// translated, or belongs to a connection from inside: without them it is nothing.
func Accommodate(c *nft.Conn, f Friends) (HostRules, error) {
	for attempt := 0; ; attempt++ {
		// What is decided from lists must not be carried out upon others.
		generation, err := c.Generation()
		if err != nil {
			return HostRules{}, err
		}
		v, err := survey(c)
		if err != nil {
			return HostRules{}, err
		}
		var b nft.Batch
		found, err := v.settle(&b, f)
		if err != nil || b.Empty() {
			return found, err
		}
		found.Amended = true
		if err = c.CommitAt(&b, generation); !errors.Is(err, nft.ErrChanged) || attempt == 20 {
			return found, err
		}
	}
}

// view is the chains of a host, and the rules of those that were looked at.
type view struct {
	conn   *nft.Conn
	tables []nft.Table
	chains []nft.Chain
	rules  map[string][]nft.Rule
}

func survey(c *nft.Conn) (*view, error) {
	v := &view{conn: c, rules: map[string][]nft.Rule{}}
	var err error
	if v.tables, err = c.Tables(0); err != nil || len(v.tables) == 0 {
		return v, err
	}
	v.chains, err = c.Chains(0)
	return v, err
}

// ours reports whether a table is an engine's of our kind.
func ours(table string) bool { return table == "loper" || strings.HasPrefix(table, "loper-") }

func (v *view) settle(b *nft.Batch, f Friends) (found HostRules, err error) {
	for _, c := range v.chains {
		if c.Type != nft.Filter && c.Type != nft.Route || ours(c.Table.Name) || !slices.Contains([]nft.Family{nft.IP, nft.IP6, nft.Inet}, c.Table.Family) {
			continue
		}
		if c.Hook == nft.Input {
			stops, err := v.stops(c)
			if err != nil {
				return found, err
			}
			if stops {
				found.Input = append(found.Input, c)
				found.By = v.owner(c)
			}
			continue
		}
		stops, err := v.stopsFriends(c)
		if err != nil {
			return found, err
		}
		var want []friendly
		if stops {
			want = f.rules(c)
		}
		if v.owned(c.Table) {
			if len(want) > 0 {
				found.Closed = append(found.Closed, c)
				if found.By == "" {
					found.By = v.owner(c)
				}
			}
			continue
		}
		rules, err := v.of(c)
		if err != nil {
			return found, err
		}
		amend(b, c, f.Table, rules, want)
	}
	return found, nil
}

// amend makes our rules in a chain those that are wanted.
func amend(b *nft.Batch, c nft.Chain, table string, rules []nft.Rule, want []friendly) {
	for _, r := range rules {
		comment := r.Comment
		if comment == "" {
			comment = r.XTComment() // saved and restored by iptables' programs
		}
		if !strings.HasPrefix(comment, table+": ") {
			continue
		}
		if at := slices.IndexFunc(want, func(w friendly) bool { return table+": "+w.comment == comment }); at >= 0 {
			want = slices.Delete(want, at, at+1)
		} else {
			b.DeleteRule(c, r.Handle)
		}
	}
	for _, w := range want {
		b.InsertRule(c, table+": "+w.comment, w.exprs...)
	}
}

// owned reports whether only the program that made a table may change it.
func (v *view) owned(t nft.Table) bool {
	return slices.ContainsFunc(v.tables, func(o nft.Table) bool { return o.Family == t.Family && o.Name == t.Name && o.Owned })
}

// owner is who makes the rules of a chain.
func (v *view) owner(c nft.Chain) string {
	if c.Table.Name == "firewalld" {
		return "firewalld"
	}
	for _, other := range v.chains {
		if strings.HasPrefix(other.Name, "ufw-") || strings.HasPrefix(other.Name, "ufw6-") {
			return "ufw"
		}
	}
	if byIPTables(c) {
		return "iptables"
	}
	return "nftables"
}

// byIPTables reports whether a chain is one that iptables lists, which it does
// as long as it knows every expression in the table.
func byIPTables(c nft.Chain) bool {
	return c.Table.Family != nft.Inet && slices.Contains([]string{"filter", "mangle", "raw", "security"}, c.Table.Name) &&
		slices.Contains([]string{"FORWARD", "OUTPUT", "INPUT", "PREROUTING"}, c.Name)
}

func (v *view) of(c nft.Chain) ([]nft.Rule, error) {
	name := c.String()
	if rules, ok := v.rules[name]; ok {
		return rules, nil
	}
	rules, err := v.conn.Rules(c)
	if err == nil {
		v.rules[name] = rules
	}
	return rules, err
}
