package e2e_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
)

// onWire does the same for root and for an ordinary user, each on a host of the test's own with somebody outside at
// 198.51.100.1.
func onWire(t *testing.T, f func(t *testing.T, e *engine, outside *env.Netns)) {
	t.Run("root", func(t *testing.T) {
		host, outside := env.TestNetns(t), env.TestNetns(t)
		e := asRoot(t).busybox()
		e.host = host
		if err := env.Wire(e.host, "eth0", []string{"198.51.100.2/24"}, outside, "world", []string{world + "/24"}); err != nil {
			t.Fatal(err)
		}
		f(t, e, outside)
	})
	t.Run("user", func(t *testing.T) {
		if err := carrier(); err != nil {
			t.Fatal(err)
		}
		e, outside := abroad(t, true)
		f(t, e, outside)
	})
}

// A published port leads to where the container is, whatever networks it is connected to and taken off while it runs.
func TestPortsFollow(t *testing.T) {
	onWire(t, func(t *testing.T, e *engine, outside *env.Netns) {
		e.must("network", "create", "--internal", "inner")
		e.must("network", "create", "one")
		e.must("network", "create", "two")
		r := e.run("run", "-d", "--name", "c", "--network", "inner", "-p", "8080:80", "busybox", "sh", "-c", "echo here >/tmp/index.html; exec busybox httpd -f -p 80 -h /tmp")
		if r.code != 0 || !strings.HasPrefix(r.stderr, "loper: warning: published ports lead nowhere: ") || strings.Count(r.stderr, "\n") != 1 {
			t.Fatalf("a port on an internal network: %v", r)
		}
		reached := func(when string, want bool) {
			t.Helper()
			eventually(t, fmt.Sprintf("%s: the port is open: %v", when, want), func() bool {
				text, err := ask(outside, "http://198.51.100.2:8080/")
				return want && strings.TrimSpace(text) == "here" || !want && err != nil
			})
			if listed := e.must("port", "c"); (listed != "") != want {
				t.Errorf("%s: port prints %q", when, listed)
			}
		}
		reached("internal", false)
		e.must("network", "connect", "one", "c")
		reached("connected", true)
		e.must("network", "connect", "--gw-priority", "1", "two", "c")
		reached("connected to the next", true)
		if routes := e.must("exec", "c", "ip", "route"); !strings.Contains(routes, "dev eth2") || !strings.Contains(strings.SplitN(routes, "\n", 2)[0], "default via "+e.inspect("c", "{{.NetworkSettings.Networks.two.Gateway}}")) {
			t.Errorf("the way out is not by the network of the highest priority:\n%s", routes)
		}
		e.must("network", "disconnect", "one", "c")
		reached("taken off the first", true)
		e.must("network", "disconnect", "two", "c")
		reached("taken off all", false)
		e.must("rm", "-f", "c")
	})
}

// What a network mode has no place for is told, and what was asked for is not lost.
func TestPortsWithoutNetwork(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		for _, mode := range []string{"host", "none"} {
			r := e.run("run", "-d", "--name", mode, "--network", mode, "-p", "8080:80", "busybox", "sleep", "1000")
			if r.code != 0 || r.stderr != "loper: warning: Published ports are discarded when using "+mode+" network mode\n" {
				t.Errorf("-p with --network %s: %v", mode, r)
			}
			expect(t, "asked for", e.inspect(mode, "{{json .HostConfig.PortBindings}} {{json .NetworkSettings.Ports}}"), `{"80/tcp":[{"HostIp":"","HostPort":"8080"}]} {}`)
			e.must("rm", "-f", mode)
		}
		e.mustFail(125, []string{"conflicting options: port publishing and the container type network mode"}, "run", "--network", "container:x", "-p", "8080:80", "busybox", "true")
		e.mustFail(125, []string{`unknown option "bogus": known are alias,`}, "run", "--network", "n:bogus=1", "busybox", "true")
		out := e.must("run", "--rm", "-h", "web.example.org", "busybox", "cat", "/etc/hosts")
		if line := lineWith(out, "example"); !strings.HasSuffix(line, "\tweb.example.org web") || !netip.MustParseAddr(strings.Fields(line)[0]).IsPrivate() {
			t.Errorf("a host name with a domain: %q", line)
		}
	})
}

// A rate holds for what comes in and for what goes out, and stats counts it, also where there are no cgroups.
func TestNetworkRate(t *testing.T) {
	const size = 1 << 20
	onWire(t, func(t *testing.T, e *engine, _ *env.Netns) {
		e.must("network", "create", "n")
		serve := []string{"busybox", "sh", "-c", fmt.Sprintf("echo >/tmp/index.html; busybox dd if=/dev/zero of=/tmp/data bs=%d count=1; exec busybox httpd -f -p 80 -h /tmp", size)}
		e.start(append([]string{"--name", "slow", "--network", "n", "--network-rate", "in=8mbit,out=16mbit"}, serve...)...)
		e.start(append([]string{"--name", "fast", "--network", "n"}, serve...)...)
		for _, test := range []struct {
			by, from string
			rate     int
		}{{"slow", "fast", 8e6}, {"fast", "slow", 16e6}} {
			e.must("exec", test.by, "sh", "-c", "until busybox wget -qO /dev/null http://"+test.from+"/; do busybox usleep 20000; done")
			begin := time.Now()
			e.must("exec", test.by, "busybox", "wget", "-qO", "/dev/null", "http://"+test.from+"/data")
			took, least := time.Since(begin), time.Duration(size*8)*time.Second/time.Duration(test.rate)
			t.Logf("%s from %s: %v; at the rate it takes %v", test.by, test.from, took, least)
			if took < least*7/10 || took > 10*least {
				t.Errorf("%s from %s took %v; at the rate it takes %v", test.by, test.from, took, least)
			}
		}
		var in, out float64
		if text := e.must("stats", "--no-stream", "--format", "{{.NetIO}}", "slow"); true {
			if _, err := fmt.Sscanf(text, "%fMB / %fMB", &in, &out); err != nil || in < 1 || out < 1 || in > 2 || out > 2 {
				t.Errorf("stats counts %q of %d bytes each way", text, size)
			}
		}
		e.must("rm", "-f", "slow", "fast")
	})
}
