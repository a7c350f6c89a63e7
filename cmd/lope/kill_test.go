package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Lope is killed at any moment of making a container. Then the state tells the
// truth, and 'delete --force' leaves nothing.
func TestKilledMaker(t *testing.T) {
	for _, args := range [][]string{{"create"}, {"run", "-d"}, {"run"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			b := newBox(t)
			b.program("sleep", "100")
			before := b.host()
			rounds, seen := 60, map[string]int{}
			if testing.Short() {
				rounds = 10
			}
			for i := range rounds {
				id := fmt.Sprintf("c%d", i)
				cmd := b.command(append(args, id)...)
				b.must(cmd.Start())
				time.Sleep(time.Duration(rand.IntN(25_000)) * time.Microsecond)
				cmd.Process.Kill()
				cmd.Wait()
				status := "nothing"
				if r := b.lope("state", id); r.code == 0 {
					status = string(b.state(id).Status)
				}
				seen[status]++
				b.want(0, "", "delete", "--force", id)
				if pids := b.processes(); len(pids) > 0 {
					t.Fatalf("after a kill as %q there are %v", status, pids)
				}
			}
			t.Log(seen)
			if entries, _ := os.ReadDir(b.root); len(entries) > 0 {
				t.Errorf("state is left: %v", entries)
			}
			if after := b.host(); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

// Who deletes a container is killed at any moment. Then the container is either
// as it was or can be deleted again, and nothing is left.
func TestKilledDeleter(t *testing.T) {
	b := newBox(t)
	b.spec.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/true"}}}
	b.program("sleep", "100")
	before := b.host()
	rounds, seen := 40, map[string]int{}
	if testing.Short() {
		rounds = 8
	}
	for i := range rounds {
		id := fmt.Sprintf("c%d", i)
		b.want(0, "", [][]string{{"run", "-d", id}, {"create", id}}[i%2]...)
		cmd := b.command("delete", "--force", id)
		b.must(cmd.Start())
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
		seen[fmt.Sprint(b.lope("state", id).code)]++
		b.want(0, "", "delete", "--force", id)
		b.want(0, "", "delete", "--force", id)
		if pids := b.processes(); len(pids) > 0 {
			t.Fatalf("there are %v", pids)
		}
	}
	t.Log(seen)
	b.clean(before, "all")
}

// The one who starts a container is killed at any moment; the container is
// then either created or running, and says so.
func TestKilledStarter(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	seen := map[string]int{}
	for i := range 20 {
		id := fmt.Sprintf("c%d", i)
		b.want(0, "", "create", id)
		cmd := b.command("start", id)
		b.must(cmd.Start())
		time.Sleep(time.Duration(rand.IntN(8_000)) * time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
		time.Sleep(10 * time.Millisecond) // who was let through executes its program
		s := b.state(id)
		seen[string(s.Status)]++
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", s.Pid))
		b.must(err)
		running := strings.TrimSpace(string(comm)) == "sleep"
		if running != (s.Status == "running") {
			t.Errorf("the program %q is %s", comm, s.Status)
		}
		if s.Status == "created" {
			b.want(0, "", "start", id)
		}
		b.want(0, "", "delete", "--force", id)
	}
	t.Log(seen)
}

// Two that make a container of the same id, and one that deletes it meanwhile.
func TestSameID(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	before := b.host()
	for range 15 {
		codes := make(chan int, 3)
		for _, args := range [][]string{{"create", "same"}, {"create", "same"}, {"delete", "--force", "same"}} {
			go func() {
				cmd := b.command(args...)
				cmd.Run()
				codes <- cmd.ProcessState.ExitCode()
			}()
		}
		for range 3 {
			<-codes
		}
		b.want(0, "", "delete", "--force", "same")
	}
	if after := b.host(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// The group of another container stays as it is, with all that lives in it.
func TestCgroupOfAnother(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	b.want(0, "", "run", "-d", "first")
	b.want(1, "cgroup", "create", "second")
	if s := b.state("first"); s.Status != "running" {
		t.Errorf("the first container is %s", s.Status)
	}
	b.want(1, "does not exist", "state", "second")
}

func TestKillAPausedContainer(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	b.want(0, "", "run", "-d", "c")
	b.want(0, "", "pause", "c")
	b.want(0, "", "kill", "c", "KILL")
	eventually(t, "it is dead", func() bool { return b.state("c").Status == "stopped" })
	b.want(0, "", "delete", "c")
}

// A created container can be paused, and isn't started while it is.
func TestPauseACreatedContainer(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	b.want(0, "", "create", "c")
	b.want(0, "", "pause", "c")
	b.want(1, "is paused", "start", "c")
	b.want(0, "", "resume", "c")
	b.want(0, "", "start", "c")
	b.want(0, "", "delete", "--force", "c")
}

func TestForwardedSignals(t *testing.T) {
	b := newBox(t)
	for sig, wait := range map[unix.Signal]time.Duration{unix.SIGTERM: 0, unix.SIGINT: 0, unix.SIGUSR1: 0, unix.Signal(37): 500 * time.Millisecond, unix.SIGPWR: 500 * time.Millisecond} {
		b.program("sh", "-c", fmt.Sprintf("trap 'exit 7' %d; echo ready; while :; do sleep 0.05; done", sig))
		cmd := b.command("run", "c")
		r, w, err := os.Pipe()
		b.must(err)
		cmd.Stdout = w
		b.must(cmd.Start())
		w.Close()
		buf := make([]byte, 10)
		if n, _ := r.Read(buf); string(buf[:n]) != "ready\n" {
			t.Errorf("output %q", buf[:n])
		}
		r.Close()
		time.Sleep(wait)
		b.must(cmd.Process.Signal(sig))
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 7 {
			t.Errorf("%v: exit status %d", sig, code)
		}
		b.want(1, "does not exist", "state", "c")
	}
}

// Whoever kills a container may delete it right away.
func TestKillThenDelete(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	for range 10 {
		b.want(0, "", "run", "-d", "c")
		b.want(0, "", "kill", "c", "KILL")
		b.want(0, "", "delete", "c")
	}
}
