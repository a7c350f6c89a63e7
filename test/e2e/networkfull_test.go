package e2e_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/test/env"
)

// tracked is how many connections the namespace of the calling thread follows, and how many it can.
func tracked(t testing.TB) (now, most int) {
	t.Helper()
	for name, n := range map[string]*int{"count": &now, "max": &most} {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_" + name)
		if err == nil {
			*n, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		if err != nil {
			t.Skip("this kernel does not tell: ", err)
		}
	}
	return now, most
}

// fill makes the kernel follow as many connections as it can in this namespace.
func fill(t testing.TB) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_, most := tracked(t)
	if most > 1<<20 {
		t.Skipf("%d connections would take too much memory", most)
	}
	for i := range most + most/8 {
		unix.Sendto(fd, nil, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, byte(1 + i>>16), byte(i >> 8), byte(i)}})
	}
	if now, most := tracked(t); now < most*9/10 {
		t.Skipf("only %d of %d connections are followed", now, most)
	}
}

// A kernel that can follow no more connections loses new ones; containers come and go all the same, and talk to their
// neighbours.
func TestFullConnectionTable(t *testing.T) {
	env.Need(t, "nft")
	e := asRoot(t).busybox()
	host := env.TestNetns(t)
	host.Do(func() {
		e.must("network", "create", "net")
		server := []string{"--network", "net", "busybox", "sh", "-c", "while true; do echo hello | nc -l -p 80; done"}
		e.start(append([]string{"--name", "one", "-p", "8080:80"}, server...)...)
		reach := func(port string) bool {
			c, err := net.DialTimeout("tcp4", "127.0.0.1:"+port, 300*time.Millisecond)
			if err != nil {
				return false
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Second))
			var b [5]byte
			n, _ := c.Read(b[:])
			return string(b[:n]) == "hello"
		}
		eventually(t, "the port is published", func() bool { return reach("8080") })
		fill(t)
		begun := time.Now()
		e.start(append([]string{"--name", "two", "-p", "8081:80"}, server...)...)
		expect(t, "a neighbour by its name", e.must("run", "--rm", "--network", "net", "busybox", "sh", "-c", "nc -w 2 two 80 </dev/null"), "hello")
		e.must("rm", "-f", "one")
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
		output(t, "nft", "list", "ruleset") // the kernel still answers
		eventually(t, "what is full becomes empty", func() bool {
			if reach("8081") {
				return true
			}
			time.Sleep(time.Second)
			return false
		})
		e.must("rm", "-f", "two")
		e.must("network", "rm", "net")
	})
}

// What the kernel lacks is named.
func TestMissingModules(t *testing.T) {
	env.Need(t, "ip")
	e := asRoot(t).busybox()
	host := env.TestNetns(t)
	if err := host.IP("link", "add", "up0", "type", "veth", "peer", "name", "up1"); err != nil {
		t.Fatal(err)
	}
	host.Do(func() {
		for module, args := range map[string][]string{"ipvlan": {"-d", "ipvlan", "-o", "parent=up0"}, "8021q": {"-d", "macvlan", "-o", "parent=up0.10"}} {
			kind := strings.Replace(module, "8021q", "vlan", 1)
			if host.IP("link", "add", "link", "up0", "name", "probe", "type", kind, "id", "7") == nil || host.IP("link", "add", "link", "up0", "name", "probe", "type", kind) == nil {
				t.Logf("this kernel has %s", module)
				continue
			}
			e.must(append(append([]string{"network", "create"}, args...), "lacking")...)
			r := e.run("run", "--rm", "--network", "lacking", "busybox", "true")
			checkFailure(t, r, 125, []string{"modprobe " + module})
			e.must("network", "rm", "lacking")
		}
		if left := e.held(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}
