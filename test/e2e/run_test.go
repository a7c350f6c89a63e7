package e2e_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
)

func TestFromRegistryToProcess(t *testing.T) {
	images := map[string]func() (*env.Image, error){"busybox": busyboxWithInside, "debian": env.Debian}
	for name, image := range images {
		t.Run(name, func(t *testing.T) {
			everyone(t, func(t *testing.T, e *engine) {
				reference := pushed(t, name+":latest", image)
				expect(t, "run", e.must("run", "--rm", reference, "echo", "hello"), "hello")
				expect(t, "images", e.must("images", "--format", "{{.Repository}}:{{.Tag}}"), reference)
				expect(t, "containers left", e.must("ps", "-aq"), "")
				if name == "debian" {
					out := e.must("run", "--rm", reference, "bash", "-c", ". /etc/os-release; echo $ID $VERSION_ID; dpkg-query -W -f '${Status}' bash")
					expect(t, "in Debian", out, "debian 12\ninstall ok installed")
				}
			})
		})
	}
}

func TestHello(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		out := e.must("run", "--rm", "hello")
		for _, want := range []string{"uid", "seccomp", "capabilit", "namespace"} {
			if !strings.Contains(strings.ToLower(out), want) {
				t.Errorf("hello does not speak of %s:\n%s", want, out)
			}
		}
	})
}

func TestHostImage(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		file := "/etc/new-file"
		if e.user != nil {
			file = "/tmp/new-file" // an ordinary user's is read-only but for such directories
		}
		out := e.must("run", "--rm", "host", "sh", "-c", "cat /etc/os-release; touch "+file+" && echo written")
		if !strings.Contains(out, "Debian") && !strings.Contains(out, "NAME=") || !strings.Contains(out, "written") {
			t.Errorf("not the machine's own root below an overlay: %q", out)
		}
		if _, err := os.Stat(file); err == nil {
			t.Fatal("a container of the host image wrote to the host")
		}
	})
}

func TestExitCodes(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		expectCode := func(want int, args ...string) result {
			t.Helper()
			r := e.run(args...)
			if r.code != want {
				t.Errorf("want exit %d: %v", want, r)
			}
			return r
		}
		expectCode(0, "run", "--rm", "busybox", "true")
		expectCode(7, "run", "--rm", "busybox", "sh", "-c", "exit 7")
		expectCode(255, "run", "--rm", "busybox", "sh", "-c", "exit 255")
		expectCode(137, "run", "--rm", "--init", "busybox", "sh", "-c", "kill -9 $$")
		expectCode(143, "run", "--rm", "--init", "busybox", "sh", "-c", "kill -15 $$")
		e.mustFail(127, []string{"no-such-program"}, "run", "--rm", "busybox", "no-such-program")
		e.mustFail(127, []string{"/no/such"}, "run", "--rm", "busybox", "/no/such/program")
		e.mustFail(126, []string{"/etc/passwd"}, "run", "--rm", "busybox", "/etc/passwd")
		e.mustFail(126, []string{"/etc"}, "run", "--rm", "busybox", "/etc")
		e.mustFail(125, []string{"no-such-flag"}, "run", "--no-such-flag", "busybox")
		expect(t, "containers left by run --rm", e.must("ps", "-aq"), "")
		expectCode(127, "run", "--name", "kept", "busybox", "no-such-program")
		expect(t, "a container that could not start", e.inspect("kept", "{{.State.Status}} {{.State.ExitCode}}"), "created 127")
		e.must("rm", "kept")
	})
}

func TestStreams(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		r := e.run("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
		expect(t, "stdout", r.stdout, "out\n")
		expect(t, "stderr", r.stderr, "err\n")
		r = e.feed("typed", "run", "--rm", "-i", "busybox", "cat")
		expect(t, "stdin comes back", r.stdout, "typed")
		r = e.feed("typed", "run", "--rm", "busybox", "cat")
		expect(t, "stdin without -i", r.stdout, "")

		data := make([]byte, 8<<20)
		rand.Read(data)
		cmd := e.command("run", "--rm", "-i", "busybox", "cat")
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil || !bytes.Equal(out, data) {
			t.Errorf("8 MiB through a container: %d bytes came back, %v", len(out), err)
		}
		// What is printed last, just before the end, must not be lost.
		out2 := e.run("run", "--rm", "busybox", "sh", "-c", "dd if=/dev/zero bs=65536 count=64 2>/dev/null; echo end")
		if len(out2.stdout) != 64*65536+4 || !strings.HasSuffix(out2.stdout, "end\n") {
			t.Errorf("4 MiB and a last line: %d bytes, code %d", len(out2.stdout), out2.code)
		}
		cmd = e.command("run", "--rm", "busybox", "sh", "-c", "dd if=/dev/zero bs=1048576 count=40 2>/dev/null")
		sum := sha256.New()
		cmd.Stdout = sum
		if err := cmd.Run(); err != nil {
			t.Error(err)
		}
		want := sha256.Sum256(make([]byte, 40<<20))
		expect(t, "40 MiB of output", fmt.Sprintf("%x", sum.Sum(nil)), fmt.Sprintf("%x", want))
	})
}

