package container

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"loper.run/container/monitor"
)

// initTime bounds how long a container's start waits for its init.
const initTime = 2 * time.Second

// awaitInit waits until the init of --init has started the program. What is
// sent to the container before that would end the init, or be ignored, as the
// kernel does for a process 1 that has not said what it wants.
func (c *Container) awaitInit() {
	st, err := monitor.ReadState(c.RunDir())
	if err != nil {
		return // it has ended
	}
	for end := time.Now().Add(initTime); time.Now().Before(end) && !ended(st); time.Sleep(500 * time.Microsecond) {
		// A child is told by the thread that made it.
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", st.Pid))
		if len(files) == 0 {
			return // a kernel without this file
		}
		for _, file := range files {
			if children, err := os.ReadFile(file); err == nil && len(children) > 0 {
				return
			}
		}
	}
}
