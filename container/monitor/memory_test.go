package monitor

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// memory is a line of /proc/PID/smaps_rollup, in kB.
func memory(t *testing.T, pid int, name string) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			var kB int
			fmt.Sscan(rest, &kB)
			return kB
		}
	}
	return 0
}

// An idle monitor is small, though this one is a test binary.
func TestIdleMemory(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep 100").start()
	young := memory(t, b.cmd.Pid, "Pss")
	b.replaced()
	time.Sleep(restAfter + 200*time.Millisecond)
	pss := memory(t, b.cmd.Pid, "Pss")
	t.Logf("PSS %d kB before, %d kB at rest, of which %d kB private dirty", young, pss, memory(t, b.cmd.Pid, "Private_Dirty"))
	if pss > 2500 {
		t.Errorf("PSS is %d kB", pss)
	}
}
