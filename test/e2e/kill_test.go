package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"loper.run/test/env"
)

// settle is how long the kernel may take to tidy up (cgroups, namespaces, dying processes) before it counts as left behind.
const settle = 10 * time.Second

// monitors are the processes that stand beside the containers of this engine.
func (e *engine) monitors(id string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		if words := strings.Split(string(cmdline), "\x00"); len(words) > 1 && strings.Contains(string(cmdline), "monitor") && strings.Contains(string(cmdline), e.root) && strings.Contains(string(cmdline), id) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

func kill9(pid int) { syscall.Kill(pid, syscall.SIGKILL) }

func (e *engine) pid(id string) int {
	e.t.Helper()
	pid, err := strconv.Atoi(e.inspect(id, "{{.State.Pid}}"))
	if err != nil || pid <= 0 {
		e.t.Fatalf("pid of %s: %d, %v", id, pid, err)
	}
	return pid
}

func TestOneMonitorAndNoOtherProcess(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		host := e.picture()
		id := e.start("--name", "c", "busybox", "sleep", "1000")
		var came []string
		deadline := time.Now().Add(settle)
		for len(came) != 2 && time.Now().Before(deadline) {
			came = nil
			for _, line := range host.Diff(env.Snapshot(look())) {
				if strings.HasPrefix(line, "process + ") {
					came = append(came, line)
				}
			}
		}
		if len(came) != 2 {
			t.Errorf("processes that came, want one monitor and the container:\n%s", strings.Join(came, "\n"))
		}
		if m := e.monitors(id); len(m) != 1 {
			t.Errorf("monitors: %v", m)
		}
	})
}

// picture is the host as it is after a container: the network it was on stays, and the file at which the monitors of those
// that live longer queue up.
func (e *engine) picture(state ...string) env.Host {
	e.t.Helper()
	e.must("run", "--rm", "busybox", "true")
	dir := filepath.Join(e.runroot, "network")
	owner, err := os.Stat(dir)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "firewall.queue"), nil, 0o600)
	}
	if err == nil {
		st := owner.Sys().(*syscall.Stat_t)
		err = os.Chown(filepath.Join(dir, "firewall.queue"), int(st.Uid), int(st.Gid))
	}
	if err != nil {
		e.t.Fatal(err)
	}
	eventually(e.t, "its interface is gone", func() bool {
		ends, _ := filepath.Glob("/sys/class/net/lv*")
		return len(ends) == 0
	})
	return env.Snapshot(look(state...))
}

func TestKillMonitor(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		host := e.picture()
		id := e.start("--name", "c", "busybox", "sleep", "1000")
		pid := e.pid("c")
		for _, m := range e.monitors(id) {
			kill9(m)
		}
		eventually(t, "the container dies with its monitor", func() bool { return syscall.Kill(pid, 0) != nil })
		expect(t, "the truth", e.inspect("c", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137")
		expect(t, "wait", e.must("wait", "c"), "137")
		e.mustFail(1, []string{"not running"}, "exec", "c", "true")
		expect(t, "it starts again", e.must("start", "c"), "c")
		expect(t, "running", e.inspect("c", "{{.State.Status}}"), "running")
		for _, m := range e.monitors(id) {
			kill9(m)
		}
		e.must("rm", "-f", "c")
		if diff := host.Settle(settle); len(diff) > 0 {
			t.Errorf("left behind:\n%s", strings.Join(diff, "\n"))
		}
	})
}

func TestKillContainer(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		host := e.picture()
		e.start("--name", "c", "busybox", "sleep", "1000")
		kill9(e.pid("c"))
		expect(t, "wait", e.must("wait", "c"), "137")
		expect(t, "the truth", e.inspect("c", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137")
		e.must("rm", "c")
		if diff := host.Settle(settle); len(diff) > 0 {
			t.Errorf("left behind:\n%s", strings.Join(diff, "\n"))
		}
	})
}

// Monitor and container killed at once, the machine's state as after a power cut of the two.
func TestKillBoth(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		host := e.picture()
		var ids []string
		for range 5 {
			ids = append(ids, e.start("busybox", "sh", "-c", "sleep 1000 & sleep 1000"))
		}
		for _, id := range ids {
			pid := e.pid(id)
			for _, m := range e.monitors(id) {
				kill9(m)
			}
			kill9(pid)
		}
		eventually(t, "all are ended", func() bool { return e.must("ps", "-q") == "" })
		for _, id := range ids {
			expect(t, "the truth", e.inspect(id, "{{.State.Status}} {{.State.ExitCode}}"), "exited 137")
		}
		e.must(append([]string{"rm"}, ids...)...)
		if diff := host.Settle(settle); len(diff) > 0 {
			t.Errorf("left behind:\n%s", strings.Join(diff, "\n"))
		}
	})
}

