package seccomp

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

var update = flag.Bool("update", false, "rewrite golden files")

// dockerCaps are the capabilities of a container that asks for none.
var dockerCaps = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}

var everyGate = []string{"CAP_NET_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT",
	"CAP_SYS_MODULE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG",
	"CAP_SYS_NICE", "CAP_SYSLOG", "CAP_BPF", "CAP_PERFMON"}

func compile(t testing.TB, s *specs.LinuxSeccomp, goarch string) Filter {
	t.Helper()
	f, err := Compile(s, goarch)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range f.Warnings {
		t.Errorf("warning: %s", w)
	}
	return f
}

// Whatever the capabilities, nothing is allowed that Docker's profile denies,
// and what is denied beyond it is this list.
func TestDefaultIsAtLeastAsStrictAsDockers(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skipf("Docker's profile is resolved for the machine, which is %s", runtime.GOARCH)
	}
	sets := map[string][]string{"docker": dockerCaps, "none": nil, "all": everyGate}
	for _, c := range everyGate {
		sets[c] = []string{c}
	}
	denied := map[string]bool{}
	for name, caps := range sets {
		theirs, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}})
		if err != nil {
			t.Fatal(err)
		}
		f, g := compile(t, Default(caps), "amd64"), compile(t, theirs, "amd64")
		ours, docker := newSimulator(t, f.Insns), newSimulator(t, g.Insns)
		for _, arch := range []struct {
			audit uint32
			name  string
			base  uint32
			col   int
		}{{auditX86_64, "x86_64", 0, colX86_64}, {auditX86, "x86", 0, colX86}, {auditX86_64, "x32", x32Bit, colX32}} {
			for nr := range uint32(600) {
				for _, a := range []uint64{0, 1, 2, 3, 8, 9, 10, 16, 17, 29, 38, 40, 44, 46, 0x20000, 0x20008, 0xffffffff,
					0x11, 0x10000000, 0x7e020000, 0x100000002, 1 << 63} {
					c := call{nr: arch.base + nr, arch: arch.audit, args: [6]uint64{a}}
					mine, other := ours.run(t, c), docker.run(t, c)
					if mine == retAllow && other != retAllow {
						t.Errorf("caps %s: %s call %d with %#x is allowed, Docker gives %#x", name, arch.name, nr, a, other)
					}
					if mine != retAllow && other == retAllow && arch.name != "x32" {
						for i := range syscalls {
							if numberOf(callName(i), arch.col) == int32(nr) {
								denied[fmt.Sprintf("%s %s", arch.name, callName(i))] = true
							}
						}
					}
				}
			}
		}
	}
	var got []string
	for d := range denied {
		got = append(got, d)
	}
	slices.Sort(got)
	// bpf and perf_event_open: with CAP_SYS_ADMIN. socket and socketpair:
	// some families.
	want := []string{"x86 bpf", "x86 perf_event_open", "x86 socket", "x86 socketcall", "x86 socketpair",
		"x86_64 bpf", "x86_64 perf_event_open", "x86_64 socket", "x86_64 socketpair"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDefaultVerdicts(t *testing.T) {
	const allow, perm, nosys = 0x7fff0000, 0x00050001, 0x00050026
	for _, goarch := range []string{"amd64", "arm64"} {
		for _, caps := range [][]string{nil, dockerCaps, everyGate} {
			all := len(caps) == len(everyGate)
			s := newSimulator(t, compile(t, defaultFor(caps, goarch), goarch).Insns)
			for _, test := range []struct {
				name string
				args []uint64
				want uint32
				caps bool // allowed with all capabilities
			}{
				{"read", nil, allow, true}, {"execve", nil, allow, true}, {"openat2", nil, allow, true},
				{"socket", []uint64{1}, allow, true}, {"socket", []uint64{2}, allow, true}, {"socket", []uint64{10}, allow, true},
				{"socket", []uint64{16}, allow, true}, {"socket", []uint64{17}, allow, true},
				{"socket", []uint64{38}, perm, false}, {"socket", []uint64{40}, perm, false},
				{"socket", []uint64{38 | 1<<32}, perm, false}, {"socket", []uint64{0}, perm, false}, {"socket", []uint64{46}, perm, false},
				{"socket", []uint64{29}, perm, true}, {"socket", []uint64{44}, perm, true},
				{"socketpair", []uint64{1}, allow, true}, {"socketpair", []uint64{30}, perm, false},
				{"io_uring_setup", nil, perm, false}, {"io_uring_enter", nil, perm, false}, {"io_uring_register", nil, perm, false},
				{"userfaultfd", nil, perm, false}, {"keyctl", nil, perm, false}, {"add_key", nil, perm, false}, {"request_key", nil, perm, false},
				{"bpf", nil, perm, true}, {"perf_event_open", nil, perm, true},
				{"mount", nil, perm, true}, {"unshare", []uint64{0x10000000}, perm, true}, {"setns", nil, perm, true},
				{"clone", []uint64{0x11}, allow, true}, {"clone", []uint64{0x10000011}, perm, true}, {"clone3", nil, nosys, true},
				{"kexec_load", nil, perm, false}, {"finit_module", nil, perm, true}, {"open_tree_attr", nil, nosys, false},
			} {
				nr := numberOf(test.name, map[string]int{"amd64": colX86_64, "arm64": colARM64}[goarch])
				c := call{nr: uint32(nr), arch: map[string]uint32{"amd64": auditX86_64, "arm64": auditARM64}[goarch]}
				copy(c.args[:], test.args)
				want := test.want
				if all && test.caps {
					want = allow
				}
				if got := s.run(t, c); got != want {
					t.Errorf("%s with %d capabilities: %s%x gives %#x, want %#x", goarch, len(caps), test.name, test.args, got, want)
				}
			}
		}
	}
}

// No socket of a hidden family through 32-bit x86's multiplexer.
func TestDefaultSocketcall(t *testing.T) {
	s := newSimulator(t, compile(t, defaultFor(everyGate, "amd64"), "amd64").Insns)
	for part := range uint64(24) {
		got := s.run(t, call{nr: 102, arch: auditX86, args: [6]uint64{part}})
		if ok := got == retAllow; ok != (part >= 2 && part <= 20 && part != 8) {
			t.Errorf("socketcall(%d): %#x", part, got)
		}
	}
	for family, want := range map[uint64]bool{1: true, 2: true, 38: false, 40: false, 1<<32 | 38: false} {
		got := s.run(t, call{nr: 359, arch: auditX86, args: [6]uint64{family}})
		if ok := got == retAllow; ok != want {
			t.Errorf("32-bit socket(%d): %#x", family, got)
		}
	}
}

func TestDefaultIsTheCallers(t *testing.T) {
	a := Default(dockerCaps)
	for i := range a.Syscalls {
		for j := range a.Syscalls[i].Names {
			a.Syscalls[i].Names[j] = "mount"
		}
	}
	*a.DefaultErrnoRet = 7
	if b := Default(dockerCaps); *b.DefaultErrnoRet != 1 || b.Syscalls[len(b.Syscalls)-1].Names[0] == "mount" {
		t.Error("a change to one profile shows in the next")
	}
}

// The programs are reviewed as text. -update rewrites them.
func TestGolden(t *testing.T) {
	for _, test := range []struct {
		name   string
		goarch string
		spec   *specs.LinuxSeccomp
	}{
		{"default_amd64", "amd64", defaultFor(dockerCaps, "amd64")},
		{"default_arm64", "arm64", defaultFor(dockerCaps, "arm64")},
		{"args", "amd64", parse(t, `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
			{"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":97,"args":[{"index":0,"value":38,"op":"SCMP_CMP_EQ"}]},
			{"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":97,"args":[{"index":0,"value":40,"op":"SCMP_CMP_EQ"}]},
			{"names":["ioctl"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":1,"value":21522,"op":"SCMP_CMP_EQ"},{"index":0,"value":3,"op":"SCMP_CMP_GE"}]},
			{"names":["clone"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":2114060288,"valueTwo":268435456,"op":"SCMP_CMP_MASKED_EQ"}]}]}`)},
	} {
		got := disassemble(compile(t, test.spec, test.goarch).Insns)
		path := filepath.Join("testdata", test.name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-update rewrites it):\n%s", path, d)
		}
	}
}

func disassemble(insns []Insn) string {
	var b strings.Builder
	for i, in := range insns {
		var text string
		switch in.Code {
		case opJeq, opJge, opJset:
			text = fmt.Sprintf("%s %#x ? %d : %d", map[uint16]string{opJeq: "jeq", opJge: "jge", opJset: "jset"}[in.Code],
				in.K, i+1+int(in.Jt), i+1+int(in.Jf))
		case opJump:
			text = fmt.Sprintf("ja %d", i+1+int(in.K))
		case opRet:
			text = fmt.Sprintf("ret %#x", in.K)
		default:
			text = fmt.Sprint(bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}.Disassemble())
		}
		fmt.Fprintf(&b, "%4d %s\n", i, text)
	}
	return b.String()
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		Default(dockerCaps)
	}
}

func BenchmarkCompileDefault(b *testing.B) {
	s := Default(dockerCaps)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		f, err := Compile(s, runtime.GOARCH)
		if err != nil {
			b.Fatal(err)
		}
		n = len(f.Insns)
	}
	b.ReportMetric(float64(n), "insns")
}

func BenchmarkCompileDockers(b *testing.B) {
	s := dockersProfile(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(s, runtime.GOARCH); err != nil {
			b.Fatal(err)
		}
	}
}
