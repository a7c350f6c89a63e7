package runtime

import (
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Each value that makes no sense is refused by the name of its field, before
// anything is made.
func TestProcessFieldsRefuse(t *testing.T) {
	own := func(s *specs.Spec) { // 10 ids of its own
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 10}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	}
	scheduler := func(c specs.Scheduler) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Process.Scheduler = &c }
	}
	io := func(c specs.LinuxIOPriority) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Process.IOPriority = &c }
	}
	memory := func(c specs.LinuxMemoryPolicy) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Linux.MemoryPolicy = &c }
	}
	sysctl := func(name, value string) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{name: value} }
	}
	for want, change := range map[string]func(s *specs.Spec){
		"process.scheduler.policy: is missing":                        scheduler(specs.Scheduler{}),
		`process.scheduler.policy: unknown policy "SCHED_X"`:          scheduler(specs.Scheduler{Policy: "SCHED_X"}),
		"process.scheduler.policy: SCHED_ISO is a reserved":           scheduler(specs.Scheduler{Policy: specs.SchedISO}),
		"process.scheduler.nice: 20 is not":                           scheduler(specs.Scheduler{Policy: specs.SchedOther, Nice: 20}),
		"process.scheduler.nice: -21 is not":                          scheduler(specs.Scheduler{Policy: specs.SchedBatch, Nice: -21}),
		"process.scheduler.priority: 0 is not in the":                 scheduler(specs.Scheduler{Policy: specs.SchedFIFO}),
		"process.scheduler.priority: 100 is not":                      scheduler(specs.Scheduler{Policy: specs.SchedRR, Priority: 100}),
		"process.scheduler.priority: is for":                          scheduler(specs.Scheduler{Policy: specs.SchedIdle, Priority: 1}),
		"process.scheduler.runtime: is for":                           scheduler(specs.Scheduler{Policy: specs.SchedIdle, Runtime: 1}),
		"process.scheduler.deadline: is for":                          scheduler(specs.Scheduler{Policy: specs.SchedFIFO, Priority: 1, Deadline: 1}),
		"process.scheduler.period: is for":                            scheduler(specs.Scheduler{Policy: specs.SchedOther, Period: 1}),
		"process.scheduler.runtime: 0 ns is not between":              scheduler(specs.Scheduler{Policy: specs.SchedDeadline, Deadline: 5, Period: 6}),
		"process.scheduler.runtime: 6 ns is not between":              scheduler(specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 6, Deadline: 5}),
		"process.scheduler.period: 4 ns is shorter":                   scheduler(specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 1, Deadline: 5, Period: 4}),
		`process.scheduler.flags: unknown flag "SCHED_FLAG_X"`:        scheduler(specs.Scheduler{Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{"SCHED_FLAG_X"}}),
		`process.ioPriority.class: unknown class ""`:                  io(specs.LinuxIOPriority{}),
		`process.ioPriority.class: unknown class "IOPRIO_CLASS_NONE"`: io(specs.LinuxIOPriority{Class: "IOPRIO_CLASS_NONE"}),
		"process.ioPriority.priority: 8 is not":                       io(specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 8}),
		"process.ioPriority.priority: -1 is not":                      io(specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: -1}),
		`process.execCPUAffinity.initial: "a" is no list`:             func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "a"} },
		`process.execCPUAffinity.final: "3-1" is no list`:             func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Final: "3-1"} },
		"process.execCPUAffinity.final: 8192 in \"0-8192\" is too":    func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Final: "0-8192"} },
		`linux.memoryPolicy.mode: unknown mode ""`:                    memory(specs.LinuxMemoryPolicy{}),
		`linux.memoryPolicy.mode: unknown mode "MPOL_X"`:              memory(specs.LinuxMemoryPolicy{Mode: "MPOL_X"}),
		`linux.memoryPolicy.flags: unknown flag "MPOL_F_X"`:           memory(specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{"MPOL_F_X"}}),
		"linux.memoryPolicy.flags: MPOL_F_RELATIVE_NODES and MPOL":    memory(specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFRelativeNodes, specs.MpolFStaticNodes}}),
		"linux.memoryPolicy.nodes: MPOL_LOCAL takes none":             memory(specs.LinuxMemoryPolicy{Mode: specs.MpolLocal, Nodes: "0"}),
		"linux.memoryPolicy.nodes: MPOL_DEFAULT takes none":           memory(specs.LinuxMemoryPolicy{Mode: specs.MpolDefault, Nodes: "0"}),
		`linux.memoryPolicy.nodes: "" is no list`:                     memory(specs.LinuxMemoryPolicy{Mode: specs.MpolBind}),
		`linux.memoryPolicy.nodes: "0-" is no list`:                   memory(specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0-"}),
		`linux.personality.flags[0]: unknown flag "READ_IMPLIES_EXEC"`: func(s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"READ_IMPLIES_EXEC"}}
		},
		`linux.personality.domain: unknown domain ""`: func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{} },
		`linux.timeOffsets.realtime: `: func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {Secs: 1}}
		},
		`linux.timeOffsets.boottime: 1000000000 nanoseconds`: func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Nanosecs: 1e9}}
		},
		"linux.timeOffsets: needs a new time namespace": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace, Path: "/proc/1/ns/time"})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}}
		},
		"linux.timeOffsets: needs a new time": func(s *specs.Spec) {
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}}
		},
		`linux.rootfsPropagation: unknown propagation "x"`: func(s *specs.Spec) { s.Linux.RootfsPropagation = "x" },
		"linux.namespaces: has no mount namespace": func(s *specs.Spec) {
			s.Linux.Namespaces, s.Hostname, s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, "", nil, nil
		},
		"process.user.gid: 4294967295 means":               func(s *specs.Spec) { s.Process.User.GID = noID },
		"process.user.additionalGids[1]: 4294967295 means": func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{1, noID} },
		"process.user.uid: 10 has no mapping in linux.uidMappings": func(s *specs.Spec) {
			own(s)
			s.Process.User.UID = 10
		},
		"process.user.gid: 65534 has no mapping in linux.gidMappings": func(s *specs.Spec) {
			own(s)
			s.Process.User.GID = 65534
		},
		"process.user.additionalGids[0]: 4294967294 has no mapping": func(s *specs.Spec) {
			own(s)
			s.Process.User.AdditionalGids = []uint32{noID - 1}
		},
		"process.oomScoreAdj: 1001 is not": func(s *specs.Spec) {
			score := 1001
			s.Process.OOMScoreAdj = &score
		},
		"process.consoleSize: 65536 x 1 is": func(s *specs.Spec) {
			s.Process.Terminal, s.Process.ConsoleSize = true, &specs.Box{Width: 65536, Height: 1}
		},
		"linux.sysctl.kernel.panic: belongs to no namespace":    sysctl("kernel.panic", "1"),
		"linux.sysctl.kernel/core_pattern: belongs to no":       sysctl("kernel/core_pattern", "|/x"),
		"linux.sysctl.vm.overcommit_memory: belongs":            sysctl("vm.overcommit_memory", "1"),
		"linux.sysctl.net/ipv4/../../kernel/panic: is no":       sysctl("net/ipv4/../../kernel/panic", "1"),
		"linux.sysctl.net.ipv4.//.//.x: is no name":             sysctl("net.ipv4.//.//.x", "1"),
		"linux.sysctl./net/ipv4/ip_forward: is no":              sysctl("/net/ipv4/ip_forward", "1"),
		"linux.sysctl.net..ipv4: is no name":                    sysctl("net..ipv4", "1"),
		"linux.sysctl.net.: is no name":                         sysctl("net.", "1"),
		"linux.sysctl.: is no name":                             sysctl("", "1"),
		"linux.sysctl.user.max_user_namespaces: needs a user":   sysctl("user.max_user_namespaces", "1"),
		"contains a NUL byte":                                   sysctl("net.ipv4.ip_forward", "1\x00"),
		"linux.sysctl.kernel.hostname: contradicts hostname":    sysctl("kernel.hostname", "x"),
		"linux.sysctl.kernel.shmmax: needs a ipc namespace":     func(s *specs.Spec) { without(s, specs.IPCNamespace); sysctl("kernel.shmmax", "1")(s) },
		"linux.sysctl.fs.mqueue.msg_max: needs a ipc namespace": func(s *specs.Spec) { without(s, specs.IPCNamespace); sysctl("fs.mqueue.msg_max", "1")(s) },
		"linux.sysctl.net.ipv4.ip_forward: needs a network":     func(s *specs.Spec) { without(s, specs.NetworkNamespace); sysctl("net.ipv4.ip_forward", "1")(s) },
		"linux.sysctl.kernel.domainname: needs a uts": func(s *specs.Spec) {
			s.Hostname = ""
			without(s, specs.UTSNamespace)
			sysctl("kernel.domainname", "x")(s)
		},
		"domainname: needs a uts namespace of the container's own": func(s *specs.Spec) { s.Hostname, s.Domainname = "", "x"; without(s, specs.UTSNamespace) },
		"process.rlimits[1].type: RLIMIT_CORE is listed twice": func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_CORE"}}
		},
		"process.rlimits[0].type: unknown limit \"core\"": func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "core"}} },
	} {
		spec := exampleSpec(t, false)
		change(spec)
		err := Validate(spec)
		if err == nil {
			_, err = Compile(spec, testHost(), Settings{})
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q, want a line with %q", err, want)
		}
	}
}

