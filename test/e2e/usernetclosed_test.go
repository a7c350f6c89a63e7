package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loper.run/test/env"
)

// networks is the namespace that the networks of an ordinary user's container are in: its monitor has it open.
func (e *engine) networks(container string) *env.Netns {
	e.t.Helper()
	pid := e.inspect(container, "{{.State.Pid}}")
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		e.t.Fatal(err)
	}
	monitor := "/proc/" + strings.TrimSpace(strings.TrimPrefix(lineWith(string(status), "PPid:"), "PPid:"))
	inside, _ := os.Readlink("/proc/" + pid + "/ns/net")
	outside, _ := os.Readlink(monitor + "/ns/net")
	fds, _ := filepath.Glob(monitor + "/fd/*")
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(to, "net:[") || to == inside || to == outside {
			continue
		}
		f, err := os.Open(fd)
		if err != nil {
			e.t.Fatal(err)
		}
		e.t.Cleanup(func() { f.Close() })
		return env.NetnsOf(f)
	}
	e.t.Fatalf("the monitor of %s has no other network namespace", container)
	return nil
}

// An ordinary user's containers stay closed, too, when all rules of the user's namespace are flushed.
func TestUserNetworkFlushed(t *testing.T) {
	env.Need(t, "nft", "tc")
	e, _ := abroad(t, true)
	e.must("network", "create", "one")
	e.must("network", "create", "two")
	e.must("network", "create", "--internal", "closed")
	e.start("--name", "server", "--network", "one", "busybox", "sh", "-c", "echo page >/tmp/page; exec busybox httpd -f -p 80 -h /tmp")
	e.start("--name", "other", "--network", "two", "busybox", "sleep", "600")
	e.start("--name", "inner", "--network", "closed", "busybox", "sleep", "600")
	addressOf := func(container string) string {
		return e.inspect(container, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
	}
	server := addressOf("server")
	ns := e.networks("server")
	bridges := map[string]string{}
	for _, name := range []string{"one", "two"} {
		bridges[name] = "lbr-" + e.must("network", "inspect", "-f", "{{slice .Id 0 8}}", name)
	}
	runs := func(args ...string) {
		t.Helper()
		ns.Do(func() { output(t, args...) })
	}
	reads := func(from, url string) string {
		return strings.TrimSpace(e.run("exec", from, "busybox", "timeout", "1", "busybox", "wget", "-qO-", url).stdout)
	}
	dials := func() bool {
		ok := false
		ns.Do(func() {
			c, err := net.DialTimeout("tcp", server+":80", 300*time.Millisecond)
			if ok = err == nil; ok {
				c.Close()
			}
		})
		return ok
	}
	usual := func(what string) {
		t.Helper()
		eventually(t, what+": the host reaches the server", dials)
		expect(t, what+": the world", reads("server", "http://"+world), "you are 198.51.100.2")
		expect(t, what+": another network", reads("other", "http://"+server+"/page"), "")
		expect(t, what+": the world, from an internal network", reads("inner", "http://"+world), "")
	}
	usual("at first")
	// The monitors would put the rules back in half a second.
	one, others := e.healer()
	for _, monitor := range append(others, one) {
		syscall.Kill(monitor, syscall.SIGSTOP)
		defer syscall.Kill(monitor, syscall.SIGCONT)
	}
	runs("nft", "flush", "ruleset")
	if dials() {
		t.Error("the host reaches the server without rules")
	}
	for _, from := range []string{"other", "inner"} {
		expect(t, "flushed: from "+from, reads(from, "http://"+server+"/page"), "")
	}
	expect(t, "flushed: the world", reads("server", "http://"+world), "")
	e.must("network", "reload")
	usual("reloaded")

	// The test is able to fail: it is the bridges' seals that hold.
	for _, bridge := range []string{"one", "two"} {
		runs("tc", "qdisc", "del", "dev", bridges[bridge], "clsact")
	}
	runs("nft", "flush", "ruleset")
	expect(t, "without seals", reads("other", "http://"+server+"/page"), "page")
	e.must("network", "reload")
	usual("sealed again")
	runs("nft", "flush", "ruleset")
	expect(t, "sealed again, and flushed", reads("other", "http://"+server+"/page"), "")
	for _, monitor := range append(others, one) {
		syscall.Kill(monitor, syscall.SIGCONT)
	}
	usual("healed")

	e.must("rm", "-f", "server", "other", "inner")
	e.gone()
	e.must("network", "rm", "one", "two", "closed")
}
