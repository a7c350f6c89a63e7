package runtime

import (
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// sets are the capabilities of a process, as the kernel shows them.
func sets(t *testing.T, pid int) string {
	t.Helper()
	var list []string
	for _, key := range []string{"Inh", "Prm", "Eff", "Bnd", "Amb"} {
		list = append(list, key+" "+strings.TrimLeft(statusOf(t, pid, "Cap"+key), "0"))
	}
	return strings.Join(list, ", ")
}

// The sets are those of config.json and nothing more. What it does not name is
// never inheritable, in whatever namespace and for whatever user (CVE-2022-24769,
// CVE-2022-29162).
func TestCapabilitySets(t *testing.T) {
	kill, chown, unknown := "CAP_KILL", "CAP_CHOWN", "CAP_OF_TOMORROW"
	all := []string{chown, kill}
	for i, test := range []struct {
		name     string
		caps     *specs.LinuxCapabilities
		uid      uint32
		want     string
		warnings string
	}{
		{"none", nil, 0, "Inh , Prm , Eff , Bnd , Amb ", ""},
		{"usual", &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}, 0, "Inh , Prm 21, Eff 21, Bnd 21, Amb ", ""},
		{"usual user", &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}, 7, "Inh , Prm , Eff , Bnd 21, Amb ", ""},
		{"inheritable", &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all, Inheritable: []string{kill}}, 0, "Inh 20, Prm 21, Eff 21, Bnd 21, Amb ", ""},
		{"ambient user", &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all, Inheritable: all, Ambient: []string{kill}}, 7, "Inh 21, Prm 20, Eff 20, Bnd 21, Amb 20", ""},
		{"idle ambient", &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all, Ambient: []string{kill}}, 7, "Inh , Prm , Eff , Bnd 21, Amb ", ""},
		{"unknown", &specs.LinuxCapabilities{Bounding: []string{unknown, kill}, Effective: []string{kill}, Permitted: []string{kill}}, 0, "Inh , Prm 20, Eff 20, Bnd 20, Amb ", `process.capabilities.bounding[0]: unknown capability "CAP_OF_TOMORROW" is left out`},
	} {
		own := i%2 == 0
		t.Run(fmt.Sprint(test.name, " own ids ", own), func(t *testing.T) {
			c := running(t, func(o *Options) {
				if own {
					ownIDs(t, o)
				}
				o.Spec.Process.Capabilities, o.Spec.Process.User.UID = test.caps, test.uid
			})
			if got := sets(t, c.Pid()); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if got := strings.Join(c.Warnings(), "\n"); (test.warnings == "") != (got == "") || !strings.Contains(got, test.warnings) {
				t.Errorf("warnings %q", got)
			}
			// What leaves its capabilities open gets the container's.
			p := executed(t, c, func(p *specs.Process) { p.Capabilities, p.User.UID = nil, test.uid })
			if got := sets(t, p.Pid()); got != test.want {
				t.Errorf("exec: %s, want %s", got, test.want)
			}
			p = executed(t, c, func(p *specs.Process) {
				p.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
			})
			if got := sets(t, p.Pid()); got != "Inh , Prm 21, Eff 21, Bnd 21, Amb " {
				t.Errorf("exec with its own: %s", got)
			}
		})
	}
}

// What the caller has not got itself it says, in whatever set it is asked for.
func TestCapabilitiesThatCannotBeGranted(t *testing.T) {
	spec, host := exampleSpec(t, false), testHost()
	host.Capabilities = 1 << 5 // CAP_KILL
	spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_KILL"}, Permitted: []string{"CAP_KILL", "CAP_SYS_ADMIN"}, Effective: []string{"CAP_KILL"}}
	compiled, err := Compile(spec, host, Settings{})
	must(t, err)
	if got := strings.Join(compiled.Warnings, "; "); !strings.Contains(got, "CAP_CHOWN, CAP_SYS_ADMIN left out") || strings.Contains(got, "CAP_KILL") {
		t.Errorf("warnings %q", got)
	}
}