func without(s *specs.Spec, kind specs.LinuxNamespaceType) {
	var kept []specs.LinuxNamespace
	for _, ns := range s.Linux.Namespaces {
		if ns.Type != kind {
			kept = append(kept, ns)
		}
	}
	s.Linux.Namespaces = kept
}

func TestSysctlForms(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":             "net/ipv4/ip_forward",
		"net/ipv4/ip_forward":             "net/ipv4/ip_forward",
		"net/ipv4/conf/eth0.1/forwarding": "net/ipv4/conf/eth0.1/forwarding",
		"net.ipv4.conf.eth0/1.forwarding": "net/ipv4/conf/eth0.1/forwarding",
		"kernel":                          "kernel",
		"net.ipv4/../../kernel.panic":     "net/ipv4........kernel/panic",
	} {
		if got := sysctlPath(name); got != want && !strings.Contains(name, "..") {
			t.Errorf("%s: %s, want %s", name, got, want)
		} else if strings.Contains(got, "/../") {
			t.Errorf("%s leads to %s", name, got)
		}
	}
}

// What is set can be read inside, in either form of a name, with the host's
// user namespace and with one of the container's own.
func TestSysctls(t *testing.T) {
	for name, script := range map[string]string{
		"kernel.shmmax=4711":            "cat /proc/sys/kernel/shmmax",
		"kernel/msgmni=4712":            "cat /proc/sys/kernel/msgmni",
		"fs.mqueue.msg_max=47":          "cat /proc/sys/fs/mqueue/msg_max",
		"net.ipv4.conf.lo.forwarding=1": "cat /proc/sys/net/ipv4/conf/lo/forwarding",
		"net/ipv4/ping_group_range=1 4": "cat /proc/sys/net/ipv4/ping_group_range | tr '\\t' ' '",
		"kernel.domainname=example.org": "cat /proc/sys/kernel/domainname",
		"user.max_inotify_instances=7":  "cat /proc/sys/user/max_inotify_instances",
	} {
		key, value, _ := strings.Cut(name, "=")
		for _, own := range []bool{false, true} {
			if strings.HasPrefix(key, "user.") && !own {
				continue
			}
			t.Run(fmt.Sprintf("%s own %v", strings.ReplaceAll(key, "/", "_"), own), func(t *testing.T) {
				got := sh(t, func(o *Options) {
					if own {
						mappedUser(o)
						mappedRoot(t, o)
					}
					o.Spec.Linux.Sysctl = map[string]string{key: value}
				}, strings.ReplaceAll(script, " | tr '\\t' ' '", ""))
				if strings.Join(strings.Fields(got), " ") != value {
					t.Errorf("%q, want %q", got, value)
				}
			})
		}
	}
}
