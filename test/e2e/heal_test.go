package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"loper.run/container/monitor"
	"loper.run/test/env"
)

// healer is the monitor that looks after the host's rules, and others are those that wait for its end.
func (e *engine) healer() (pid int, others []int) {
	e.t.Helper()
	eventually(e.t, "one monitor looks after the rules", func() bool {
		pid, others = 0, nil
		for id := range strings.FieldsSeq(e.must("ps", "-q", "--no-trunc")) {
			state, err := monitor.ReadState(filepath.Join(e.runroot, id))
			if err != nil {
				return false
			}
			var places int
			fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", state.Monitor))
			for _, fd := range fds {
				if to, _ := os.Readlink(fd); strings.HasSuffix(to, "/firewall.queue") {
					places++
				}
			}
			switch places {
			case 0:
				return false // not yet
			case 1:
				others = append(others, state.Monitor)
			case 2:
				pid = state.Monitor
			}
		}
		return pid != 0
	})
	time.Sleep(700 * time.Millisecond) // until it has looked, and rests
	return pid, others
}

// healed are the lines in all containers' logs that tell of something put back.
func (e *engine) healed() (lines []string) {
	e.t.Helper()
	for id := range strings.FieldsSeq(e.must("ps", "-aq")) {
		r := e.run("logs", id)
		for line := range strings.Lines(r.stdout + r.stderr) {
			if strings.HasPrefix(line, "loper: ") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// sleeps is how often a process has gone to sleep.
func sleeps(t testing.TB, pid int) (n int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(lineWith(string(text), "voluntary_ctxt_switches:"), "voluntary_ctxt_switches:")))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// byItself waits for what nobody's command brings about, and says how long it took.
func byItself(t testing.TB, what string, ok func() bool) {
	t.Helper()
	begin := time.Now()
	eventually(t, what, ok)
	t.Logf("%s: %v", what, time.Since(begin).Round(time.Millisecond))
}

func (e *engine) tables() string { return e.hostRuns("", "nft", "-s", "list", "ruleset") }

// What was flushed comes back by itself.
func TestHeals(t *testing.T) {
	e, o := behindWire(t)
	e.must("network", "create", "--ipv6", "n")
	c := e.start("--network", "n", "-p", "8080:7", "busybox", "sh", "-c", "echo here > /tmp/index.html && exec httpd -f -p 7 -h /tmp")
	const web4, web6 = "192.0.2.1:8080", "[2001:db8::1]:8080"
	o.awaits(web4)
	pid, _ := e.healer()
	threads, memory := tasks(pid), e.privateMemory(c)
	e.hostRuns("", "nft", "flush", "ruleset")
	byItself(t, "a flush", func() bool { return o.reads(web4) == "here" })
	o.expect("after a flush", "here", web6)
	lines := e.healed()
	if len(lines) != 1 || !strings.Contains(lines[0], "put back for 1 running containers") {
		t.Errorf("the log: %q", lines)
	}
	time.Sleep(1500 * time.Millisecond)
	if now := tasks(pid); now > threads+1 { // Go starts one more now and then
		t.Errorf("%d threads, %d before", now, threads)
	}
	if now := e.privateMemory(c); now > memory+200 {
		t.Errorf("%d kB of memory, %d before", now, memory)
	}
	t.Logf("%d kB of memory, %d before; %d threads, %d before", e.privateMemory(c), memory, tasks(pid), threads)
	e.must("rm", "-f", c)
	e.must("network", "rm", "n")
	expect(t, "rules left", e.tables(), "")
}

// tasks is how many threads a process has.
func tasks(pid int) int {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	return len(list)
}

// A firewall that makes its tables anew is asked anew to let containers through.
func TestHealsForward(t *testing.T) {
	e, o := behindWire(t)
	const firewall = `table inet firewalld
delete table inet firewalld
table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority 10; policy drop;
		ct state established,related accept
		reject with icmpx admin-prohibited
	}
}
`
	e.hostRuns(firewall, "nft", "-f", "-")
	o.Do(func() {
		l, err := net.Listen("tcp", "192.0.2.2:9")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				c.Close()
			}
		}()
	})
	e.must("network", "create", "n")
	c := e.start("--network", "n", "busybox", "sleep", "1000")
	out := func() bool {
		return e.run("exec", c, "sh", "-c", "nc -w 1 192.0.2.2 9 < /dev/null").code == 0
	}
	if !out() {
		t.Fatal("no way out at first")
	}
	e.healer()
	e.hostRuns(firewall, "nft", "-f", "-")
	if strings.Contains(e.tables(), "accept comment \"loper") {
		t.Fatal("the rules are there still")
	}
	byItself(t, "the way out", out)
	if lines := e.healed(); len(lines) != 1 || !strings.Contains(lines[0], "the host's firewall was changed") {
		t.Errorf("the log: %q", lines)
	}
	// One that comes later.
	time.Sleep(6 * time.Second)
	e.hostRuns("flush ruleset", "nft", "-f", "-")
	e.hostRuns("", "iptables-nft", "-P", "FORWARD", "DROP")
	byItself(t, "the way out with another firewall", out)
}

