package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const rdtDefault = "    L3:0=fff;1=fff\n    MB:0=100;1=100\n"

// fakeResctrl is a tree that looks like resctrl, for machines without the
// hardware.
func fakeResctrl(t *testing.T, groups ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append(groups, ".", "info") {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name, "schemata"), []byte(rdtDefault), 0o644))
	}
	before := openResctrl
	openResctrl = func() (*os.Root, error) { return os.OpenRoot(dir) }
	t.Cleanup(func() { openResctrl = before })
	return dir
}

// rdtBundle is a container in a group.
func rdtBundle(t *testing.T, r specs.LinuxIntelRdt) Options {
	t.Helper()
	o := bundle(t, "sleep", "60")
	o.Spec.Linux.IntelRdt = &r
	o.Config = encode(t, o.Spec)
	o.Detached = true
	return o
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestIntelRdt(t *testing.T) {
	for _, test := range []struct {
		name     string
		rdt      specs.LinuxIntelRdt
		group    string // %s: the container's id
		schemata string
		there    bool // before the container
		stays    bool
	}{
		{"own", specs.LinuxIntelRdt{L3CacheSchema: "L3:0=7f0;1=1f"}, "%s", "L3:0=7f0;1=1f\n", false, false},
		{"order", specs.LinuxIntelRdt{Schemata: []string{"L2:0=f", "MB:0=20"}, MemBwSchema: "MB:0=30", L3CacheSchema: "L3:0=f"}, "%s", "L3:0=f\nMB:0=30\nL2:0=f\nMB:0=20\n", false, false},
		{"monitored only", specs.LinuxIntelRdt{EnableMonitoring: true}, "%s", "", false, false},
		{"named", specs.LinuxIntelRdt{ClosID: "gold", Schemata: []string{"L3:0=1"}, EnableMonitoring: true}, "gold", "L3:0=1\n", false, true},
		{"shared", specs.LinuxIntelRdt{ClosID: "gold"}, "gold", rdtDefault, true, true},
		{"shared, the same", specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:1=0FFF;0=fff", MemBwSchema: "MB:0= 100", EnableMonitoring: true}, "gold", "L3:1=0FFF;0=fff\nMB:0= 100\n", true, true},
		{"root", specs.LinuxIntelRdt{ClosID: "/", EnableMonitoring: true}, ".", rdtDefault, true, true},
	} {
		t.Run(strings.NewReplacer(" ", "-", ",", "").Replace(test.name), func(t *testing.T) {
			var groups []string
			if test.there {
				groups = []string{test.group}
			}
			dir := fakeResctrl(t, groups...)
			o := rdtBundle(t, test.rdt)
			group := filepath.Join(dir, strings.ReplaceAll(test.group, "%s", o.ID))
			c, err := Run(o)
			must(t, err)
			defer c.Delete(true)
			if got, _ := os.ReadFile(group + "/schemata"); string(got) != test.schemata {
				t.Errorf("schemata %q, want %q", got, test.schemata)
			}
			if got := string(readAll(t, group+"/tasks")); got != "0" { // the writer itself
				t.Errorf("tasks %q", got)
			}
			monitor := group + "/mon_groups/" + o.ID
			if exists(monitor) != test.rdt.EnableMonitoring {
				t.Errorf("monitored: %v", exists(monitor))
			}
			if test.rdt.EnableMonitoring && string(readAll(t, monitor+"/tasks")) != "0" {
				t.Error("the container is not in its monitoring group")
			}
			must(t, os.Truncate(group+"/tasks", 0))
			p := executed(t, c, nil)
			if got := string(readAll(t, group+"/tasks")); got != "0" {
				t.Errorf("a process of exec: tasks %q", got)
			}
			must(t, p.Signal(unix.SIGKILL))
			p.Wait()
			must(t, c.Delete(true))
			if exists(monitor) || exists(group) != test.stays {
				t.Errorf("after delete: monitoring group %v, group %v", exists(monitor), exists(group))
			}
		})
	}
}

func TestIntelRdtFails(t *testing.T) {
	before := hostState(t)
	for want, rdt := range map[string]specs.LinuxIntelRdt{
		`linux.intelRdt.closID: there is no group "gold", and nothing says`:                                {ClosID: "gold"},
		`linux.intelRdt.closID: "../x" is no name of a group`:                                              {ClosID: "../x"},
		`linux.intelRdt.closID: ".." is no name of a group`:                                                {ClosID: ".."},
		`linux.intelRdt.closID: "info" is no name of a group`:                                              {ClosID: "info", L3CacheSchema: "L3:0=f"},
		`linux.intelRdt.closID: "mon_groups" is no name of a group`:                                        {ClosID: "mon_groups"},
		`linux.intelRdt.memBwSchema: "L3:0=f" does not begin with MB:`:                                     {MemBwSchema: "L3:0=f"},
		"linux.intelRdt.memBwSchema: has more than one line":                                               {MemBwSchema: "MB:0=1\nL3:0=1"},
		"linux.intelRdt.schemata[1]: has more than one line":                                               {Schemata: []string{"L3:0=1", "a\nb"}},
		`linux.intelRdt.l3CacheSchema: the group "silver" is there and has L3:1=fff, not`:                  {ClosID: "silver", L3CacheSchema: "L3:0=fff;1=ff"},
		`linux.intelRdt.memBwSchema: the group "silver" is there and has MB:0=100, not 5`:                  {ClosID: "silver", MemBwSchema: "MB:0=50"},
		"linux.intelRdt.enableMonitoring: openat full/mon_groups: not a directory (not within its limits)": {ClosID: "full", EnableMonitoring: true},
	} {
		dir := fakeResctrl(t, "silver", "full")
		must(t, os.WriteFile(dir+"/full/mon_groups", nil, 0o644)) // no group can be made in it
		must(t, os.WriteFile(dir+"/info/last_cmd_status", []byte("not within its limits\n"), 0o644))
		o := rdtBundle(t, rdt)
		err := Validate(o.Spec)
		if err == nil {
			var c *Container
			if c, err = Run(o); err == nil {
				c.Delete(true)
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if exists(filepath.Join(dir, o.ID)) || exists(o.Root+"/"+o.ID) {
			t.Errorf("%s: something is left", want)
		}
	}
	if after := hostState(t); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// A start that fails later takes the group away, also one with a name, which
// nobody has used then.
func TestIntelRdtOfAFailedStart(t *testing.T) {
	for _, closID := range []string{"", "gold"} {
		dir := fakeResctrl(t)
		o := rdtBundle(t, specs.LinuxIntelRdt{ClosID: closID, L3CacheSchema: "L3:0=f", EnableMonitoring: true})
		o.Spec.Process.Args = []string{"/does/not/exist"}
		if _, err := Run(o); ExitCode(err) != 127 {
			t.Errorf("error %v", err)
		}
		for _, group := range []string{o.ID, "gold"} {
			if exists(filepath.Join(dir, group)) {
				t.Errorf("closID %q: the group %s is left", closID, group)
			}
		}
	}
}

func TestIntelRdtWithoutResctrl(t *testing.T) {
	if root, err := openResctrl(); err == nil {
		root.Close()
		t.Skip("this machine has resctrl")
	}
	o := rdtBundle(t, specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f"})
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "config.json: linux.intelRdt: no resctrl file system is mounted") {
		t.Errorf("error %v", err)
	}
	if exists(filepath.Join(o.Root, o.ID)) {
		t.Error("something is left")
	}
}
