package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// freePort is a port of the host that nobody has at this moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// byName fetches a page of a container. Of a static busybox only nslookup asks a resolver.
const byName = `a=$(nslookup -type=a "$1" | sed -n 's/^Address: //p' | tail -n 1); test "$a" && exec wget -q -O- "http://$a/"`

const serve = "mkdir -p /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www"

// Containers on networks have addresses, names and published ports, and all
// commands say so.
func TestContainersOnNetworks(t *testing.T) {
	e := asRoot(t).busybox()
	e.must("network", "create", "--subnet", "10.213.20.0/24", "--subnet", "fd00:2132:20::/64", "front")
	e.must("network", "create", "--subnet", "10.213.21.0/24", "--internal", "back")
	port := freePort(t)
	e.start("--name", "web", "--hostname", "shop", "--network", "front:ip=10.213.20.20,alias=site,mac=02:00:00:00:20:20,interface_name=lan0", "--network", "name=back,alias=inner",
		"-p", "127.0.0.1:"+port+":80", "--expose", "90-91/udp", "--add-host", "box:host-gateway", "--dns-search", "example.org", "busybox", "sh", "-c", serve)
	eventually(t, "the server answers by its published port", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	expect(t, "addresses", e.must("exec", "web", "sh", "-c", "ip -4 -o addr show scope global | awk '{print $2, $4}'; cat /sys/class/net/lan0/address"), "lan0 10.213.20.20/24\neth0 10.213.21.2/24\n02:00:00:00:20:20")
	hosts := e.must("exec", "web", "cat", "/etc/hosts")
	for _, want := range []string{"10.213.20.20\tshop", "10.213.21.2\tshop", "10.213.20.1\tbox"} {
		if !strings.Contains(hosts, want+"\n") {
			t.Errorf("no %q in /etc/hosts: %s", want, hosts)
		}
	}
	expect(t, "/etc/resolv.conf", e.must("exec", "web", "sh", "-c", "grep -v options /etc/resolv.conf"), "nameserver 127.0.0.11\nsearch example.org")
	expect(t, "accept_ra", e.must("exec", "web", "cat", "/proc/sys/net/ipv6/conf/lan0/accept_ra", "/proc/sys/net/ipv6/conf/default/accept_ra"), "0\n0")
	for name, network := range map[string]string{"web": "front", "site": "front", "shop": "front", "inner": "back"} {
		expect(t, name+" from "+network, e.must("run", "--rm", "--network", network, "busybox", "sh", "-c", byName, "sh", name), "shop")
	}
	expect(t, "ps", e.must("ps", "--format", "{{.Ports}} {{.Networks}}"), "90-91/udp, 127.0.0.1:"+port+"->80/tcp front,back")
	expect(t, "port", e.must("port", "web"), "80/tcp -> 127.0.0.1:"+port)
	expect(t, "one port", e.must("port", "web", "80"), "127.0.0.1:"+port)
	e.mustFail(1, []string{"no public port '81/tcp' published for web"}, "port", "web", "81")
	expect(t, "inspect", e.inspect("web", "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{$e.IPAddress}}/{{$e.IPPrefixLen}} {{$e.Gateway}} {{$e.Aliases}} {{$e.DNSNames}};{{end}}{{.HostConfig.NetworkMode}} {{.NetworkSettings.Ports}} {{.HostConfig.PortBindings}}"),
		fmt.Sprintf("back 10.213.21.2/24 10.213.21.1 [inner] [%s inner shop web];front 10.213.20.20/24 10.213.20.1 [site] [%[1]s shop site web];front map[80/tcp:[{127.0.0.1 %s}] 90/udp:[] 91/udp:[]] map[80/tcp:[{127.0.0.1 %[2]s}]]", e.inspect("web", "{{.Id}}")[:12], port))
	for filter, want := range map[string]string{"network=front": "web", "network=nope": "", "publish=" + port: "web", "publish=1": "", "expose=90/udp": "web", "expose=90": "", "expose=1-90/udp": "web"} {
		expect(t, "ps --filter "+filter, e.must("ps", "--filter", filter, "--format", "{{.Names}}"), want)
	}
	if stats := e.must("stats", "--no-stream", "--format", "{{.NetIO}}"); strings.HasPrefix(stats, "0B / ") {
		t.Errorf("stats: %s", stats)
	}
	e.must("run", "--rm", "--network", "front", "--link", "web:db", "busybox", "sh", "-c", "grep -q '10.213.20.20.*db .* web' /etc/hosts")

	// Again, and with what is asked for where nobody says which port.
	e.must("restart", "-t", "0", "web")
	if got := e.inspect("web", "{{.NetworkSettings.Networks.front.IPAddress}} {{.NetworkSettings.Networks.back.IPAddress}}"); !strings.HasPrefix(got, "10.213.20.20 10.213.21.") {
		t.Errorf("addresses after a restart: %s", got)
	}
	e.start("--name", "all", "--expose", "80", "--expose", "81", "-P", "--network", "front", "busybox", "sleep", "1000")
	if lines := strings.Split(e.must("port", "all"), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "80/tcp -> 0.0.0.0:") || !strings.HasPrefix(lines[3], "81/tcp -> [::]:") {
		t.Errorf("--publish-all: %q", lines)
	}
	e.must("stop", "-t", "0", "web")
	expect(t, "ports of one that stopped", e.must("port", "web"), "")
	expect(t, "inspect of one that stopped", e.inspect("web", "{{.NetworkSettings.Networks.front.IPAddress}} {{.NetworkSettings.Networks.front.Aliases}}"), " [site]")
}

// A container is connected and disconnected while it runs and while it doesn't,
// and keeps what it was given.
func TestConnectAndDisconnect(t *testing.T) {
	e := asRoot(t).busybox()
	for i, name := range []string{"one", "two"} {
		e.must("network", "create", "--subnet", fmt.Sprintf("10.213.%d.0/24", 30+i), name)
	}
	e.start("--name", "peer", "--network", "two", "busybox", "sh", "-c", serve)
	e.start("--name", "c", "--network", "one", "busybox", "sleep", "1000")
	get := []string{"exec", "c", "sh", "-c", byName, "sh", "peer"}
	if r := e.run(get...); r.code == 0 {
		t.Errorf("before it is connected: %v", r)
	}
	e.must("network", "connect", "--alias", "late", "--ip", "10.213.31.77", "two", "c")
	e.must(get...)
	if out := e.must("exec", "peer", "nslookup", "-type=a", "late"); !strings.Contains(out, "10.213.31.77") {
		t.Errorf("its alias: %s", out)
	}
	expect(t, "hosts", e.must("exec", "c", "grep", "-c", "10.213.31.77", "/etc/hosts"), "1")
	expect(t, "ps", e.must("ps", "--filter", "name=^c$", "--format", "{{.Networks}}"), "one,two")
	e.mustFail(1, []string{"endpoint with name c already exists in network two"}, "network", "connect", "two", "c")
	e.must("restart", "-t", "0", "c")
	e.must(get...)
	expect(t, "its address after a restart", e.inspect("c", "{{.NetworkSettings.Networks.two.IPAddress}}"), "10.213.31.77")
	e.must("network", "disconnect", "two", "c")
	if r := e.run(get...); r.code == 0 {
		t.Errorf("after it is disconnected: %v", r)
	}
	expect(t, "interfaces", e.must("exec", "c", "ls", "/sys/class/net"), "eth0\nlo")
	if r := e.run("exec", "c", "grep", "10.213.31.77", "/etc/hosts"); r.code != 1 {
		t.Errorf("hosts: %v", r)
	}
	e.mustFail(1, []string{"is not connected to network two"}, "network", "disconnect", "two", "c")
	e.must("network", "disconnect", "one", "c")
	expect(t, "interfaces on no network", e.must("exec", "c", "ls", "/sys/class/net"), "lo")
	e.must("restart", "-t", "0", "c")
	e.must("network", "connect", "two", "c")
	e.must(get...)
	e.must("network", "disconnect", "two", "c")
	e.must("stop", "-t", "0", "c")
	e.must("network", "connect", "two", "c")
	expect(t, "stopped", e.inspect("c", "{{.NetworkSettings.Networks}}{{.NetworkSettings.Networks.two.IPAddress}}")[:7], "map[two")
	e.must("start", "c")
	e.must(get...)

	e.start("--name", "alone", "--network", "none", "busybox", "sleep", "1000")
	for _, bad := range []struct {
		words []string
		args  []string
	}{
		{[]string{"private (none) mode"}, []string{"connect", "one", "alone"}},
		{[]string{"network nope not found"}, []string{"connect", "nope", "c"}},
		{[]string{"No such container: nope"}, []string{"connect", "one", "nope"}},
		{[]string{"host"}, []string{"connect", "host", "c"}},
		{[]string{"invalid IPv4 address"}, []string{"connect", "--ip", "x", "one", "c"}},
		{[]string{"10.213.31.1 is the gateway"}, []string{"connect", "--ip", "10.213.31.1", "two", "peer2"}},
		{[]string{"unknown driver option"}, []string{"connect", "--driver-opt", "a=b", "one", "c"}},
		{[]string{"is not connected to network one"}, []string{"disconnect", "one", "peer"}},
		{[]string{"No such container: nope"}, []string{"disconnect", "one", "nope"}},
		{[]string{"not connected to network one"}, []string{"disconnect", "-f", "one", "c"}},
	} {
		if bad.args[len(bad.args)-1] == "peer2" {
			e.start("--name", "peer2", "--network", "one", "busybox", "sleep", "1000")
		}
		code := 1
		if strings.HasPrefix(bad.args[1], "--") && bad.words[0] != "10.213.31.1 is the gateway" {
			code = 125 // a mistake in a flag
		}
		e.mustFail(code, bad.words, append([]string{"network"}, bad.args...)...)
	}
}

// Whoever is killed, the next command leaves nothing of what the container had.
func TestKillOnNetworks(t *testing.T) {
	e := asRoot(t).busybox()
	e.must("network", "create", "blue")
	e.must("network", "create", "red")
	port := freePort(t)
	e.must("run", "--rm", "--network", "blue", "--network", "red", "-p", port+":80", "busybox", "true")
	host := e.picture(filepath.Join(e.root, "container"), e.runroot)
	check := func(what string) {
		t.Helper()
		if diff := host.Settle(settle); len(diff) > 0 {
			t.Fatalf("%s left behind:\n%s", what, strings.Join(diff, "\n"))
		}
	}
	run := []string{"run", "-d", "--name", "c", "--network", "blue:alias=x", "-p", port + ":80", "busybox", "sleep", "1000"}
	for _, next := range [][]string{{"ps", "-a"}, {"start", "c"}, {"network", "connect", "red", "c"}, {"inspect", "c"}} {
		id := e.must(run...)
		for _, m := range e.monitors(id) {
			kill9(m)
		}
		eventually(t, "its container is gone", func() bool { return e.inspect("c", "{{.State.Status}}") == "exited" })
		e.must(next...)
		if next[0] != "start" {
			e.must("run", "--rm", "--network", "blue", "-p", port+":80", "busybox", "true")
		}
		e.must("rm", "-f", "c")
		check("kill of the monitor, then " + next[0])
	}
	stages := 20
	if testing.Short() {
		stages = 5
	}
	for _, args := range [][]string{{"network", "connect", "red", "c"}, {"network", "disconnect", "blue", "c"}} {
		for i := range stages {
			e.must(run...)
			cmd := e.command(args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(i) * 40 * time.Millisecond / time.Duration(stages))
			cmd.Process.Kill()
			cmd.Wait()
			// Whether it took place or not, it can be done, and undone.
			for _, name := range []string{"red", "blue"} {
				e.run("network", "connect", name, "c")
				e.must("network", "disconnect", name, "c")
			}
			e.must("network", "connect", "red", "c")
			e.must("exec", "c", "ip", "link", "show", "dev", "eth0")
			e.must("rm", "-f", "c")
			if t.Failed() {
				t.Fatalf("stage %d of %v", i, args)
			}
		}
		check("kill of " + strings.Join(args[:2], " "))
	}
}

func TestWrongNetworks(t *testing.T) {
	e := asRoot(t).busybox()
	e.must("network", "create", "--subnet", "10.213.40.0/24", "n")
	taken, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, busy, _ := net.SplitHostPort(taken.Addr().String())
	e.must("run", "--rm", "--network", "n", "-p", "127.0.0.1::80", "busybox", "true")
	host := e.picture(filepath.Join(e.runroot, "network"))
	e.start("--name", "c", "busybox", "sleep", "1000")
	for _, bad := range []struct {
		words []string
		args  []string
	}{
		{[]string{"network nope not found"}, []string{"--network", "nope"}},
		{[]string{"invalid network"}, []string{"--network", "../n"}},
		{[]string{"conflicting options"}, []string{"--network", "none", "--network", "n"}},
		{[]string{`network "n" is specified multiple times`}, []string{"--network", "n", "--network", "n"}},
		{[]string{"port publishing and the container type network mode"}, []string{"--network", "container:c", "-p", "80:80"}},
		{[]string{"hostname and the container type network mode"}, []string{"--network", "container:c", "--hostname", "x"}},
		{[]string{"user specified IP address is supported on user defined networks only"}, []string{"--ip", "10.89.0.9"}},
		{[]string{"aliases are only supported for user-defined networks"}, []string{"--network-alias", "x"}},
		{[]string{"--ip", "several networks"}, []string{"--network", "n", "--network", "bridge", "--ip", "10.213.40.9"}},
		{[]string{"cannot specify both --ip and per-network IPv4 address"}, []string{"--network", "n:ip=10.213.40.8", "--ip", "10.213.40.9"}},
		{[]string{"10.213.41.9 is not in the subnet"}, []string{"--network", "n", "--ip", "10.213.41.9"}},
		{[]string{"invalid IPv6 address"}, []string{"--network", "n", "--ip6", "10.213.41.9"}},
		{[]string{"MAC address"}, []string{"--mac-address", "ff:ff:ff:ff:ff:ff"}},
		{[]string{"invalid proto"}, []string{"-p", "80:80/icmp"}},
		{[]string{"invalid hostPort"}, []string{"-p", "65536:80"}},
		{[]string{"invalid ranges"}, []string{"-p", "8000-8001:80-82"}},
		{[]string{"invalid IP address"}, []string{"-p", "localhost:80:80"}},
		{[]string{busy, "e2e.test"}, []string{"-p", busy + ":80"}},
		{[]string{"invalid name server"}, []string{"--dns", "x"}},
		{[]string{"invalid host"}, []string{"--add-host", "x"}},
		{[]string{"bad format for links"}, []string{"--link", "a:b:c"}},
		{[]string{"no such container"}, []string{"--link", "nope"}},
		{[]string{"does not belong to the network n"}, []string{"--network", "n", "--link", "c"}},
		{[]string{"gateway"}, []string{"--network", "none", "--add-host", "x:host-gateway"}},
		{[]string{"rate"}, []string{"--network-rate", "in=fast"}},
		{[]string{"invalid range format for --expose"}, []string{"--expose", "x"}},
	} {
		words := bad.words
		if filepath.Base(os.Args[0]) != "e2e.test" && words[0] == busy {
			words = words[:1]
		}
		e.mustFail(125, words, append(append([]string{"run", "--rm"}, bad.args...), "busybox", "true")...)
	}
	e.must("rm", "-f", "c")
	if diff := host.Settle(settle); len(diff) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(diff, "\n"))
	}
}

// A container that others share the network of, and the old way of --net.
func TestSharedNetwork(t *testing.T) {
	e := asRoot(t).busybox()
	e.start("--name", "first", "--hostname", "lead", "busybox", "sh", "-c", serve)
	eventually(t, "what shares its network reaches it on localhost", func() bool {
		return e.run("run", "--rm", "--net", "container:first", "busybox", "wget", "-q", "-O-", "http://127.0.0.1/").stdout == "lead\n"
	})
	expect(t, "hosts", e.must("run", "--rm", "--network", "container:first", "busybox", "cat", "/etc/hosts"), e.must("exec", "first", "cat", "/etc/hosts"))
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip of Debian's iproute2: ", err)
	}
	name := "loper-e2e-test"
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("ip netns add: %s", out)
	}
	defer exec.Command("ip", "netns", "del", name).Run()
	expect(t, "ns:", e.must("run", "--rm", "--network", "ns:/run/netns/"+name, "busybox", "sh", "-c", "ip -o link | cut -d' ' -f2"), "lo:")
}
