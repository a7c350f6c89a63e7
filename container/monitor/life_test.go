package monitor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loper.run/container/attach"
	"loper.run/container/logs"
	"loper.run/internal/flock"
)

func logOf(t *testing.T, b *box) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	if e := logs.Copy(context.Background(), filepath.Join(b.dir, logs.FileName), logs.Query{}, &out, &err); e != nil {
		t.Fatal(e)
	}
	return out.String(), err.String()
}

func TestRun(t *testing.T) {
	t.Parallel()
	b := newBox(t, "echo hello; echo oops >&2; printf 'no newline'; exit 3").start()
	e := b.wait()
	if e.Code != 3 || e.OOMKilled || e.FinishedAt.Before(e.StartedAt) || time.Since(e.StartedAt) > time.Minute {
		t.Errorf("exit is %+v", e)
	}
	if out, err := logOf(t, b); out != "hello\nno newline" || err != "oops\n" {
		t.Errorf("logged %q and %q", out, err)
	}
	// Nothing is left but the lock file, which is free.
	left, _ := os.ReadDir(b.c.RunDir)
	if len(left) != 1 || left[0].Name() != LockFile {
		t.Errorf("left in the run directory: %v", left)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "state")); err == nil {
		t.Error("runtime state is left")
	}
	f, err := flock.TryExclusive(filepath.Join(b.c.RunDir, LockFile))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestKilled(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep 100").start()
	os.WriteFile(filepath.Join(b.dir, "oom"), nil, 0o600)
	syscall.Kill(b.pid(), syscall.SIGKILL)
	if e := b.wait(); e.Code != 137 || !e.OOMKilled {
		t.Errorf("exit is %+v", e)
	}
}

func TestNotStarted(t *testing.T) {
	t.Parallel()
	b := newBoxArgs(t, "/no/such/program")
	b.launch()
	if f := b.started(); f.Code != 127 || !strings.Contains(f.Error, "/no/such/program") {
		t.Errorf("report is %+v", f)
	}
	b.cmd.Wait()
	if _, err := ReadExit(b.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("exit.json: %v", err)
	}
	if _, err := attach.Connect(b.c.RunDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("connect: %v", err)
	}
}

func TestOneMonitor(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep 100").start()
	second := *b
	second.launch()
	if f := second.started(); f.Code != 125 || !strings.Contains(f.Error, "has a monitor already") {
		t.Errorf("report is %+v", f)
	}
	if !alive(b.pid()) {
		t.Error("the second monitor harmed the first")
	}
	// A command that only looks does not hinder one that starts.
	third := newBox(t, "true")
	os.Mkdir(third.c.RunDir, 0o700)
	lock, err := flock.TryShared(filepath.Join(third.c.RunDir, LockFile))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(30*time.Millisecond, func() { lock.Close() })
	third.start()
}

// The container dies with its monitor, before and after it replaced itself.
func TestMonitorKilled(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*box) *box{"young": func(b *box) *box { return b }, "replaced": (*box).replaced} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := prepare(newBox(t, "while :; do sleep 0.1; done").start())
			pid := b.pid()
			if !alive(pid) {
				t.Fatal("the container is dead already")
			}
			c := b.attach()
			b.cmd.Kill()
			eventually(t, "the container died with its monitor", func() bool { return !alive(pid) })
			if _, err := c.Stream(attach.Streams{}); err != attach.ErrGone {
				t.Errorf("stream: %v, want ErrGone", err)
			}
			b.cmd.Wait()
			if _, err := ReadExit(b.dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("exit.json: %v", err)
			}
			if _, err := attach.Connect(b.c.RunDir); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("connect to a dead monitor: %v", err)
			}
			b.c.Log.Driver = logs.None // and it can be started again over what is left
			b.json("config.json", []string{"/bin/sh", "-c", "exit 4"})
			b.start()
			if e := b.wait(); e.Code != 4 {
				t.Errorf("second life: %+v", e)
			}
		})
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*box) *box{"young": func(b *box) *box { return b }, "replaced": (*box).replaced} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done").start()
			eventually(t, "ready", func() bool { out, _ := logOf(t, b); return out != "" })
			prepare(b)
			time.Sleep(2 * deafAfter)
			for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE} {
				b.cmd.Signal(sig)
			}
			time.Sleep(100 * time.Millisecond)
			if !alive(b.cmd.Pid) || !alive(b.pid()) {
				t.Fatal("killed by a signal that is not for it")
			}
			b.cmd.Signal(syscall.SIGTERM)
			if e := b.wait(); e.Code != 9 {
				t.Errorf("exit is %+v", e)
			}
		})
	}
}

