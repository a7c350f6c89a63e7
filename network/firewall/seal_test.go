package firewall

import (
	"testing"

	"loper.run/network"
	"loper.run/network/link"
	"loper.run/test/env"
)

// Seal seals the bridges of a container, which a test has made, as those are that
// the engine makes.
func Seal(t testing.TB, host *env.Netns, sb *network.Sandbox) {
	t.Helper()
	for _, e := range sb.Endpoints {
		if err := host.IP("link", "set", e.Link, "alias", "loper "+e.NetworkID+" sealed"); err != nil {
			t.Fatal(err)
		}
	}
	network.HostNamespace = host.File()
	defer func() { network.HostNamespace = nil }()
	if err := link.Repair(sb); err != nil {
		t.Fatal(err)
	}
}
