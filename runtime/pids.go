package runtime

import (
	"fmt"
	"os"
	"slices"
	"strconv"
)

// Pids lists the container's processes. Without a cgroup they are those in its
// pid namespace, or only the first one where that is not its own.
func (c *Container) Pids() ([]int, error) {
	if len(c.state.Cgroups) > 0 {
		m, err := c.Cgroup()
		if err != nil {
			return nil, err
		}
		return m.Pids()
	}
	first := c.Pid()
	if first == 0 {
		return nil, nil
	}
	if !c.state.OwnPids {
		return []int{first}, nil
	}
	return inSameNamespace(first)
}

// inSameNamespace lists the processes in the pid namespace of one of them.
func inSameNamespace(first int) ([]int, error) {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", first))
	if err != nil {
		return []int{first}, nil // it has just ended, or is not ours to look into
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if ns, err := os.Readlink("/proc/" + name + "/ns/pid"); err == nil && ns == own {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}
