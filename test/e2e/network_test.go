package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestNetworkCommands(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		expect(t, "before anything was made", e.must("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"), "bridge bridge local\nhost host local\nnone null local")
		id := e.must("network", "create", "--label", "team=a", "--opt", "mtu=1400", "blue")
		if len(id) != 64 {
			t.Errorf("network create printed %q, want an id", id)
		}
		e.must("network", "create", "--internal", "--subnet", "10.213.7.0/24", "--gateway", "10.213.7.9", "--ip-range", "10.213.7.128/25", "--aux-address", "nas=10.213.7.200", "red")
		lines := strings.Split(e.must("network", "ls"), "\n")
		if !strings.HasPrefix(lines[0], "NETWORK ID") || strings.Join(strings.Fields(lines[1]), " ") != id[:12]+" blue bridge local" || len(lines) != 6 {
			t.Errorf("network ls: %q", lines)
		}
		for filter, want := range map[string]string{
			"label=team=a": "blue", "name=ed": "red", "id=" + id[:7]: "blue", "driver=null": "none", "type=custom": "blue\nred", "type=builtin": "bridge\nhost\nnone", "dangling=true": "blue\nred",
		} {
			expect(t, "filter "+filter, e.must("network", "ls", "--filter", filter, "--format", "{{.Name}}"), want)
		}
		expect(t, "-q", e.must("network", "ls", "-q", "--no-trunc", "--filter", "name=blue"), id)
		var found []struct {
			Name, ID string
			Internal bool
			IPAM     struct {
				Config []struct {
					Subnet, Gateway, IPRange string
					AuxiliaryAddresses       map[string]string
				}
			}
		}
		if err := json.Unmarshal([]byte(e.must("network", "inspect", "red", id[:8])), &found); err != nil || len(found) != 2 || found[1].ID != id {
			t.Fatalf("inspect: %+v, %v", found, err)
		}
		if c := found[0].IPAM.Config; !found[0].Internal || len(c) != 1 || c[0].Subnet != "10.213.7.0/24" || c[0].Gateway != "10.213.7.9" || c[0].IPRange != "10.213.7.128/25" || c[0].AuxiliaryAddresses["nas"] != "10.213.7.200" {
			t.Errorf("inspect: %+v", found[0])
		}
		expect(t, "inspect --type", e.must("inspect", "--type", "network", "--format", "{{.Name}}", id), "blue")
		for _, bad := range []struct {
			words []string
			args  []string
		}{
			{[]string{"network with name red already exists"}, []string{"create", "red"}},
			{[]string{"already exists: blue"}, []string{"create", id}},
			{[]string{"bridge is a pre-defined network"}, []string{"create", "bridge"}},
			{[]string{"bridge is a pre-defined network and cannot be removed"}, []string{"rm", "bridge"}},
			{[]string{"No such network: green"}, []string{"rm", "green"}},
			{[]string{"No such network: green"}, []string{"inspect", "green"}},
			{[]string{"10.213.7.128/26", "overlaps", "network red"}, []string{"create", "--subnet", "10.213.7.128/26", "x"}},
			{[]string{"10.214.0.1", "in none of the subnets"}, []string{"create", "--subnet", "10.213.8.0/24", "--gateway", "10.214.0.1", "x"}},
			{[]string{"give the subnet"}, []string{"create", "--gateway", "10.214.0.1", "x"}},
			{[]string{"no room"}, []string{"create", "--subnet", "10.213.8.0/31", "x"}},
			{[]string{"multicast"}, []string{"create", "--subnet", "239.0.0.0/24", "x"}},
			{[]string{"should be 10.213.8.0/24"}, []string{"create", "--subnet", "10.213.8.1/24", "x"}},
			{[]string{"10.213", "invalid subnet"}, []string{"create", "--subnet", "10.213", "x"}},
			{[]string{`driver bridge has no option "colour"`}, []string{"create", "-o", "colour=red", "x"}},
			{[]string{`driver "overlay" is not supported`}, []string{"create", "-d", "overlay", "x"}},
			{[]string{"only one instance"}, []string{"create", "-d", "host", "x"}},
			{[]string{"--scope", "swarm"}, []string{"create", "--scope", "swarm", "x"}},
			{[]string{"--ipam-driver", "dhcp"}, []string{"create", "--ipam-driver", "dhcp", "x"}},
			{[]string{"a network needs IPv4 or IPv6"}, []string{"create", "--ipv4=false", "--ipv6=false", "x"}},
			{[]string{"invalid network name"}, []string{"create", "../x"}},
			{[]string{"invalid network name"}, []string{"create", ""}},
			{[]string{"invalid filter"}, []string{"ls", "--filter", "colour=red"}},
			{[]string{"type=odd"}, []string{"ls", "--filter", "type=odd"}},
		} {
			e.mustFail(1, bad.words, append([]string{"network"}, bad.args...)...)
		}
		e.must("network", "create", "--ignore", "red")
		e.must("network", "rm", "-f", "green")
		e.must("network", "exists", "blue")
		if r := e.run("network", "exists", "green"); r.code != 1 || r.stdout+r.stderr != "" {
			t.Error(r)
		}
		expect(t, "prune --dry-run", e.must("network", "prune", "--dry-run", "--filter", "label=team"), "Would delete Networks:\nblue")
		expect(t, "prune", e.must("network", "prune", "-f", "--filter", "label!=team"), "Deleted Networks:\nred")
		expect(t, "rm", e.must("network", "rm", id[:6]), id[:6])
		expect(t, "afterwards", e.must("network", "ls", "-q", "--filter", "type=custom"), "")
	})
}

