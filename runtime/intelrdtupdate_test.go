package runtime

import (
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestUpdateIntelRdt(t *testing.T) {
	tree := fakeResctrl(t)
	o := rdtBundle(t, specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f"})
	c, err := Run(o)
	must(t, err)
	defer c.Delete(true)
	for _, u := range []struct{ l3, bandwidth, want string }{
		{"L3:0=3", "", "L3:0=3\n"}, {"", "MB:0=50", "MB:0=50\n"}, {"L3:0=1", "MB:0=20", "L3:0=1\nMB:0=20\n"},
	} {
		must(t, c.UpdateIntelRdt(u.l3, u.bandwidth))
		if got := string(readAll(t, filepath.Join(tree, c.ID(), "schemata"))); got != u.want {
			t.Errorf("%q %q: %q", u.l3, u.bandwidth, got)
		}
	}
	if err := c.UpdateIntelRdt("", "nonsense"); err == nil || !strings.Contains(err.Error(), "linux.intelRdt.memBwSchema") {
		t.Errorf("error %v", err)
	}
	must(t, c.Delete(true))

	plain := bundle(t, "sleep", "60")
	plain.Detached = true
	other, err := Run(plain)
	must(t, err)
	defer other.Delete(true)
	if err := other.UpdateIntelRdt("L3:0=3", ""); err == nil || !strings.Contains(err.Error(), "linux.intelRdt: is missing") {
		t.Errorf("error %v", err)
	}
}
