package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What exec runs has the schedulers' settings and the limits of its file, and
// those of the container where neither the file nor a flag says anything.
func TestExecProcessFile(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	b := newBox(t)
	b.must(os.Symlink("busybox", filepath.Join(b.bundle, "rootfs/bin/grep")))
	b.spec.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "1"}
	b.spec.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 3}
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL"}, Permitted: []string{"CAP_KILL"}, Effective: []string{"CAP_KILL"}}
	b.program("sleep", "60")
	b.want(0, "", "run", "-d", "c")
	const script = `grep -E "Cpus_allowed_list|CapEff" /proc/self/status; set -- $(cat /proc/self/stat); echo nice ${19} policy ${41}`
	says := func(want string, args ...string) {
		t.Helper()
		r := b.want(0, "", args...)
		if got := strings.Join(strings.Fields(r.out), " "); got != want {
			t.Errorf("%q says %q, want %q", args, got, want)
		}
	}
	const container = "CapEff: 0000000000000020 Cpus_allowed_list: 1 nice 3 policy 3"
	says(container, "exec", "c", "sh", "-c", script)
	file := filepath.Join(b.bundle, "process.json")
	process := func(p specs.Process) {
		t.Helper()
		p.Args, p.Cwd, p.Env = []string{"sh", "-c", script}, "/", []string{"PATH=/bin"}
		data, err := json.Marshal(p)
		b.must(err)
		b.must(os.WriteFile(file, data, 0o600))
	}
	process(specs.Process{})
	says(container, "exec", "--process", file, "c")
	process(specs.Process{
		ExecCPUAffinity: &specs.CPUAffinity{Initial: "1", Final: "0"}, Scheduler: &specs.Scheduler{Policy: specs.SchedOther, Nice: 7}, Capabilities: &specs.LinuxCapabilities{},
	})
	says("CapEff: 0000000000000000 Cpus_allowed_list: 0 nice 7 policy 0", "exec", "--process", file, "c")
	process(specs.Process{ExecCPUAffinity: &specs.CPUAffinity{Final: "9-"}})
	b.want(255, "process.execCPUAffinity.final: \"9-\" is no list", "exec", "--process", file, "c")
}
