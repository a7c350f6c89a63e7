package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// peakOfPull measures the memory of a pull with all its processes. What they write is no part of it, though a cgroup would
// count a tmpfs.
func (b *bench) peakOfPull(l *big, dir string) error {
	took := map[string]float64{}
	for _, c := range []contender{b.pullOurs(dir, l.reference), b.pullPodman(dir, l.reference)} {
		if c.skip != "" {
			continue
		}
		if err := c.before(); err != nil {
			return err
		}
		cmd := exec.Command(c.argv[0], c.argv[1:]...)
		cmd.Env = append(os.Environ(), c.environ...)
		if err := cmd.Start(); err != nil {
			return err
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		err := error(nil)
		for running := true; running; {
			select {
			case err = <-done:
				running = false
			case <-time.After(20 * time.Millisecond):
				took[c.name] = max(took[c.name], family(cmd.Process.Pid))
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if took["podman"] > 0 {
		b.add(row{what: "peak memory of that pull, all processes", ours: kilobytes(took["loper"]), theirs: kilobytes(took["podman"]), peer: "podman", ratio: fmt.Sprintf("%.2f", took["loper"]/took["podman"]), target: "≤ 1"})
	}
	return nil
}

// family is the proportional set size, in kB, of a process and all that descend from it.
func family(pid int) (sum float64) {
	parents := map[int]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		stat, _ := os.ReadFile(dir + "/stat")
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 {
			child, _ := strconv.Atoi(filepath.Base(dir))
			parents[child], _ = strconv.Atoi(fields[1])
		}
	}
	for child := range parents {
		for p, depth := child, 0; p > 1 && depth < 20; p, depth = parents[p], depth+1 {
			if p == pid {
				sum += pss(fmt.Sprintf("/proc/%d", child))
				break
			}
		}
	}
	return sum
}

// pss is a process's proportional set size in kB.
func pss(dir string) float64 {
	rollup, _ := os.ReadFile(dir + "/smaps_rollup")
	for line := range strings.Lines(string(rollup)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Pss:" {
			kB, _ := strconv.ParseFloat(fields[1], 64)
			return kB
		}
	}
	return 0
}
