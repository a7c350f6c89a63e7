package flock

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestExclusiveAndShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := TryShared(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := TryShared(path)
	if err != nil {
		t.Fatal("two can't share: ", err)
	}
	if _, err := TryExclusive(path); !errors.Is(err, ErrHeld) {
		t.Errorf("exclusive beside shared: %v", err)
	}
	first.Close()
	got := make(chan error, 1)
	go func() {
		f, err := Exclusive(path)
		if err == nil {
			f.Close()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("the lock was given while it was held: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	second.Close()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// The kernel frees the lock of a process that is killed.
func TestLockEndsWithItsHolder(t *testing.T) {
	if path := os.Getenv("LOPER_TEST_LOCK"); path != "" {
		if _, err := Exclusive(path); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		time.Sleep(time.Minute)
	}
	path := filepath.Join(t.TempDir(), "lock")
	holder := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsHolder$")
	holder.Env = append(os.Environ(), "LOPER_TEST_LOCK="+path)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("holder: %q, %v", line, err)
	}
	if _, err := TryShared(path); !errors.Is(err, ErrHeld) {
		t.Errorf("beside the holder: %v", err)
	}
	holder.Process.Kill()
	holder.Wait()
	f, err := TryExclusive(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
