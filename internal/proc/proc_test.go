package proc_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"loper.run/internal/proc"

	"golang.org/x/sys/unix"
)

func TestID(t *testing.T) {
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := proc.Find(c.Process.Pid)
	if err != nil || !id.Alive() {
		t.Fatal(id, err)
	}
	if again, err := proc.Parse(id.String() + "\n"); err != nil || again != id {
		t.Errorf("%v, %v", again, err)
	}
	other := proc.ID{Pid: id.Pid, Started: id.Started - 1}
	if err := other.Signal(unix.SIGKILL); !errors.Is(err, unix.ESRCH) || other.Alive() || !id.Alive() {
		t.Errorf("another process of that number: %v", err)
	}
	if err := id.Signal(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	c.Wait()
	if err := id.Signal(unix.SIGKILL); !errors.Is(err, unix.ESRCH) || id.Alive() {
		t.Errorf("it has ended: %v", err)
	}
	for _, text := range []string{"", "1", "x 1", "1 x", "1 -1"} {
		if id, err := proc.Parse(text); err == nil {
			t.Errorf("%q: %v", text, id)
		}
	}
	if _, err := proc.Find(os.Getpid()); err != nil {
		t.Error(err)
	}
}
