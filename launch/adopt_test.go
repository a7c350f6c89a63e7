package launch

import (
	"os/exec"
	"syscall"
	"testing"
)

func TestAdopt(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Adopt(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if status, err := p.Wait(); err != nil || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, %v", status, err)
	}
	if _, err := Adopt(cmd.Process.Pid); err == nil {
		t.Error("a process that is gone was adopted")
	}
}
