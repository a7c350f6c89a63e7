package link_test

import (
	"fmt"
	"strings"
	"testing"

	"loper.run/network"
	"loper.run/network/link"
	"loper.run/test/env"
)

// filters are what tc(8) tells of a bridge's filters.
func filters(t *testing.T, h *env.Netns, bridge string) string {
	t.Helper()
	env.Need(t, "tc")
	out, _ := run(h, "tc", "filter", "show", "dev", bridge, "egress")
	in, _ := run(h, "tc", "filter", "show", "dev", bridge, "ingress")
	return out + in
}

// A bridge is sealed when it is made, when an older version has made it, and by
// Repair. Somebody else's is not.
func TestSeal(t *testing.T) {
	h := host(t)
	a := sandbox(2)
	inA := connect(t, a)
	mark := fmt.Sprintf(" %d,", network.PassMark)
	sealed := func(what string) {
		t.Helper()
		if got := filters(t, h, "lbr-red"); strings.Count(got, "direct-action") != 2 || strings.Count(got, mark) != 2 {
			t.Errorf("%s: %s", what, got)
		}
		if got := interfaces(t, h)["lbr-red"].Ifalias; got != "loper "+networkID+" sealed" {
			t.Errorf("%s: the alias is %s", what, got)
		}
		reach(t, h, inA, "10.89.0.2", "fd00::2") // as there is a rule that marks
	}
	sealed("at first")
	must(t, h, "tc", "qdisc", "del", "dev", "lbr-red", "clsact")
	if err := link.Repair(a); err != nil {
		t.Fatal(err)
	}
	sealed("repaired")
	if err := link.Repair(a); err != nil {
		t.Fatal(err)
	}
	sealed("repaired, and nothing was broken")

	must(t, h, "tc", "qdisc", "del", "dev", "lbr-red", "clsact")
	must(t, h, "ip", "link", "set", "lbr-red", "alias", "loper "+networkID)
	connect(t, sandbox(3))
	sealed("of an older version")

	// Without the rule the host reaches nobody, but for neighbours' addresses.
	must(t, h, "nft", "flush", "ruleset")
	for _, address := range []string{"10.89.0.2", "fd00::2"} {
		if err := reached(h, inA, address); err == nil {
			t.Errorf("%s is reached without the rule", address)
		}
	}
	must(t, inA, "ip", "neigh", "flush", "all")
	must(t, h, "ip", "neigh", "flush", "all")
	_ = reached(inA, h, "fd00::1")
	if got := must(t, inA, "ip", "neigh", "show", "fd00::1"); !strings.Contains(got, "lladdr") {
		t.Errorf("the container does not find its gateway: %s", got)
	}

	// Where somebody has his own filters of the old kind there is no place.
	must(t, h, "tc", "qdisc", "del", "dev", "lbr-red", "clsact")
	must(t, h, "tc", "qdisc", "add", "dev", "lbr-red", "ingress")
	if err := link.Repair(a); err == nil || !strings.Contains(err.Error(), "tc qdisc del dev lbr-red ingress") {
		t.Errorf("error %v", err)
	}
	if got := filters(t, h, "lbr-red"); strings.Contains(got, mark) {
		t.Errorf("the seal is in the wrong place: %s", got)
	}

	e := endpoint(4)
	e.Mode, e.Link, e.NetworkID = link.Unmanaged, "theirs", strings.Repeat("8", 64)
	must(t, h, "ip", "link", "add", "theirs", "up", "type", "bridge")
	theirs := sandbox(4, e)
	connect(t, theirs)
	if err := link.Repair(theirs); err != nil {
		t.Error(err)
	}
	if got := filters(t, h, "theirs"); got != "" {
		t.Errorf("somebody else's bridge: %s", got)
	}
}

// A sealed bridge goes as any other.
func TestTearDownSealed(t *testing.T) {
	h := host(t)
	connect(t, sandbox(2))
	if err := link.TearDown(&network.Network{ID: networkID, Driver: network.Bridge, Interface: "lbr-red"}); err != nil {
		t.Error(err)
	}
	if _, err := linkOf(h, "lbr-red"); err == nil {
		t.Error("the bridge is still there")
	}
}
