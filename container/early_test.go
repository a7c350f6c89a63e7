package container

import (
	"errors"
	"strconv"
	"syscall"
	"testing"
)

// A monitor that was started early becomes the monitor of the next container, and ends when none is started.
func TestMonitorStartedEarly(t *testing.T) {
	e := newEngine(t)
	if err := e.StartMonitor(StartOptions{}); err != nil {
		t.Fatal(err)
	}
	early := *e.early
	c := e.create(Settings{Command: []string{"sleep", "100"}})
	if c.ID != early.id {
		t.Errorf("the container is %s, the monitor's is %s", c.ID, early.id)
	}
	if err := c.Start(StartOptions{}); err != nil {
		t.Fatal(err)
	}
	st, err := c.Status()
	if err != nil || st.State != Running {
		t.Errorf("%+v, %v", st, err)
	}
	if parent, err := readStat(st.Pid); err != nil || parent[1] != strconv.Itoa(early.pid) {
		t.Errorf("its parent is not the monitor %d: %v, %v", early.pid, parent, err)
	}
	if err := c.Remove(RemoveOptions{Force: true}); err != nil {
		t.Error(err)
	}

	for _, o := range []StartOptions{{}, {Attach: true}} {
		if err := e.StartMonitor(o); err != nil {
			t.Fatal(err)
		}
		pid := e.early.pid
		e.Abandon()
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("an abandoned monitor is there: %v", err)
		}
	}
}
