package runtime

import (
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// running starts a container that sleeps.
func running(t *testing.T, change func(*Options)) *Container {
	t.Helper()
	o := bundle(t, "sleep", "60")
	if change != nil {
		change(&o)
	}
	o.Config = encode(t, o.Spec)
	o.Detached = true
	c, err := Run(o)
	must(t, err)
	t.Cleanup(func() {
		c.Kill(unix.SIGKILL, false)
		c.Wait()
		must(t, c.Delete(true))
	})
	return c
}

// executed starts a sleeping process in a container.
func executed(t *testing.T, c *Container, change func(*specs.Process)) *Process {
	t.Helper()
	spec, err := c.Spec()
	must(t, err)
	p := specs.Process{Args: []string{"sleep", "60"}, Cwd: "/", Env: spec.Process.Env, Capabilities: spec.Process.Capabilities}
	if change != nil {
		change(&p)
	}
	process, err := c.Exec(ExecOptions{Process: &p})
	must(t, err)
	t.Cleanup(func() {
		process.Signal(unix.SIGKILL)
		process.Wait()
		process.Close()
	})
	return process
}

// Every policy that this kernel lets root have, and its parameters, for the
// first process and for exec's, with ids of the container's own too.
func TestScheduler(t *testing.T) {
	for _, s := range []specs.Scheduler{
		{Policy: specs.SchedOther, Nice: 5},
		{Policy: specs.SchedOther, Nice: -5, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}},
		{Policy: specs.SchedBatch, Nice: 19},
		{Policy: specs.SchedIdle},
		{Policy: specs.SchedFIFO, Priority: 10},
		{Policy: specs.SchedRR, Priority: 99, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}},
		{Policy: specs.SchedDeadline, Runtime: 1e7, Deadline: 2e7, Period: 3e7, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork, specs.SchedFlagReclaim}},
	} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprint(s.Policy, s.Nice, own), func(t *testing.T) {
				goruntime.LockOSThread() // which ends with the test
				if err := setScheduler(0, &s, "x"); err != nil {
					t.Skip("this machine refuses it to root outside of containers too: ", err)
				}
				must(t, setScheduler(0, &specs.Scheduler{Policy: specs.SchedOther}, "x"))
				check := func(pid int) {
					t.Helper()
					got, err := unix.SchedGetAttr(pid, 0)
					must(t, err)
					want, _ := schedulerPolicy(s.Policy)
					reset := slices.Contains(s.Flags, specs.SchedFlagResetOnFork)
					if got.Policy != want || got.Nice != s.Nice || got.Priority != uint32(s.Priority) || s.Policy == specs.SchedDeadline && got.Runtime != s.Runtime || got.Deadline != s.Deadline || got.Period != s.Period || reset != (got.Flags&1 != 0) {
						t.Errorf("scheduled with %+v, want %+v", got, s)
					}
				}
				c := running(t, func(o *Options) {
					if own {
						mappedUser(o)
						mappedRoot(t, o)
					}
					o.Spec.Process.Scheduler = &s
					if s.Priority > 0 && cgroup.Detect() != cgroup.V2 { // v1 gives a group no time for such processes by itself
						o.Spec.Linux.Resources.CPU = &specs.LinuxCPU{RealtimeRuntime: new(int64)}
						*o.Spec.Linux.Resources.CPU.RealtimeRuntime = 10000
					}
				})
				check(c.Pid())
				check(executed(t, c, nil).Pid())
			})
		}
	}
}

func TestIOPriority(t *testing.T) {
	get := func(pid int) string {
		n, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(pid), 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		return fmt.Sprintf("class %d priority %d", n>>13, n&7)
	}
	for i, class := range ioClasses {
		t.Run(string(class), func(t *testing.T) {
			c := running(t, func(o *Options) {
				if i > 0 {
					mappedUser(o)
					mappedRoot(t, o)
				}
				o.Spec.Process.IOPriority = &specs.LinuxIOPriority{Class: class, Priority: 3}
			})
			if got, want := get(c.Pid()), fmt.Sprintf("class %d priority 3", i+1); got != want {
				t.Errorf("%s: %s, want %s", class, got, want)
			}
			if got, want := get(executed(t, c, nil).Pid()), fmt.Sprintf("class %d priority 3", i+1); got != want {
				t.Errorf("exec, the container's %s: %s, want %s", class, got, want)
			}
			own := &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 7}
			if got := get(executed(t, c, func(p *specs.Process) { p.IOPriority = own }).Pid()); got != "class 2 priority 7" {
				t.Errorf("exec with a priority of its own: %s", got)
			}
		})
	}
}

