package e2e_test

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"loper.run/test/env"
)

// killed runs a command and kills it some time after its beginning.
func (e *engine) killed(within time.Duration, args ...string) {
	e.t.Helper()
	cmd := e.command(args...)
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	time.Sleep(rand.N(within))
	cmd.Process.Kill()
	cmd.Wait()
}

// output is what a program of the host prints.
func output(t testing.TB, words ...string) string {
	t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v: %s", words, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Wherever connect, disconnect, a start or a monitor is killed, the next command puts things right, and in the end there is
// no interface, rule or address left.
func TestNetworkKilled(t *testing.T) {
	env.Need(t, "ip", "nft")
	e := asRoot(t).busybox()
	host := env.TestNetns(t)
	host.Do(func() {
		e.must("network", "create", "one")
		e.must("network", "create", "two")
		c := e.start("--name", "c", "--network", "one", "-p", "8080:80", "busybox", "sleep", "1000")
		for round := range 25 {
			e.killed(25*time.Millisecond, "network", "connect", "two", "c")
			r := e.run("network", "connect", "two", "c")
			if r.code != 0 && !strings.Contains(r.stderr, "already exists") {
				t.Fatalf("round %d: %v", round, r)
			}
			if in := e.must("exec", "c", "ls", "/sys/class/net"); len(strings.Fields(in)) != 3 {
				t.Fatalf("round %d: connected, it has %q", round, in)
			}
			e.killed(25*time.Millisecond, "network", "disconnect", "two", "c")
			r = e.run("network", "disconnect", "two", "c")
			if r.code != 0 && !strings.Contains(r.stderr, "is not connected") {
				t.Fatalf("round %d: %v", round, r)
			}
			if in := e.must("exec", "c", "ls", "/sys/class/net"); len(strings.Fields(in)) != 2 {
				t.Fatalf("round %d: disconnected, it has %q", round, in)
			}
		}
		for range 15 {
			e.killed(60*time.Millisecond, "run", "--rm", "--network", "one", "--network", "two", "-p", "8081:80", "busybox", "true")
		}
		for range 5 {
			for _, m := range e.monitors(c) {
				syscall.Kill(m, syscall.SIGKILL)
			}
			eventually(t, "it starts again", func() bool { return e.run("start", "c").code == 0 })
		}
		e.must(append([]string{"rm", "-f"}, strings.Fields(e.must("ps", "-aq"))...)...)
		if left := e.held(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		e.must("network", "prune", "-f")
		eventually(t, "no interface is left", func() bool { return len(strings.Split(output(t, "ip", "-br", "link"), "\n")) == 1 })
		if rules := output(t, "nft", "list", "ruleset"); rules != "" {
			t.Errorf("rules are left: %s", rules)
		}
	})
}
