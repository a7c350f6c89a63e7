package e2e_test

import (
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
)

func (e *engine) terminal(args ...string) *env.Terminal {
	e.t.Helper()
	return env.StartTerminal(e.t, e.command(args...), 33, 111)
}

func TestTerminal(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		term := e.terminal("run", "--rm", "-it", "busybox", "sh")
		term.Expect("# ")
		term.Type("tty; stty size\n")
		term.Expect("/dev/pts/0")
		term.Expect("33 111")
		term.Resize(44, 122)
		eventually(t, "the new size arrives", func() bool {
			term.Type("stty size\n")
			time.Sleep(50 * time.Millisecond)
			return strings.Contains(term.Seen(), "44 122")
		})
		term.Type("sleep 100\n")
		time.Sleep(200 * time.Millisecond)
		term.Type("\x03") // ^C goes to the container's foreground process
		term.Type("echo al''ive; ls -l /dev/console | cut -c1; exit 4\n")
		term.Expect("alive")
		term.Expect("c")
		if code := term.Wait(); code != 4 {
			t.Errorf("exit %d, want 4", code)
		}
	})
}

func TestTerminalIsRestored(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		for name, end := range map[string]string{"exit": "exit\n", "detach": "\x10\x11"} {
			plain := env.StartTerminal(t, e.command("version"), 24, 80)
			plain.Wait()
			want := plain.Settings()
			term := e.terminal("run", "-it", "--name", name, "busybox", "sh")
			term.Expect("# ")
			if term.Settings() == want {
				t.Error("the terminal is not raw while the container runs")
			}
			term.Type(end)
			term.Wait()
			expect(t, "terminal after "+name, term.Settings(), want)
		}
	})
}

func TestDetachAndAttach(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		term := e.terminal("run", "-it", "--name", "shell", "busybox", "sh")
		term.Expect("# ")
		term.Type("x=remembered\n")
		term.Expect("# ")
		term.Type("\x10\x11") // ^P ^Q
		if code := term.Wait(); code != 0 {
			t.Errorf("detached: exit %d, want 0; terminal: %q", code, term.Seen())
		}
		expect(t, "after detaching", e.inspect("shell", "{{.State.Status}}"), "running")

		term = e.terminal("attach", "--detach-keys", "ctrl-x,d", "shell")
		term.Type("echo $x\n")
		term.Expect("remembered\r\n")
		term.Type("\x18d")
		term.Wait()
		expect(t, "after detaching again", e.inspect("shell", "{{.State.Status}}"), "running")

		term = e.terminal("exec", "-it", "shell", "sh")
		term.Expect("# ")
		term.Type("tty; stty size; exit 6\n")
		term.Expect("/dev/pts/1")
		term.Expect("33 111")
		if code := term.Wait(); code != 6 {
			t.Errorf("exec -it: exit %d, want 6", code)
		}

		term = e.terminal("attach", "shell")
		term.Type("exit 8\n")
		if code := term.Wait(); code != 8 {
			t.Errorf("attach: exit %d, want the container's 8; terminal: %q", code, term.Seen())
		}
	})
}

// The monitor lives on when the terminal that started it is gone.
func TestTerminalGoesAway(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		term := e.terminal("run", "-it", "--name", "orphan", "busybox", "sh", "-c", "echo up; while :; do sleep 0.1; done")
		term.Expect("up")
		term.Cmd.Process.Signal(hangUp)
		term.Cmd.Process.Kill()
		term.Wait()
		time.Sleep(200 * time.Millisecond)
		expect(t, "after its terminal went", e.inspect("orphan", "{{.State.Status}}"), "running")
		expect(t, "exec still works", e.must("exec", "orphan", "echo", "yes"), "yes")
		e.must("rm", "-f", "orphan")
	})
}

func TestTerminalWithDetached(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		e.start("-t", "--name", "tty", "busybox", "sh", "-c", "tty; sleep 100")
		eventually(t, "its output", func() bool { return strings.HasPrefix(e.run("logs", "tty").stdout, "/dev/pts/0") })
		e.mustFail(1, []string{"tty"}, "run", "-it", "busybox", "true")
	})
}