func cpusOf(t *testing.T, pid int) string {
	t.Helper()
	return statusOf(t, pid, "Cpus_allowed_list")
}

func statusOf(t *testing.T, pid int, key string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(data)) {
		if value, found := strings.CutPrefix(line, key+":"); found {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("/proc/%d/status has no %s", pid, key)
	return ""
}

// The first process has all CPUs of its cgroup, whatever its maker is confined
// to; a process of exec begins on the initial CPUs and goes on on the final ones.
func TestExecCPUAffinity(t *testing.T) {
	all := cpusOf(t, os.Getpid())
	if all != "0-1" {
		t.Skip("needs two CPUs, this machine has ", all)
	}
	var c *Container
	must(t, onCPUs("0", "x", func() error {
		c = running(t, func(o *Options) {
			o.Spec.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "1"}
		})
		return nil
	}))
	if got := cpusOf(t, c.Pid()); got != all {
		t.Errorf("the first process may run on %s, want %s", got, all)
	}
	for _, test := range []struct {
		affinity *specs.CPUAffinity
		want     string
	}{
		{nil, "1"}, // the container's own
		{&specs.CPUAffinity{}, all},
		{&specs.CPUAffinity{Initial: "1"}, "1"}, // the kernel's choice, see below
		{&specs.CPUAffinity{Initial: "1", Final: "0"}, "0"},
		{&specs.CPUAffinity{Initial: "0", Final: "0-1"}, "0-1"},
		{&specs.CPUAffinity{Final: "0,1"}, "0-1"},
	} {
		if got := cpusOf(t, executed(t, c, func(p *specs.Process) { p.ExecCPUAffinity = test.affinity }).Pid()); got != test.want && (test.affinity == nil || test.affinity.Final != "" || got != all) { // before Linux 6.2 a cgroup that is entered gives all CPUs
			t.Errorf("%+v: runs on %s, want %s", test.affinity, got, test.want)
		}
	}
	if got := cpusOf(t, os.Getpid()); got != all {
		t.Errorf("the runtime itself is left on %s", got)
	}
	for list, field := range map[string]string{"4000": "process.execCPUAffinity.initial: take the CPUs 4000: invalid argument", "x": `process.execCPUAffinity.initial: "x" is no list`} {
		p := specs.Process{Args: []string{"true"}, Cwd: "/", ExecCPUAffinity: &specs.CPUAffinity{Initial: list}}
		if _, err := c.Exec(ExecOptions{Process: &p}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error %v, want %q", err, field)
		}
	}
}

func TestParseIDs(t *testing.T) {
	for list, want := range map[string]string{"0": "[1]", "0-3,7": "[143]", " 1 , 64": "[2 1]", "63-64": "[9223372036854775808 1]"} {
		if got, err := parseIDs(list); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", list, got, err, want)
		}
	}
	for _, list := range []string{"", ",", "1,", "3-1", "-1", "1-", "a", "0x1", "1-2-3", "8192", "0-4294967295", "99999999999999999999", "+1"} {
		if got, err := parseIDs(list); err == nil {
			t.Errorf("%q gave %v", list, got)
		}
	}
}

// What the kernel shows of a container's memory is that policy.
func TestMemoryPolicy(t *testing.T) {
	for _, test := range []struct {
		policy specs.LinuxMemoryPolicy
		want   string
	}{
		{specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0"}, "interleave:0"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}, "bind=static:0"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolPreferred, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFRelativeNodes}}, "prefer=relative:0"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolPreferredMany, Nodes: "0"}, "prefer (many):0"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolWeightedInterleave, Nodes: "0"}, "weighted interleave:0"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolPreferred}, "local"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolLocal}, "local"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolDefault}, "default"},
	} {
		t.Run(string(test.policy.Mode)+test.policy.Nodes, func(t *testing.T) {
			if test.policy.Mode == specs.MpolWeightedInterleave && !exists("/sys/kernel/mm/mempolicy/weighted_interleave") {
				t.Skip("this kernel lacks it: Linux 6.9 has it")
			}
			c := running(t, func(o *Options) { o.Spec.Linux.MemoryPolicy = &test.policy })
			for _, pid := range []int{c.Pid(), executed(t, c, nil).Pid()} {
				maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/numa_maps", pid))
				if os.IsNotExist(err) {
					t.Skip("this kernel has no NUMA")
				}
				must(t, err)
				_, policy, _ := strings.Cut(string(maps), " ")
				if !strings.HasPrefix(policy, test.want+" ") {
					t.Errorf("%+v: the memory has %.40q, want %q", test.policy, policy, test.want)
				}
			}
		})
	}
}
