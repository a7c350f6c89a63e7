package firewall_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/internal/flock"
	"loper.run/network"
	"loper.run/network/firewall"
)

func never() bool { return false }

// Whatever is taken away of the tables is noticed and put back, once.
func TestHeal(t *testing.T) {
	w := newWorld(t)
	one := w.net(1, nil)
	a := w.box(one, published("", 8001, 80, "tcp"))
	w.serve(a.ns, 80, "a")
	name := firewallName(w)
	old := w.nft("list", "table", "ip", name)
	b := w.box(one, published("", 8002, 80, "tcp"))
	w.serve(b.ns, 80, "b")
	whole := w.nft("-s", "list", "ruleset")
	_, made, _ := strings.Cut(whole, "chain made")
	made, _, _ = strings.Cut(made, " ")
	heal := func(what string, want int) {
		t.Helper()
		begin := time.Now()
		done, err := w.wall.Heal(never)
		took := time.Since(begin)
		w.must(err)
		if done.For != want {
			t.Errorf("%s: %+v, want %d containers", what, done, want)
		}
		if now := w.nft("-s", "list", "ruleset"); now != whole {
			t.Errorf("%s: the rules are\n%swant\n%s", what, now, whole)
		}
		t.Logf("%s: %v", what, took)
	}
	heal("nothing", 0)
	for _, commands := range []string{
		"flush ruleset", "delete table bridge " + name, "delete table ip " + name, "delete table ip6 " + name,
		"flush table ip " + name, "flush chain ip6 " + name + " forward", "delete chain ip " + name + " made" + made,
		"add rule ip " + name + " forward accept", "add chain ip " + name + " more", "add set ip " + name + " more { type mark; }",
		"add table ip " + name + " { flags dormant; }", "add chain ip " + name + " forward { policy drop; }",
		"delete table ip " + name + "\n" + old,
	} {
		w.nft(commands)
		heal(commands[:min(len(commands), 40)], 2)
		heal("again", 0)
	}
	w.expect("after all", w.outside, "tcp", host4, 8001, "a "+outside4)
	w.expect("after all", w.outside, "tcp", host6, 8002, "b "+outside6)

	// Who has ended leaves it alone, and so does who finds somebody at work.
	w.nft("flush", "ruleset")
	if done, err := w.wall.Heal(func() bool { return true }); err != nil || done.For != 0 || w.nft("list", "ruleset") != "" {
		t.Errorf("%+v, %v", done, err)
	}
	lock, err := flock.Exclusive(filepath.Join(w.store.Dir(""), "firewall.lock"))
	w.must(err)
	if _, err := w.wall.Heal(never); !errors.Is(err, flock.ErrHeld) {
		t.Error(err)
	}
	lock.Close()

	// One that leaves is not brought back, and after the last one nothing is.
	w.must(w.wall.Leave(a.Sandbox, func() error {
		w.stopped(a)
		return nil
	}))
	if done, err := w.wall.Heal(never); err != nil || done.For != 1 || strings.Contains(w.nft("list", "ruleset"), "8001") {
		t.Errorf("%+v, %v", done, err)
	}
	w.must(w.wall.Leave(b.Sandbox, func() error {
		w.stopped(b)
		return nil
	}))
	w.must(w.wall.RemoveNetwork(&network.Network{Driver: network.Bridge, Interface: one.Link, ID: one.NetworkID}))
	if done, err := w.wall.Heal(never); err != nil || done != (firewall.Healed{}) || w.nft("list", "ruleset") != "" {
		t.Errorf("%+v, %v, %s", done, err, w.nft("list", "ruleset"))
	}
}

// Rules in others' chains are put back when those are made anew, and only then.
func TestHealForward(t *testing.T) {
	w := newWorld(t)
	one := w.net(1, nil)
	w.box(one)
	const closed = "table inet other { chain forward { type filter hook forward priority 10; policy drop; ct state established accept; }; }"
	for i, want := range []bool{true, false, true, false} {
		if i == 2 {
			w.nft("delete table inet other")
		}
		if want {
			w.nft(closed)
		}
		done, err := w.wall.Heal(never)
		w.must(err)
		if done.Amended != want || done.For != 0 || (done.String() != "") != want {
			t.Errorf("%d: %+v", i, done)
		}
		if rules := w.nft("list", "table", "inet", "other"); !strings.Contains(rules, `iifname "br1"`) {
			t.Errorf("%d: %s", i, rules)
		}
	}
}