func TestDetached(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		id := e.start("--name", "web", "busybox", "sh", "-c", "echo one; echo two >&2; sleep 100")
		expect(t, "ps -q", e.must("ps", "-q"), id[:12])
		expect(t, "ps -q --no-trunc", e.must("ps", "-q", "--no-trunc"), id)
		expect(t, "ps --format", e.must("ps", "--format", "{{.Names}} {{.Image}}"), "web busybox")
		if out := e.must("ps"); !strings.HasPrefix(out, "CONTAINER ID") || !strings.Contains(out, "Up ") {
			t.Errorf("ps: %s", out)
		}
		expect(t, "state", e.inspect("web", "{{.State.Status}} {{.State.Running}}"), "running true")
		eventually(t, "both lines in the log", func() bool {
			r := e.run("logs", "web")
			return r.stdout == "one\n" && r.stderr == "two\n"
		})
		expect(t, "logs --tail 1", e.run("logs", "--tail", "1", "web").stderr, "two\n")
		if out := e.run("logs", "--timestamps", "web").stdout; !strings.HasPrefix(out, "20") || !strings.HasSuffix(out, "Z one\n") && !strings.HasSuffix(out, " one\n") {
			t.Errorf("logs --timestamps: %q", out)
		}
		expect(t, "exec", e.must("exec", "web", "echo", "inside"), "inside")
		if r := e.run("exec", "web", "sh", "-c", "exit 9"); r.code != 9 {
			t.Errorf("exec's exit code: %v", r)
		}
		e.mustFail(127, []string{"nothing"}, "exec", "web", "nothing")
		e.mustFail(126, []string{"/etc/passwd"}, "exec", "web", "/etc/passwd")
		if out := e.must("top", "web"); !strings.Contains(out, "PID") || !strings.Contains(out, "sleep 100") {
			t.Errorf("top: %s", out)
		}
		if e.user == nil { // others may have no cgroup to count in
			if out := e.must("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web"); !strings.HasPrefix(out, "web ") {
				t.Errorf("stats: %s", out)
			}
		}
		e.mustFail(1, []string{"web"}, "rm", "web")
		expect(t, "stop", e.must("stop", "-t", "1", "web"), "web")
		expect(t, "after stop", e.inspect("web", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137")
		expect(t, "wait on an ended container", e.must("wait", "web"), "137")
		expect(t, "ps without -a", e.must("ps", "-q"), "")
		if out := e.must("ps", "-a"); !strings.Contains(out, "Exited (137)") {
			t.Errorf("ps -a: %s", out)
		}
		e.mustFail(1, []string{"not running"}, "exec", "web", "true")
		expect(t, "rm", e.must("rm", "web"), "web")
		e.mustFail(1, []string{"web"}, "inspect", "web")
		e.mustFail(1, []string{"web"}, "rm", "web")
	})
}

func TestStartAgainAndAttach(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		id := e.must("create", "--name", "again", "busybox", "sh", "-c", "echo run >>/count; wc -l </count")
		expect(t, "created", e.inspect("again", "{{.State.Status}}"), "created")
		expect(t, "id by prefix", e.inspect(id[:6], "{{.Id}}"), id)
		expect(t, "first start", e.must("start", "-a", "again"), "1")
		expect(t, "second start keeps the files", e.must("start", "-a", "again"), "2")
		expect(t, "start prints", e.must("start", "again"), "again")
		e.must("wait", "again")

		e.start("--name", "shell", "-i", "busybox", "sh")
		r := e.feed("echo from $0; exit 3\n", "attach", "shell")
		if r.stdout != "from sh\n" || r.code != 3 {
			t.Errorf("attach: %v", r)
		}
	})
}

func TestWaitAndKill(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		e.start("--name", "one", "busybox", "sh", "-c", "trap 'echo got usr1; exit 5' USR1; echo ready; while :; do sleep 0.05; done")
		eventually(t, "ready", func() bool { return e.run("logs", "one").stdout == "ready\n" })
		waiting := e.command("wait", "one")
		var out bytes.Buffer
		waiting.Stdout = &out
		if err := waiting.Start(); err != nil {
			t.Fatal(err)
		}
		following := e.command("logs", "-f", "one")
		var log bytes.Buffer
		following.Stdout = &log
		if err := following.Start(); err != nil {
			t.Fatal(err)
		}
		expect(t, "kill", e.must("kill", "-s", "USR1", "one"), "one")
		waiting.Wait()
		following.Wait()
		expect(t, "wait", out.String(), "5\n")
		expect(t, "logs -f", log.String(), "ready\ngot usr1\n")
		e.mustFail(1, []string{"one", "not running"}, "kill", "one")

		e.start("--name", "two", "busybox", "sleep", "100")
		e.must("kill", "two")
		expect(t, "killed", e.must("wait", "two"), "137")
		e.mustFail(1, []string{"nosuch"}, "kill", "-s", "NOSUCH", "two")
	})
}