func TestNetworkInUse(t *testing.T) {
	e := asRoot(t).busybox()
	id := e.must("network", "create", "--subnet", "10.213.9.0/29", "--subnet", "fd00:213::/64", "home")
	c := e.start("--name", "Tenant", "--network", "home", "--network-alias", "flat", "busybox", "sleep", "1000")
	expect(t, "inspect", e.must("network", "inspect", "--format", "{{range .Containers}}{{.Name}} {{.IPv4Address}} {{.IPv6Address}}{{end}}", "home"), "Tenant 10.213.9.2/29 fd00:213::2/64")
	e.mustFail(1, []string{"network home is in use by container Tenant"}, "network", "rm", "home")
	expect(t, "prune", e.must("network", "prune", "-f"), "")
	e.mustFail(125, []string{"address is taken: 10.213.9.2 by container Tenant"}, "run", "--rm", "--network", "home", "--ip", "10.213.9.2", "busybox", "true")
	e.mustFail(125, []string{"10.213.10.2 is not in the subnet 10.213.9.0/29"}, "run", "--rm", "--network", "home", "--ip", "10.213.10.2", "busybox", "true")
	e.mustFail(125, []string{"10.213.9.1 is the gateway"}, "run", "--rm", "--network", "home", "--ip", "10.213.9.1", "busybox", "true")
	for range 4 {
		e.start("--network", "home", "busybox", "sleep", "1000")
	}
	e.mustFail(125, []string{"network home: no address is left in 10.213.9.0/29"}, "run", "--rm", "--network", "home", "busybox", "true")

	// One whose monitor is killed has no say any more.
	for _, m := range e.monitors(c) {
		syscall.Kill(m, syscall.SIGKILL)
	}
	eventually(t, "its place is another's", func() bool { return e.run("run", "--rm", "--network", "home", "busybox", "true").code == 0 })
	e.must("start", "Tenant")
	e.must("rename", "Tenant", "Owner")
	names := filepath.Join(e.runroot, "network", id, "name")
	if _, err := os.Lstat(filepath.Join(names, "owner", c)); err != nil {
		t.Errorf("its new name: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(names, "tenant")); err == nil {
		t.Error("its old name is there")
	}
	e.must(append([]string{"rm", "-f"}, strings.Fields(e.must("ps", "-aq"))...)...)
	if left, _ := filepath.Glob(filepath.Join(names, "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	bridge := e.must("network", "inspect", "--format", "{{.Interface}}", "home")
	if _, err := os.Lstat("/sys/class/net/" + bridge); err != nil {
		t.Errorf("the bridge: %v", err)
	}
	e.must("network", "rm", "home")
	if _, err := os.Lstat("/sys/class/net/" + bridge); err == nil {
		t.Error("the bridge is there")
	}
}

// A damaged network is told of, and goes by rm.
func TestDamagedNetwork(t *testing.T) {
	e := asRoot(t)
	e.must("network", "create", "hurt")
	e.writeFile(filepath.Join(e.root, "network", "hurt", "network.json"), `{"name":"other"`, 0o600)
	e.mustFail(1, []string{"network hurt: network is damaged: remove it"}, "network", "ls")
	e.mustFail(1, []string{"network hurt: network is damaged: remove it"}, "network", "create", "next")
	if r := e.run("system", "check", "--quick"); r.code != 1 || !strings.Contains(r.stdout, "network hurt") {
		t.Error(r)
	}
	e.must("network", "rm", "hurt")
	e.must("network", "create", "next")
	e.must("system", "check", "--quick")
}

// A network of which only stopped containers speak stays when others go.
func TestNetworkOfStoppedContainer(t *testing.T) {
	e := asRoot(t).busybox()
	e.must("network", "create", "kept")
	e.must("network", "create", "gone")
	e.must("create", "--name", "c", "--network", "kept", "busybox", "true")
	expect(t, "prune", e.must("network", "prune", "-f"), "Deleted Networks:\ngone")
	expect(t, "dangling", e.must("network", "ls", "--filter", "dangling=true", "-q"), "")
	e.must("network", "rm", "kept")
	e.mustFail(1, []string{"kept"}, "start", "c")
	if out := e.must("system", "prune", "-f"); !strings.Contains(out, "Deleted Containers") {
		t.Error(out)
	}
}
