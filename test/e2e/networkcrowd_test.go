package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"loper.run/test/env"
)

// held are the files of what containers have of networks.
func (e *engine) held() (list []string) {
	for _, pattern := range []string{"*/address/*", "*/endpoint/*", "*/endpoint/.*", "*/name/*", "port/*-*"} {
		found, _ := filepath.Glob(filepath.Join(e.runroot, "network", pattern))
		list = append(list, found...)
	}
	return list
}

// Fifty processes connect and disconnect at once: each does what it says, and nothing is left or given twice.
func TestNetworkCrowd(t *testing.T) {
	e := asRoot(t).busybox()
	const networks, containers = 5, 5
	for i := range networks {
		e.must("network", "create", fmt.Sprint("n", i))
	}
	for i := range containers {
		e.start("--name", fmt.Sprint("c", i), "--network", "n0", "-p", "80", "busybox", "sleep", "1000")
	}
	every := func(what string) {
		t.Helper()
		var all sync.WaitGroup
		for n := range networks {
			for c := range containers {
				if n == 0 {
					continue
				}
				all.Go(func() {
					if r := e.run("network", what, fmt.Sprint("n", n), fmt.Sprint("c", c)); r.code != 0 {
						t.Error(r)
					}
				})
			}
		}
		for i := range 30 {
			all.Go(func() {
				if r := e.run("run", "--rm", "--network", fmt.Sprint("n", i%networks), "--network-alias", "passer", "busybox", "true"); r.code != 0 {
					t.Error(r)
				}
			})
		}
		all.Wait()
	}
	every("connect")
	for n := range networks {
		seen := map[string]bool{}
		for _, a := range strings.Fields(e.must("network", "inspect", "--format", "{{range .Containers}}{{.IPv4Address}} {{.IPv6Address}} {{.MacAddress}} {{end}}", fmt.Sprint("n", n))) {
			if seen[a] {
				t.Errorf("n%d: two have %s", n, a)
			}
			seen[a] = true
		}
		if len(seen) != 3*containers {
			t.Errorf("n%d: %v", n, seen)
		}
	}
	for c := range containers {
		if out := e.must("exec", fmt.Sprint("c", c), "ls", "/sys/class/net"); len(strings.Fields(out)) != networks+1 {
			t.Errorf("c%d has %q", c, out)
		}
	}
	every("disconnect")
	for c := range containers {
		expect(t, "interfaces", strings.Join(strings.Fields(e.must("exec", fmt.Sprint("c", c), "ls", "/sys/class/net")), " "), "eth0 lo")
	}
	e.must(append([]string{"rm", "-f"}, strings.Fields(e.must("ps", "-aq"))...)...)
	if left := e.held(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Where IPv6 is switched off there is IPv4.
func TestNetworkWithoutIPv6(t *testing.T) {
	e := asRoot(t).busybox()
	host := env.TestNetns(t)
	host.Do(func() {
		e.writeFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1", 0o644)
		e.writeFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1", 0o644)
		e.must("network", "create", "both")
		c := e.start("--network", "both", "--name", "server", "busybox", "sleep", "1000")
		address := e.inspect(c, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
		out := e.must("run", "--rm", "--network", "both", "busybox", "sh", "-c", "echo hello | nc -w 1 "+address+" 9 2>&1; ip -4 route; ip neigh")
		if !strings.Contains(out, "refused") && !strings.Contains(out, "lladdr") || !strings.Contains(out, "default via 10.") {
			t.Errorf("inside: %q", out)
		}
		e.must("rm", "-f", c)
		e.must("network", "rm", "both")
	})
}