func TestStopSignalAndTimeout(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		script := "trap 'exit 42' HUP; trap '' TERM; echo ready; while :; do sleep 0.05; done"
		e.start("--name", "hup", "--stop-signal", "HUP", "busybox", "sh", "-c", script)
		e.start("--name", "deaf", "--stop-timeout", "1", "busybox", "sh", "-c", script)
		for _, name := range []string{"hup", "deaf"} {
			eventually(t, "ready", func() bool { return e.run("logs", name).stdout == "ready\n" })
		}
		e.must("stop", "hup")
		expect(t, "its stop signal", e.must("wait", "hup"), "42")
		begun := time.Now()
		e.must("stop", "deaf")
		if took := time.Since(begun); took < time.Second || took > 8*time.Second {
			t.Errorf("stop with a timeout of 1 s took %v", took)
		}
		expect(t, "killed after its timeout", e.must("wait", "deaf"), "137")
	})
}

func TestPause(t *testing.T) {
	e := asRoot(t).busybox()
	e.start("--name", "p", "busybox", "sh", "-c", "while :; do date +%s%N; sleep 0.02; done")
	e.must("pause", "p")
	expect(t, "paused", e.inspect("p", "{{.State.Status}} {{.State.Paused}}"), "paused true")
	time.Sleep(100 * time.Millisecond)
	before := e.must("logs", "p")
	time.Sleep(200 * time.Millisecond)
	if after := e.must("logs", "p"); after != before {
		t.Error("a paused container goes on")
	}
	if out := e.must("ps"); !strings.Contains(out, "(Paused)") {
		t.Errorf("ps: %s", out)
	}
	e.mustFail(1, []string{"paused"}, "exec", "p", "true")
	e.must("unpause", "p")
	eventually(t, "it goes on", func() bool { return e.must("logs", "p") != before })
	e.must("pause", "p")
	e.must("rm", "-f", "p")
}

func TestInit(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		if out := e.must("run", "--rm", "--init", "busybox", "sh", "-c", "echo $$"); out == "1" {
			t.Error("--init: the command is process 1")
		}
		out := e.must("run", "--rm", "--init", "busybox", "sh", "-c", "(sleep 0.05 &); sleep 0.3; grep -h State: /proc/[0-9]*/status")
		if strings.Contains(out, "Z (") {
			t.Errorf("--init leaves zombies:\n%s", out)
		}
		e.start("--name", "init", "--init", "busybox", "sleep", "100")
		begun := time.Now()
		e.must("stop", "init")
		if time.Since(begun) > 5*time.Second {
			t.Error("--init does not forward SIGTERM")
		}
		expect(t, "exit code", e.must("wait", "init"), "143")
	})
}

func TestRemoveItself(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		e.start("--rm", "--name", "gone", "busybox", "sleep", "0.1")
		eventually(t, "run -d --rm removes itself", func() bool { return e.must("ps", "-aq") == "" })
		e.start("--rm", "--name", "gone", "busybox", "sleep", "100")
		e.must("kill", "gone")
		eventually(t, "killed run -d --rm removes itself", func() bool { return e.must("ps", "-aq") == "" })
	})
}

// The foreground command passes signals on; the container outlives a terminal that goes away.
func TestForegroundSignals(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		cmd := e.command("run", "--name", "fg", "busybox", "sh", "-c", "trap 'exit 33' TERM; echo ready; while :; do sleep 0.05; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "ready", func() bool { return e.run("logs", "fg").stdout == "ready\n" })
		cmd.Process.Signal(terminate)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 33 {
			t.Errorf("SIGTERM to loper run: exit %d, want the container's 33", code)
		}
	})
}

func TestLogsAreBounded(t *testing.T) {
	e := asRoot(t).busybox()
	e.must("run", "--name", "talker", "--log-opt", "max-size=100k", "--log-opt", "max-file=2", "busybox", "seq", "1", "200000")
	out := e.must("logs", "talker")
	if !strings.HasSuffix(out, "\n200000") {
		t.Errorf("the log's end is missing: …%s", out[max(0, len(out)-100):])
	}
	size := directorySize(t, e.root+"/container")
	if size > 1<<20 {
		t.Errorf("a log of 2 × 100 kB takes %d bytes", size)
	}
}
