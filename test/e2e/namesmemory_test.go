package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/container/monitor"
)

// privateMemory is what a container's monitor has for itself alone, in kB.
func (e *engine) privateMemory(id string) (kB int) {
	e.t.Helper()
	state, err := monitor.ReadState(filepath.Join(e.runroot, id))
	if err != nil {
		e.t.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", state.Monitor))
	if err != nil {
		e.t.Skip(err)
	}
	fmt.Sscan(strings.TrimPrefix(lineWith(string(text), "Private_Dirty:"), "Private_Dirty:"), &kB)
	return kB
}

// A monitor that answers names is hardly larger than one that does not, also after it has answered many.
func TestNamesTakeLittleMemory(t *testing.T) {
	e := asRoot(t).busybox()
	e.must("network", "create", "names-memory")
	plain := e.must("run", "-d", "--network", "none", "busybox", "sleep", "1000")
	id := e.must("run", "-d", "--name", "asks", "--network", "names-memory", "busybox", "sleep", "1000")
	time.Sleep(2 * time.Second) // until both have come to rest
	check := func(when string, most int) {
		t.Helper()
		have, of := e.privateMemory(id), e.privateMemory(plain)
		t.Logf("%s: %d kB, %d kB without names", when, have, of)
		if have > of+most {
			t.Errorf("%s: %d kB, %d kB more than without names", when, have, have-of)
		}
	}
	check("at rest", 100)
	e.must("exec", "asks", "nslookup", "asks")
	time.Sleep(700 * time.Millisecond)
	check("after some questions", 250)
	e.must("exec", "asks", "sh", "-c", "for i in $(seq 400); do nslookup asks >/dev/null; done")
	time.Sleep(700 * time.Millisecond)
	check("after many", 250)
}
