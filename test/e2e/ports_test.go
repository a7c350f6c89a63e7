package e2e_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// awaits waits until a web server has started.
func (o outsider) awaits(address string) {
	for try := 0; o.reads(address) == "" && try < 50; try++ {
		time.Sleep(50 * time.Millisecond)
	}
}

// A published port is reached from everywhere, and one that somebody has already is not given away.
func TestPublishedPorts(t *testing.T) {
	e, outside := behindWire(t)
	e.hostRuns("", "sysctl", "-w", "net.bridge.bridge-nf-call-ip6tables=0") // else [::1] is refused
	host := outsider{t, e.host}
	web := func(args ...string) []string {
		return append(append([]string{"--network", "n"}, args...), "busybox", "sh", "-c", "mkdir /w; hostname > /w/index.html; exec httpd -f -h /w")
	}
	e.must("network", "create", "--ipv6", "n")
	c := e.start(web("--hostname", "here", "-p", "8080:80", "-p", "127.0.0.1:8081:80")...)
	outside.awaits("192.0.2.1:8080")
	outside.expect("published", "here", "192.0.2.1:8080", "[2001:db8::1]:8080")
	outside.expect("published for the host alone", "", "192.0.2.1:8081", "[2001:db8::1]:8081")
	host.expect("the host's own", "here", "127.0.0.1:8080", "[::1]:8080", "192.0.2.1:8080", "[2001:db8::1]:8080", "127.0.0.1:8081")
	host.expect("the host's other", "", "[::1]:8081", "192.0.2.1:8081")
	get := []string{"sh", "-c", "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 192.0.2.1 8080 | tail -n 1"}
	expect(t, "a neighbour", strings.TrimSpace(e.must(append([]string{"run", "--rm", "--network", "n", "busybox"}, get...)...)), "here")
	expect(t, "itself", strings.TrimSpace(e.must(append([]string{"exec", c}, get...)...)), "here")

	var l net.Listener
	e.host.Do(func() {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:9000"); err != nil {
			t.Fatal(err)
		}
	})
	defer l.Close()
	name := strings.TrimPrefix(e.inspect(c, "{{.Name}}"), "/")
	for ports, want := range map[string]string{
		"9000:80": fmt.Sprintf("(process %d)", os.Getpid()), "8080:80": "by container " + name, "127.0.0.1:8080:80": "by container " + name,
		"192.0.2.99:8082:80": "192.0.2.99 is not an address of the host",
	} {
		if r := e.run("run", "--rm", "--network", "n", "-p", ports, "busybox", "true"); r.code != 125 || !strings.Contains(r.stderr, want) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("-p %s: %v", ports, r)
		}
	}
	// What the host has on another address is in nobody's way.
	e.must("run", "--rm", "--network", "n", "-p", "192.0.2.1:9000:80", "busybox", "true")

	e.hostRuns("", "nft", "flush", "ruleset")
	e.must("run", "--rm", "--network", "n", "busybox", "true")
	outside.expect("after the next start", "here", "192.0.2.1:8080", "[2001:db8::1]:8080")

	// A thousand ports, a range of them.
	many := e.start(web("--hostname", "many", "-p", "20000-20999:1000-1999", "-p", "30000:80")...)
	outside.awaits("192.0.2.1:30000")
	outside.expect("one of many", "many", "192.0.2.1:30000", "[2001:db8::1]:30000")
	e.must("rm", "-f", c, many)
	outside.expect("ended", "", "192.0.2.1:8080", "192.0.2.1:30000")
	e.must("network", "rm", "n")
	expect(t, "rules left", e.hostRuns("", "nft", "list", "ruleset"), "")
}