// What the container started in the background ends with it, though it keeps
// the output open; one beyond reach does not stop the monitor either.
func TestBackground(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"reachable":   "yes & echo $! >&2; exit 5",
		"unreachable": "setsid sleep 7 & sleep 0.1; exit 5",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, script)
			b.c.Log.MaxSize = 100 << 10
			b.start()
			begun := time.Now()
			if e := b.wait(); e.Code != 5 {
				t.Errorf("exit is %+v", e)
			}
			if d := time.Since(begun); d > 4*time.Second {
				t.Errorf("the monitor ended after %v", d)
			}
		})
	}
}

func TestAutoRemove(t *testing.T) {
	t.Parallel()
	remove := func(b *box) []string { return []string{"/bin/sh", "-c", "rm " + filepath.Join(b.dir, "config.json")} }
	removed := func(b *box) bool {
		_, err := os.Stat(filepath.Join(b.dir, "config.json"))
		return err != nil
	}
	for name, prepare := range map[string]func(*box) *box{"young": func(b *box) *box { return b }, "replaced": (*box).replaced} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, "sleep 100")
			b.c.AutoRemove = remove(b)
			b.c.AutoRemove[2] += "; cat /proc/self/status /proc/self/environ > " + b.dir + "/status"
			prepare(b.start())
			syscall.Kill(b.pid(), syscall.SIGKILL)
			b.cmd.Wait()
			if !removed(b) {
				t.Error("not removed")
			}
			status, _ := os.ReadFile(filepath.Join(b.dir, "status"))
			// The C library's posix_spawn, which make uses, leaves its own two signals ignored.
			status = bytes.Replace(status, []byte("SigIgn:\t0000000080000000"), []byte("SigIgn:\t0000000000000000"), 1)
			status = bytes.Replace(status, []byte("SigIgn:\t0000000180000000"), []byte("SigIgn:\t0000000000000000"), 1)
			for _, want := range []string{"SigBlk:\t0000000000000000\n", "SigIgn:\t0000000000000000\n"} {
				if !strings.Contains(string(status), want) {
					t.Errorf("the command was not started with %q:\n%s", want, status)
				}
			}
			if strings.Contains(string(status), handoverEnv) {
				t.Error("the command got the handover")
			}
		})
	}
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		b := newBox(t, "sleep 0.3")
		b.c.AutoRemove, b.c.Attached = remove(b), true
		b.launch()
		c := b.attach()
		if err := c.Removes(); err != nil {
			t.Fatal(err)
		}
		b.started()
		if _, err := c.Stream(attach.Streams{}); err != nil {
			t.Fatal(err)
		}
		// The lock is free while the client does its work.
		f, err := flock.Exclusive(filepath.Join(b.c.RunDir, LockFile))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		time.Sleep(100 * time.Millisecond)
		if removed(b) {
			t.Fatal("removed although a client does it")
		}
		// A command that looks whether the monitor lives is not one that starts the container again.
		looking, err := flock.Shared(filepath.Join(b.c.RunDir, LockFile))
		if err != nil {
			t.Fatal(err)
		}
		defer looking.Close()
		c.Close() // it dies before it has
		b.cmd.Wait()
		if !removed(b) {
			t.Error("not removed after the client's death")
		}
	})
}

// A directory that was removed by force does not stop the rest.
func TestDirectoryGone(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep 100")
	b.c.RuntimeRoot = t.TempDir()
	b.start()
	pid := b.pid()
	for _, name := range []string{ConfigFile, "config.json", logs.FileName} {
		os.Remove(filepath.Join(b.dir, name))
	}
	b.replaced()
	syscall.Kill(pid, syscall.SIGKILL)
	b.cmd.Wait()
	if left, _ := os.ReadDir(b.c.RuntimeRoot); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
