package runtime

import (
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ownNetwork gives the test a network namespace that stands for the host's,
// with the interfaces v0 and v1, whose other ends are p0 and p1.
func ownNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip of Debian's iproute2: ", err)
	}
	goruntime.LockOSThread() // and never unlocked: the thread ends with the test
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	for i := range 2 {
		if out, err := exec.Command("ip", "link", "add", fmt.Sprint("v", i), "type", "veth", "peer", "name", fmt.Sprint("p", i)).CombinedOutput(); err != nil {
			t.Skipf("needs veth: %v: %s", err, out)
		}
		ip(t, "link", "set", fmt.Sprint("p", i), "up")
	}
	ip(t, "link", "set", "v0", "up", "mtu", "1400")
	ip(t, "addr", "add", "192.0.2.1/24", "broadcast", "+", "dev", "v0")
	ip(t, "addr", "add", "2001:db8::1/64", "nodad", "dev", "v0")
	ip(t, "addr", "add", "198.51.100.1/24", "scope", "link", "dev", "v0")
	ip(t, "addr", "add", "203.0.113.1/24", "valid_lft", "1000", "preferred_lft", "1000", "dev", "v0")
	ip(t, "link", "property", "add", "dev", "v0", "altname", "verylongalternativename")
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

// ipInside asks for the devices of a container.
func ipInside(t *testing.T, c *Container, args ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(c.Pid()), "-n", "ip"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("nsenter: %v: %s", err, out)
	}
	return string(out)
}

// An interface of the host's comes to the container with its addresses, under
// another name or its own, and is up.
func TestNetDevices(t *testing.T) {
	both(t, func(t *testing.T, own bool) {
		ownNetwork(t)
		c, _ := sleeping(t, func(o *Options) {
			o.Spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"v0": {Name: "data%d"}, "v1": {}}
			if own {
				mappedUser(o)
				mappedRoot(t, o)
			}
		})
		all := ipInside(t, c, "addr")
		for _, want := range []string{"data0@", "v1@", "192.0.2.1/24 brd 192.0.2.255 scope global data0", "2001:db8::1/64 scope global nodad", "mtu 1400", "altname verylongalternativename"} {
			if !strings.Contains(all, want) {
				t.Errorf("no %q in\n%s", want, all)
			}
		}
		for _, bad := range []string{"198.51.100.1", "203.0.113.1"} {
			if strings.Contains(all, bad) {
				t.Errorf("%q in\n%s", bad, all)
			}
		}
		for _, name := range []string{"data0", "v1"} {
			if line := ipInside(t, c, "link", "show", "dev", name); !strings.Contains(line, ",UP") {
				t.Error(line)
			}
		}
		if out := ip(t, "link"); strings.Contains(out, "v0@") || strings.Contains(out, "v1@") || !strings.Contains(out, "p0@") {
			t.Error(out)
		}
		// The kernel ends virtual devices with their namespace.
		must(t, c.Kill(unix.SIGKILL, true))
		c.Wait()
		waitFor(t, "the end of the devices", func() bool {
			out := ip(t, "link")
			return !strings.Contains(out, "p0@") && !strings.Contains(out, "v0")
		})
	})
}

// A create that fails gives back what it took, as it was.
func TestNetDevicesComeBack(t *testing.T) {
	ownNetwork(t)
	before := links(t)
	for want, change := range map[string]func(o *Options){
		"linux.netDevices.v1: the container has a network device lo already": func(o *Options) {
			o.Spec.Linux.NetDevices["v1"] = specs.LinuxNetDevice{Name: "lo"}
		},
		"linux.netDevices.w: find the network device w: no such device": func(o *Options) {
			o.Spec.Linux.NetDevices["w"] = specs.LinuxNetDevice{Name: "x"}
		},
		"linux.netDevices.zz: find": func(o *Options) { o.Spec.Linux.NetDevices["zz"] = specs.LinuxNetDevice{} },
		"/no/such/program":          func(o *Options) { o.Spec.Process.Args = []string{"/no/such/program"} },
		"linux.netDevices: needs a network namespace": func(o *Options) {
			o.Spec.Linux.Namespaces = slices.DeleteFunc(o.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
		},
		`linux.netDevices.v0: "a/b" is no name`: func(o *Options) { o.Spec.Linux.NetDevices["v0"] = specs.LinuxNetDevice{Name: "a/b"} },
		`linux.netDevices.v1.name: "data0" is the name of another device too`: func(o *Options) {
			o.Spec.Linux.NetDevices["v1"] = specs.LinuxNetDevice{Name: "data0"}
		},
		"linux.netDevices.lo: move lo to": func(o *Options) { o.Spec.Linux.NetDevices["lo"] = specs.LinuxNetDevice{Name: "lo2"} },
	} {
		o := bundle(t, "true")
		o.Spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"v0": {Name: "data0"}}
		change(&o)
		o.Detached = true
		if _, err := Run(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		if after := links(t); after != before {
			t.Errorf("%s: the host's devices are\n%s\nand were\n%s", want, after, before)
		}
	}
}

// links are the host's interfaces, without their indexes and what changes by
// itself.
func links(t *testing.T) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(ip(t, "-o", "addr", "show", "dev", "v0", "scope", "global", "permanent")) {
		_, rest, _ := strings.Cut(line, ": ")
		lines = append(lines, rest)
	}
	slices.Sort(lines)
	text := strings.Join(lines, "")
	for _, name := range []string{"v0", "v1"} {
		_, rest, _ := strings.Cut(ip(t, "-o", "link", "show", "dev", name), ": ")
		text += rest[:strings.Index(rest, "qdisc")]
	}
	return text
}

// A namespace that somebody else made gets devices too.
func TestNetDevicesInAJoinedNamespace(t *testing.T) {
	ownNetwork(t)
	first, _ := sleeping(t, func(o *Options) { o.Spec.Linux.CgroupsPath += "-first" })
	c, _ := sleeping(t, func(o *Options) {
		for i, ns := range o.Spec.Linux.Namespaces {
			if ns.Type == specs.NetworkNamespace {
				o.Spec.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/net", first.Pid())
			}
		}
		o.Spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"v0": {Name: "eth0"}}
	})
	if out := ipInside(t, first, "addr", "show", "dev", "eth0"); !strings.Contains(out, "192.0.2.1/24") {
		t.Error(out)
	}
	must(t, c.Kill(unix.SIGKILL, true))
	c.Wait()
	if out := ipInside(t, first, "link"); !strings.Contains(out, "eth0@") {
		t.Error("the device went before its namespace")
	}
}
