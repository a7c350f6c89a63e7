package container

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"loper.run/container/attach"
	"loper.run/test/env"
)

// untouched returns a check that the host is as it was, as far as it is this
// engine's: other tests change the rest meanwhile.
func untouched(e *testEngine) func() {
	self, _ := os.Executable()
	look := env.Look{State: []string{e.path(containerDir), e.path(nameDir), e.path(idRangeDir), e.path(volumeDir), e.RunRoot}, Programs: self}
	before := env.Snapshot(look)
	return func() {
		e.t.Helper()
		var diff []string
		for range 100 {
			diff = slices.DeleteFunc(before.Diff(env.Snapshot(look)), func(line string) bool {
				own := strings.Contains(line, e.Root) || strings.Contains(line, e.RunRoot)
				for _, id := range e.ids {
					own = own || strings.Contains(line, id)
				}
				return !own
			})
			if len(diff) == 0 {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		e.t.Errorf("left behind:\n%s", strings.Join(diff, "\n"))
	}
}

func TestLife(t *testing.T) {
	e := newEngine(t)
	check := untouched(e)
	c := e.create(Settings{Command: []string{"sh", "-c", "echo out; id -u; cat /proc/self/uid_map; hostname; exit 3"}})
	if st := e.status(c); st.State != Created {
		t.Errorf("%+v", st)
	}
	if err := c.Start(StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if code := e.wait(c); code != 3 {
		t.Errorf("exit code %d", code)
	}
	st := e.status(c)
	if st.State != Exited || st.ExitCode != 3 || st.StartedAt.IsZero() || st.FinishedAt.Before(st.StartedAt) {
		t.Errorf("%+v", st)
	}
	out := strings.Fields(e.output(c))
	if want := "out 0 0 1879048192 65536 " + c.ShortID(); strings.Join(out, " ") != want {
		t.Errorf("%q, want %q", out, want)
	}
	// It can be started again.
	if err := c.Start(StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if code := e.wait(c); code != 3 {
		t.Errorf("exit code %d", code)
	}
	if err := c.Remove(RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestRunning(t *testing.T) {
	e := newEngine(t)
	check := untouched(e)
	c := e.start(Settings{Name: "one", Command: []string{"sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"}})
	found, err := e.Find("one")
	if err != nil || found.ID != c.ID {
		t.Fatal(err)
	}
	if st := e.status(found); st.State != Running || st.Pid == 0 || st.StartedAt.IsZero() {
		t.Errorf("%+v", st)
	}
	if err := c.Remove(RemoveOptions{}); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("removed while it runs: %v", err)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	if st := e.status(c); st.State != Paused {
		t.Errorf("%+v", st)
	}
	if err := c.Unpause(); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Stats(); err != nil || s.MemoryUsage == 0 || s.PidsCurrent == 0 || s.SystemCPU == 0 {
		t.Errorf("%+v %v", s, err)
	}
	if top, err := c.Top(nil); err != nil || len(top.Processes) == 0 || !strings.Contains(strings.Join(top.Processes[0], " "), "sh -c trap") {
		t.Errorf("%+v %v", top, err)
	}
	eventually(t, "the trap is set", func() bool { data, _ := os.ReadFile(c.LogPath()); return strings.Contains(string(data), "ready") })
	if err := c.Stop(t.Context(), StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if st := e.status(c); st.State != Exited || st.ExitCode != 9 {
		t.Errorf("%+v", st)
	}
	if err := c.Start(StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := e.wait(c); code != 137 {
		t.Errorf("exit code %d", code)
	}
	for _, end := range []func() error{
		func() error { return c.Kill(syscall.SIGKILL) },
		func() error { return c.Stop(t.Context(), StopOptions{Signal: "KILL"}) },
		func() error { return c.Remove(RemoveOptions{Force: true}) },
	} {
		if err := c.Start(StartOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Find("one"); err == nil {
			if code := e.wait(c); code != 137 {
				t.Errorf("killed while paused: exit code %d", code)
			}
		}
	}
	if _, err := e.Find("one"); err == nil {
		t.Error("found after its removal")
	}
	check()
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within 5 seconds: %s", what)
}

// The whole output of a short program reaches who was attached from the start,
// and a --rm container is gone afterwards, whoever removes it.
func TestAttachedAndRemoved(t *testing.T) {
	e := newEngine(t)
	check := untouched(e)
	for _, removes := range []bool{true, false} {
		c := e.create(Settings{Command: []string{"sh", "-c", "cat; echo bye; exit 4"}, AutoRemove: true, OpenStdin: true})
		if err := c.Start(StartOptions{Attach: true}); err != nil {
			t.Fatal(err)
		}
		client, err := c.Attach()
		if err != nil {
			t.Fatal(err)
		}
		if removes {
			client.Removes()
		}
		var out strings.Builder
		exit, err := client.Stream(attach.Streams{In: strings.NewReader("hello\n"), Out: &out})
		if err != nil || exit.Code != 4 || out.String() != "hello\nbye\n" {
			t.Errorf("%+v, %v, %q", exit, err, out.String())
		}
		if removes {
			if err := c.Remove(RemoveOptions{Volumes: true}); err != nil {
				t.Error(err)
			}
		}
		client.Close()
		eventually(t, "the container is removed", func() bool { _, err := e.Find(c.ID); return err != nil })
	}
	check()
}

func TestNotStarted(t *testing.T) {
	e := newEngine(t)
	check := untouched(e)
	for program, code := range map[string]int{"nosuchprogram": 127, "/no/such": 127, "/etc/passwd": 126, "/etc": 126} {
		for _, attached := range []bool{false, true} {
			c := e.create(Settings{Command: []string{program}})
			err := c.Start(StartOptions{Attach: attached})
			failed, ok := err.(*StartError)
			if !ok || failed.Code != code || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v (%+v), want code %d", program, err, failed, code)
			}
			if st := e.status(c); st.State != Created || st.ExitCode != code || st.Error == "" {
				t.Errorf("%s: %+v", program, st)
			}
			if err := c.Remove(RemoveOptions{}); err != nil {
				t.Error(err)
			}
		}
		c := e.create(Settings{Command: []string{program}, AutoRemove: true})
		if err := c.Start(StartOptions{}); err == nil {
			t.Error("started")
		}
		if _, err := e.Find(c.ID); err == nil {
			t.Error("a --rm container that could not be started is still there")
		}
	}
	check()
}
