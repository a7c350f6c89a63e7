package e2e_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cgroupFile reads a file of a container's cgroup, of whichever hierarchy has it.
func cgroupFile(t testing.TB, id string, names ...string) string {
	t.Helper()
	var content string
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !strings.Contains(filepath.Base(path), id) {
			return nil
		}
		for _, name := range names {
			if data, err := os.ReadFile(filepath.Join(path, name)); err == nil {
				content = strings.TrimSpace(string(data))
			}
		}
		return nil
	})
	if content == "" {
		t.Errorf("no cgroup of %s has any of %v", id[:12], names)
	}
	return content
}

func TestLimits(t *testing.T) {
	e := asRoot(t).busybox()
	id := e.start("--name", "c", "-m", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--cpuset-cpus", "0", "--pids-limit", "40", "busybox", "sleep", "1000")
	expect(t, "memory", cgroupFile(t, id, "memory.limit_in_bytes", "memory.max"), "67108864")
	expect(t, "pids", cgroupFile(t, id, "pids.max"), "40")
	expect(t, "cpuset", cgroupFile(t, id, "cpuset.cpus"), "0")
	if quota := cgroupFile(t, id, "cpu.cfs_quota_us", "cpu.max"); quota != "50000" && quota != "50000 100000" {
		t.Errorf("cpu quota %q", quota)
	}
	if out := e.must("inspect", "c"); !strings.Contains(out, `"Memory": 67108864`) {
		t.Errorf("inspect lacks the memory limit: %s", short(out))
	}
	e.must("exec", "c", "/inside", "eat", "20")
	if r := e.run("exec", "c", "/inside", "eat", "200"); r.code != 137 {
		t.Errorf("an exec over the memory limit: %v", r)
	}

	r := e.run("run", "--name", "oom", "-m", "32m", "--memory-swap", "32m", "busybox", "/inside", "eat", "200")
	if r.code != 137 {
		t.Errorf("over the memory limit: %v", r)
	}
	expect(t, "OOMKilled", e.inspect("oom", "{{.State.OOMKilled}}"), "true")
	r = e.run("run", "--rm", "--pids-limit", "8", "busybox", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 3 & done; wait")
	if !strings.Contains(r.stderr, "fork") {
		t.Errorf("more processes than --pids-limit: %v", r)
	}
	begun := time.Now()
	e.must("run", "--rm", "--cpus", "0.25", "busybox", "sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
	limited := time.Since(begun)
	begun = time.Now()
	e.must("run", "--rm", "busybox", "sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
	if free := time.Since(begun); limited < free*2 {
		t.Logf("--cpus 0.25: %v, without %v", limited, free) // the machine may be busy: not a failure
	}
}

func TestDefaultPidsLimitIsBounded(t *testing.T) {
	e := asRoot(t).busybox()
	id := e.start("busybox", "sleep", "1000")
	if limit := cgroupFile(t, id, "pids.max"); limit == "max" {
		t.Log("no limit of processes by default")
	}
}
