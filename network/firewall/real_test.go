package firewall

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"loper.run/test/env"
)

// realOne is a lab for a program that keeps its settings in /etc, where that
// belongs to the test.
func realOne(t *testing.T, programs ...string) (*lab, func()) {
	t.Helper()
	if os.Getenv("LOPER_TEST_VM") == "" {
		t.Skip("changes the machine's settings: runs in the virtual machine")
	}
	env.NeedRoot(t)
	env.Need(t, programs...)
	l, f, sb := published(t, nil)
	return l, func() {
		t.Helper()
		found := l.settle(f, sb)
		if found.By != programs[0] {
			t.Errorf("found %+v", found)
		}
		if _, err := f.Ensure(sb); err != nil {
			t.Error(err)
		}
	}
}

// The real ufw decides about published ports, also after its reload.
func TestRealUFW(t *testing.T) {
	l, settle := realOne(t, "ufw", "iptables")
	ufw := func(args ...string) { t.Helper(); l.run("", append([]string{"ufw"}, args...)...) }
	ufw("--force", "enable")
	settle()
	l.expect("ufw enable", all(silent))
	ufw("allow", "8080/tcp")
	l.expect("ufw allow", map[string]outcome{"tcp4": open, "tcp6": open, "udp4": silent, "udp6": silent})
	ufw("reload")
	l.expect("ufw reload", map[string]outcome{"tcp4": open, "tcp6": open, "udp4": silent})
}

// The real firewalld decides about published ports, and a reload leaves nothing
// open.
func TestRealFirewalld(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err != nil && os.Getenv("LOPER_TEST_VM") != "" {
		t.Skip("needs systemd")
	}
	l, settle := realOne(t, "firewalld", "firewall-cmd", "iptables")
	var daemon *exec.Cmd
	l.host.Do(func() {
		daemon = exec.Command("firewalld", "--nofork", "--nopid")
		l.ok(daemon.Start())
	})
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	l.until("firewalld runs", func() bool { return exec.Command("firewall-cmd", "--state").Run() == nil })
	command := func(args ...string) { t.Helper(); l.run("", append([]string{"firewall-cmd"}, args...)...) }
	settle()
	l.expect("firewalld", all(asHost))
	command("--add-port=8080/tcp")
	l.expect("--add-port", map[string]outcome{"tcp4": open, "tcp6": open, "udp4": rejected, "udp6": rejected})
	command("--reload")
	l.expect("--reload", all(asHost))
	if got, _, _ := l.outcome(l.client, "tcp", inside4+":80"); got == open {
		t.Error("after a reload the container itself is open to the network")
	}
	settle()
	if !strings.Contains(l.run("", "nft", "list", "chain", "inet", "firewalld", "filter_FORWARD"), "loper0") {
		t.Error("what the container sends is not let through again")
	}
}
