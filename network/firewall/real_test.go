package firewall

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
	"loper.run/internal/netns"
	"loper.run/internal/nft"
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
	l.client.Do(func() { l.serve(client4 + ":7") })
	return l, func() {
		t.Helper()
		found := l.settle(f, sb)
		if found.By != programs[0] {
			t.Errorf("found %+v", found)
		}
		if _, err := f.Ensure(sb); err != nil {
			t.Error(err)
		}
		l.heal(f)
	}
}

// heal puts rules back whenever a change is heard, as a monitor does.
func (l *lab) heal(f *Firewall) {
	l.t.Helper()
	fds, err := netns.Open(f.Host, netns.Netlink(unix.NETLINK_NETFILTER))
	l.ok(err)
	l.ok(nft.Listen(fds[0]))
	end, over := make(chan bool), make(chan bool)
	l.t.Cleanup(func() {
		close(end)
		<-over
		unix.Close(fds[0])
	})
	go func() {
		defer close(over)
		for {
			select {
			case <-end:
				return
			case <-time.After(wait):
			}
			if !nft.Heard(fds[0]) {
				continue
			}
			if _, err := f.Heal(func() bool { return false }); err != nil && !errors.Is(err, flock.ErrHeld) {
				l.t.Error(err)
			}
		}
	}()
}

// out waits until the container reaches others again.
func (l *lab) out(after string) {
	l.t.Helper()
	begin := time.Now()
	l.until("containers reach others after "+after, func() bool {
		_, _, err := l.dial(l.container, "tcp", client4+":7")
		return err == nil
	})
	l.t.Logf("a way out %v after %s", time.Since(begin), after)
}

// The real ufw decides about published ports, also after its reload.
func TestRealUFW(t *testing.T) {
	l, settle := realOne(t, "ufw", "iptables")
	ufw := func(args ...string) { t.Helper(); l.run("", append([]string{"ufw"}, args...)...) }
	ufw("--force", "enable")
	settle()
	l.out("enable")
	l.expect("ufw enable", all(silent))
	ufw("allow", "8080/tcp")
	l.expect("ufw allow", map[string]outcome{"tcp4": open, "tcp6": open, "udp4": silent, "udp6": silent})
	ufw("reload")
	l.expect("ufw reload", map[string]outcome{"tcp4": open, "tcp6": open, "udp4": silent})
	l.out("reload")
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
	runs := func() bool { return exec.Command("firewall-cmd", "--state").Run() == nil }
	l.until("firewalld runs", runs)
	forward := func() bool {
		return strings.Contains(l.run("", "nft", "list", "chain", "inet", "firewalld", "filter_FORWARD"), "loper0")
	}
	command := func(args ...string) { t.Helper(); l.run("", append([]string{"firewall-cmd"}, args...)...) }
	reload := func(how string) {
		t.Helper()
		// On an emulated machine the bus doesn't wait until firewalld has done it.
		if out, err := exec.Command("firewall-cmd", how).CombinedOutput(); err != nil && !strings.Contains(string(out), "Did not receive a reply") {
			t.Fatalf("%s: %s", how, out)
		}
		l.until("firewalld has done it", runs)
	}
	settle()
	l.out("the start")
	l.expect("firewalld", all(asHost))
	command("--add-port=8080/tcp")
	l.expect("--add-port", map[string]outcome{"tcp4": open, "tcp6": open, "udp4": rejected, "udp6": rejected})
	reload("--reload")
	l.expect("--reload", all(asHost))
	if got, _, _ := l.outcome(l.client, "tcp", inside4+":80"); got == open {
		t.Error("after a reload the container itself is open to the network")
	}
	l.until("what containers send is let through again", forward)
	l.out("--reload")
	reload("--complete-reload")
	l.until("it is let through again", forward)
	l.out("--complete-reload")
}
