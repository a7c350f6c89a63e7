package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Only the command that makes a container says that systemd manages its cgroups; the others know.
func TestSystemdCgroup(t *testing.T) {
	b := newBox(t)
	unit := "lope-" + strings.TrimPrefix(b.spec.Linux.CgroupsPath, "/") + ".scope"
	if _, err := os.Lstat("/run/systemd/system"); err != nil {
		b.spec.Linux.CgroupsPath = ""
		b.program("true")
		b.want(1, "systemd does not run on this machine", "--systemd-cgroup", "run", "c")
		b.want(1, "does not exist", "state", "c")
		t.Skip("needs systemd: ", err)
	}
	b.want(1, "slice:prefix:name", "--systemd-cgroup", "run", "c") // of a path for cgroupfs
	b.spec.Linux.CgroupsPath = "system.slice:lope:" + strings.TrimPrefix(b.spec.Linux.CgroupsPath, "/")
	limit := int64(64 << 20)
	b.spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
	b.program("sleep", "1000")
	b.want(0, "", "--systemd-cgroup", "create", "c")
	b.want(0, `"created"`, "state", "c")
	b.want(0, "", "start", "c")
	show := func(property string) string {
		out, err := exec.Command("systemctl", "show", "--value", "--property", property, unit).CombinedOutput()
		if err != nil {
			t.Errorf("systemctl show: %v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	memory := "MemoryMax"
	if _, err := os.Lstat("/sys/fs/cgroup/memory"); err == nil { // v1
		memory = "MemoryLimit"
	}
	if got := show("ActiveState") + " " + show(memory) + show("DevicePolicy"); got != "active 67108864strict" {
		t.Errorf("the unit is %s", got)
	}
	b.want(0, "", "update", "--memory", "128m", "--pids-limit", "33", "c")
	if got := show(memory) + " " + show("TasksMax"); got != "134217728 33" {
		t.Errorf("after an update: %s", got)
	}
	b.want(0, "", "exec", "c", "true")
	b.want(0, "", "pause", "c")
	b.want(0, `"paused"`, "state", "c")
	b.want(0, "", "resume", "c")
	b.want(0, "", "kill", "c", "KILL")
	for end := time.Now().Add(20 * time.Second); !strings.Contains(b.lope("state", "c").out, "stopped"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not stop")
		}
	}
	b.want(0, "", "delete", "c")
	if got := show("LoadState"); got != "not-found" {
		t.Errorf("the unit is %s", got)
	}
}