// Every command is killed at many moments of its life. Whatever is left, the next commands tell the truth and clean up.
func TestKillCommandAtEveryStage(t *testing.T) {
	stages := 25
	if testing.Short() {
		stages = 5
	}
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		host := e.picture(filepath.Join(e.root, "container"), filepath.Join(e.root, "name"), filepath.Join(e.root, "ids"), e.runroot)
		for _, c := range []struct {
			name    string
			prepare []string
			args    []string
		}{
			{"run", nil, []string{"run", "--name", "c", "busybox", "sleep", "1000"}},
			{"run detached", nil, []string{"run", "-d", "--name", "c", "busybox", "sleep", "1000"}},
			{"run --rm", nil, []string{"run", "--rm", "--name", "c", "busybox", "true"}},
			{"create", nil, []string{"create", "--name", "c", "busybox", "true"}},
			{"start", []string{"create", "--name", "c", "busybox", "sleep", "1000"}, []string{"start", "c"}},
			{"exec", []string{"run", "-d", "--name", "c", "busybox", "sleep", "1000"}, []string{"exec", "c", "sleep", "0.01"}},
			{"stop", []string{"run", "-d", "--init", "--name", "c", "busybox", "sleep", "1000"}, []string{"stop", "c"}},
			{"rm", []string{"create", "--name", "c", "busybox", "true"}, []string{"rm", "c"}},
			{"rm -f", []string{"run", "-d", "--name", "c", "busybox", "sleep", "1000"}, []string{"rm", "-f", "c"}},
		} {
			t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
				e.t = t
				whole := e.duration(c.prepare, c.args)
				for i := range stages {
					if c.prepare != nil {
						e.must(c.prepare...)
					}
					cmd := e.command(c.args...)
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(whole * time.Duration(i) / time.Duration(stages))
					cmd.Process.Kill()
					cmd.Wait()
					e.checkTruth()
					if t.Failed() {
						t.Fatalf("killed after %v of %v", whole*time.Duration(i)/time.Duration(stages), whole)
					}
				}
				if diff := host.Settle(settle); len(diff) > 0 {
					t.Errorf("left behind:\n%s", strings.Join(diff, "\n"))
				}
			})
		}
	})
}

// duration is how long a command takes here, half as much again.
func (e *engine) duration(prepare, args []string) time.Duration {
	e.t.Helper()
	if prepare != nil {
		e.must(prepare...)
	}
	cmd := e.command(args...)
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Second): // a container in the foreground: it is up long before
		begun = time.Now().Add(-60 * time.Millisecond)
	}
	took := time.Since(begun) * 3 / 2
	e.clean1("c")
	cmd.Process.Kill()
	<-done
	return took
}

func (e *engine) clean1(name string) {
	e.t.Helper()
	if e.run("inspect", name).code == 0 {
		e.must("rm", "-f", name)
	}
}

// checkTruth looks at container "c" after a command was killed: either it is not there at all, or it is in a state that
// matches its processes; it can be removed, and its name is free again.
func (e *engine) checkTruth() {
	e.t.Helper()
	listed := e.must("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}")
	for line := range strings.Lines(listed) {
		id, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		r := e.run("inspect", "--format", "{{.State.Status}}", id)
		if r.code != 0 && strings.Contains(r.stderr, "No such") {
			continue // its monitor removed it meanwhile
		}
		status := strings.TrimSpace(r.stdout)
		switch status {
		case "created", "exited", "dead", "removing":
		case "running":
			if len(e.monitors(id)) > 1 {
				e.t.Errorf("%s has %d monitors", id, len(e.monitors(id)))
			}
			// It may be on its way up or down, but not for long.
			eventually(e.t, "said to run, and can be entered", func() bool {
				return e.run("exec", id, "true").code == 0 || e.run("inspect", "--format", "{{.State.Status}}", id).stdout != "running\n"
			})
		default:
			e.t.Errorf("status %q", status)
		}
	}
	if ids := strings.Fields(e.must("ps", "-aq")); len(ids) > 0 {
		if r := e.run(append([]string{"rm", "-f"}, ids...)...); r.code != 0 && !strings.Contains(r.stderr, "o such container") {
			e.t.Error(r)
		}
	}
	expect(e.t, "containers", e.must("ps", "-aq"), "")
	e.must("create", "--name", "c", "busybox", "true") // the name is free
	e.must("rm", "c")
}

func TestKillPullAtEveryStage(t *testing.T) {
	stages := 20
	if testing.Short() {
		stages = 4
	}
	everyone(t, func(t *testing.T, e *engine) {
		img := bigImage(12)
		f := env.NewFaulty(t)
		reference := f.Put(img, "big:1")
		begun := time.Now()
		e.must("pull", "-q", reference)
		whole := time.Since(begun) * 5 / 4
		e.must("rmi", reference)
		size := blocks(t, filepath.Join(e.root, "image"))
		complete := 0
		for i := range stages {
			cmd := e.command("pull", "-q", reference)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(whole * time.Duration(i) / time.Duration(stages))
			cmd.Process.Kill()
			cmd.Wait()
			if id := e.must("images", "-q"); id != "" { // it may have no name yet
				complete++
				e.must("rmi", "-f", id)
			}
		}
		t.Logf("%d of %d killed pulls had ended before", complete, stages)
		e.must("pull", "-q", reference)
		expect(t, "images", e.must("images", "--format", "{{.Tag}}"), "1")
		e.must("rmi", reference)
		eventually(t, "nothing stays of the killed pulls", func() bool { return blocks(t, filepath.Join(e.root, "image")) <= size+64<<10 })
	})
}

// After an image is pulled and the process killed, what is published is whole.
func TestPulledImageIsWhole(t *testing.T) {
	e := newEngine(t, nil)
	base, err := env.Busybox()
	if err != nil {
		t.Skip(err)
	}
	f := env.NewFaulty(t)
	var body strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&body, "%d\n", i)
	}
	sum := env.Digest([]byte(body.String()))
	img := env.NewImage(env.RunConfig{Env: []string{"PATH=/bin"}}, base.Layers[0], env.Gzipped(env.Tar(env.File{Name: "big", Body: body.String(), Mode: 0o644})))
	reference := f.Put(img, "whole:1")
	for i := range 15 {
		cmd := e.command("pull", "-q", reference)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 4 * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		if e.run("inspect", "--type", "image", reference).code != 0 {
			continue
		}
		got := e.must("run", "--rm", "--pull", "never", reference, "sha256sum", "/big")
		expect(t, "the file's digest", "sha256:"+strings.Fields(got)[0], sum)
		e.must("rmi", "-f", reference)
	}
}
