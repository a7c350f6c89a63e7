package nft

import (
	"errors"
	"strings"
	"testing"
)

// A batch that was made from what others have changed since changes nothing.
func TestCommitAt(t *testing.T) {
	c := inNewNamespace(t)
	table := Table{Family: IP, Name: "t"}
	before, err := c.Generation()
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.AddTable(table)
	if err := c.CommitAt(&b, before); err != nil {
		t.Fatal(err)
	}
	var stale Batch
	stale.DeleteTable(table)
	if err := c.CommitAt(&stale, before); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	if _, ok, err := c.Table(IP, "t"); !ok || err != nil {
		t.Fatalf("the table is gone: %v", err)
	}
	now, err := c.Generation()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CommitAt(&stale, now); err != nil {
		t.Fatal(err)
	}
}

// Rules among those of iptables are ones that iptables knows, and theirs are
// understood.
func TestIPTables(t *testing.T) {
	c := inNewNamespace(t)
	program(t, "iptables-nft", "-A", "FORWARD", "-m", "comment", "--comment", "by iptables", "-j", "REJECT")
	program(t, "iptables-nft", "-N", "other")
	program(t, "iptables-nft", "-A", "FORWARD", "-j", "other")
	program(t, "iptables-nft", "-A", "FORWARD", "-p", "tcp", "-j", "DROP")
	program(t, "iptables-nft", "-A", "FORWARD", "-j", "DROP")
	chain := Chain{Table: Table{Family: IP, Name: "filter"}, Name: "FORWARD"}
	var b Batch
	b.InsertRule(chain, "ours", Is(OIFName, Name("br0")), XTState(XTEstablished|XTRelated|XTDNAT), Counter(), Accept())
	commit(t, c, &b)
	want := "-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -m comment --comment ours -j ACCEPT"
	if got := program(t, "iptables-nft", "-S", "FORWARD"); !strings.Contains(got, want) {
		t.Errorf("iptables lists\n%s, want %s", got, want)
	}
	rules, err := c.Rules(chain)
	if err != nil || len(rules) != 5 {
		t.Fatal(rules, err)
	}
	if rules[0].Comment != "ours" || rules[1].XTComment() != "by iptables" {
		t.Errorf("comments are %q and %q", rules[0].Comment, rules[1].XTComment())
	}
	for i, want := range []Fate{Depends, Stopped, Jumped, Depends, Stopped} {
		if got, to := rules[i].Always(); got != want || to != map[Fate]string{Jumped: "other"}[got] {
			t.Errorf("rule %d: %v %q, want %v", i, got, to, want)
		}
	}
}