// Of many monitors one puts back. The others don't wake, and one of them follows when it is killed.
func TestHealsOnce(t *testing.T) {
	e, _ := behindWire(t)
	e.must("network", "create", "n")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { e.must("run", "-d", "--network", "n", "busybox", "sleep", "1000") })
	}
	all.Wait()
	pid, others := e.healer()
	if len(others) != 19 {
		t.Fatalf("%d others", len(others))
	}
	time.Sleep(3 * time.Second) // until all of them rest
	whole := e.tables()
	before := map[int]int{}
	for _, other := range others {
		before[other] = sleeps(t, other)
	}
	begin := sleeps(t, pid)
	e.must("run", "--rm", "--network", "n", "busybox", "true")
	if now := sleeps(t, pid); now != begin {
		t.Errorf("the start of a container woke the healer %d times", now-begin)
	}
	e.hostRuns("", "nft", "flush", "ruleset")
	byItself(t, "a flush", func() bool { return e.tables() == whole })
	for i := range 300 {
		if i == 0 {
			e.hostRuns("table ip banned { set hosts { type ipv4_addr; }; }", "nft", "-f", "-")
			time.Sleep(4 * time.Second)
			begin = sleeps(t, pid)
		}
		e.hostRuns("", "nft", "add", "element", "ip", "banned", "hosts", fmt.Sprintf("{ 10.0.%d.%d }", i/100, i%100))
	}
	if now := sleeps(t, pid); now > begin+3 {
		t.Errorf("elements of sets woke the healer %d times", now-begin)
	}
	e.hostRuns("", "nft", "delete", "table", "ip", "banned")
	woken := 0
	for _, other := range others {
		woken += sleeps(t, other) - before[other]
	}
	if woken > 5 {
		t.Errorf("the others woke %d times", woken)
	}
	if lines := e.healed(); len(lines) != 1 || !strings.Contains(lines[0], "for 20 running containers") {
		t.Errorf("the logs: %q", lines)
	}

	kill9(pid)
	eventually(t, "its container has ended", func() bool { return strings.Count(e.must("ps", "-q"), "\n") == 18 })
	next, _ := e.healer()
	if next == pid {
		t.Fatal("nobody follows")
	}
	e.must("ps") // takes down what is left of it
	e.hostRuns("", "nft", "flush", "ruleset")
	byItself(t, "a flush after a kill", func() bool { return strings.Contains(e.tables(), "chain forward") })
	if lines := e.healed(); len(lines) != 2 || !strings.Contains(strings.Join(lines, "\n"), "for 19 running containers") {
		t.Errorf("the logs: %q", lines)
	}
}

// Who deletes the rules again and again is answered ever more seldom, and nothing else of the monitor suffers.
func TestHealsSeldom(t *testing.T) {
	e, _ := behindWire(t)
	e.must("network", "create", "n")
	c := e.start("--name", "here", "--network", "n", "busybox", "sleep", "1000")
	e.healer()
	whole := e.tables()
	stop := time.Now().Add(11 * time.Second)
	for time.Now().Before(stop) {
		e.hostRuns("", "nft", "flush", "ruleset")
		if r := e.run("exec", c, "nslookup", "here"); r.code != 0 {
			t.Errorf("no names: %v", r)
		}
		time.Sleep(100 * time.Millisecond)
	}
	lines := e.healed()
	t.Logf("%q", lines)
	if n := len(lines); n < 3 || n > 5 {
		t.Errorf("put back %d times", n)
	}
	byItself(t, "the end of it", func() bool { return e.tables() == whole })
	e.hostRuns("", "nft", "flush", "ruleset")
	begin := time.Now()
	e.must("rm", "-f", c)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	time.Sleep(time.Second)
	expect(t, "rules after the last container", e.tables(), "")
}

// An ordinary user's rules come back too.
func TestUserHeals(t *testing.T) {
	e := asUser(t, true).busybox()
	e.must("network", "create", "--internal", "n")
	e.start("--network", "n", "busybox", "sleep", "1000")
	pid, _ := e.healer()
	inside, err := userNamespaceOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	e.host = inside // where rules are looked at from here on
	whole := e.tables()
	if !strings.Contains(whole, "chain forward") {
		t.Fatalf("rules: %s", whole)
	}
	e.hostRuns("", "nft", "flush", "ruleset")
	byItself(t, "a flush", func() bool { return e.tables() == whole })
	e.host = nil
	if lines := e.healed(); len(lines) != 1 {
		t.Errorf("the log: %q", lines)
	}
}

// userNamespaceOf is the network namespace that a monitor holds.
func userNamespaceOf(pid int) (*env.Netns, error) {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.HasPrefix(to, "net:[") {
			f, err := os.Open(fd)
			return env.NetnsOf(f), err
		}
	}
	return nil, errors.New("the monitor holds no network namespace")
}
