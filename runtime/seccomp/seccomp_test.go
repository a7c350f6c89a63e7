package seccomp

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func parse(t testing.TB, text string) *specs.LinuxSeccomp {
	t.Helper()
	s := new(specs.LinuxSeccomp)
	if err := json.Unmarshal([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestErrorsNameTheField(t *testing.T) {
	rule := func(r string) string { return `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[` + r + `]}` }
	for _, test := range []struct{ profile, want string }{
		{`{}`, `linux.seccomp.defaultAction: missing`},
		{`{"defaultAction":"SCMP_ACT_NO"}`, `linux.seccomp.defaultAction: unknown action "SCMP_ACT_NO"`},
		{`{"defaultAction":"SCMP_ACT_NOTIFY"}`, `linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is for single system calls`},
		{`{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}`, `linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW returns no errno`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}`, `linux.seccomp.defaultErrnoRet: 4096 is above 4095`},
		{`{"defaultAction":"SCMP_ACT_TRACE","defaultErrnoRet":65536}`, `linux.seccomp.defaultErrnoRet: 65536 is above 65535`},
		{`{"defaultAction":"SCMP_ACT_LOG","architectures":["SCMP_ARCH_X86","x86"]}`, `linux.seccomp.architectures[1]: unknown architecture "x86"`},
		{`{"defaultAction":"SCMP_ACT_LOG","flags":["SECCOMP_FILTER_FLAG_TSYNC","LOG"]}`, `linux.seccomp.flags[1]: unknown flag "LOG"`},
		{`{"defaultAction":"SCMP_ACT_LOG","listenerMetadata":"x"}`, `linux.seccomp.listenerMetadata: set without linux.seccomp.listenerPath`},
		{rule(`{"names":[],"action":"SCMP_ACT_ALLOW"}`), `linux.seccomp.syscalls[0].names: empty`},
		{rule(`{"names":["read",""],"action":"SCMP_ACT_ALLOW"}`), `linux.seccomp.syscalls[0].names[1]: empty`},
		{rule(`{"names":["read"]}`), `linux.seccomp.syscalls[0].action: missing`},
		{rule(`{"names":["read"],"action":"SCMP_ACT_LOG"},{"names":["read"],"action":"allow"}`), `linux.seccomp.syscalls[1].action: unknown action "allow"`},
		{rule(`{"names":["read"],"action":"SCMP_ACT_ALLOW","errnoRet":5}`), `linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_ALLOW returns no errno`},
		{rule(`{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":2147418112}`), `linux.seccomp.syscalls[0].errnoRet: 2147418112 is above 4095`},
		{rule(`{"names":["read"],"action":"SCMP_ACT_NOTIFY"}`), `linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath`},
		{rule(`{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_EQ"},{"index":6,"op":"SCMP_CMP_EQ"}]}`), `linux.seccomp.syscalls[0].args[1].index: 6 is above 5`},
		{rule(`{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"=="}]}`), `linux.seccomp.syscalls[0].args[0].op: unknown operator "=="`},
		{rule(`{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0}]}`), `linux.seccomp.syscalls[0].args[0].op: missing`},
		{`{"defaultAction":"SCMP_ACT_ERRNO","listenerPath":"/a","syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}`,
			`linux.seccomp.syscalls[0].names[0]: SCMP_ACT_NOTIFY is not possible for write, which hands over the listener`},
	} {
		f, err := Compile(parse(t, test.profile), "amd64")
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", test.profile, err, test.want)
		}
		if f.Insns != nil {
			t.Errorf("%s: a program beside the error", test.profile)
		}
	}
	if _, err := Compile(parse(t, `{"defaultAction":"SCMP_ACT_LOG"}`), "plan9"); err == nil || !strings.Contains(err.Error(), `"plan9"`) {
		t.Errorf("unknown GOARCH: %v", err)
	}
}

func TestNoProfile(t *testing.T) {
	f, err := Compile(nil, "amd64")
	if err != nil || f.Insns != nil || f.Flags != 0 {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestFlags(t *testing.T) {
	const notify = `"listenerPath":"/run/agent","syscalls":[{"names":["mount"],"action":"SCMP_ACT_NOTIFY"}],`
	for _, test := range []struct {
		fields string
		want   uintptr
	}{
		{``, 0},
		{`"flags":["SECCOMP_FILTER_FLAG_TSYNC"],`, 0},
		{`"flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW"],`, 6},
		{`"flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],`, 0},
		{notify, 8},
		{notify + `"flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],`, 8 | 32},
	} {
		f, err := Compile(parse(t, `{`+test.fields+`"defaultAction":"SCMP_ACT_ALLOW"}`), "amd64")
		if err != nil || f.Flags != test.want || f.Notify != (test.want&8 != 0) {
			t.Errorf("%s: flags %#x, notify %v, %v; want %#x", test.fields, f.Flags, f.Notify, err, test.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	f, err := Compile(parse(t, `{
		"defaultAction": "SCMP_ACT_ERRNO",
		"architectures": ["SCMP_ARCH_MIPS", "SCMP_ARCH_X86_64"],
		"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
		"syscalls": [
			{"names": ["read", "reed", "riscv_hwprobe"], "action": "SCMP_ACT_ALLOW"},
			{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 1}]}
		]}`), "amd64")
	want := []string{
		"linux.seccomp.architectures[0]: SCMP_ARCH_MIPS ignored: it cannot run on amd64",
		`linux.seccomp.syscalls[0].names[1]: unknown system call "reed" ignored`,
		"linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV ignored: no rule has SCMP_ACT_NOTIFY",
	}
	if err != nil || !slices.Equal(f.Warnings, want) {
		t.Errorf("%v\n got %q\nwant %q", err, f.Warnings, want)
	}
}

// The numbers are the kernel's, not this package's.
func TestVerdicts(t *testing.T) {
	const (
		allow = 0x7fff0000
		perm  = 0x00050001
		nosys = 0x00050026
		kill  = 0x80000000
	)
	twoOnOne := `{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
		{"index":0,"op":"SCMP_CMP_GE","value":2},{"index":0,"op":"SCMP_CMP_LE","value":1},{"index":1,"op":"SCMP_CMP_EQ","value":7}]}`
	for _, test := range []struct {
		name, profile string
		call          call
		want          uint32
	}{
		{"listed", `{"names":["read"],"action":"SCMP_ACT_ALLOW"}`, call{0, auditX86_64, [6]uint64{}}, allow},
		{"older than the profile", `{"names":["close"],"action":"SCMP_ACT_ALLOW"}`, call{1, auditX86_64, [6]uint64{}}, perm},
		{"newer than the profile", `{"names":["close"],"action":"SCMP_ACT_ALLOW"}`, call{4, auditX86_64, [6]uint64{}}, nosys},
		{"newest has no effect but counts", `{"names":["mseal"],"action":"SCMP_ACT_ERRNO"}`, call{461, auditX86_64, [6]uint64{}}, perm},
		{"x86 not listed", `{"names":["read"],"action":"SCMP_ACT_ALLOW"}`, call{3, auditX86, [6]uint64{}}, kill},
		{"x32 not listed", `{"names":["read"],"action":"SCMP_ACT_ALLOW"}`, call{0x40000000, auditX86_64, [6]uint64{}}, kill},
		{"skipped by a tracer", `{"names":["close"],"action":"SCMP_ACT_ALLOW"}`, call{0xffffffff, auditX86_64, [6]uint64{}}, nosys},
		{"two conditions on one argument are two rules", twoOnOne, call{41, auditX86_64, [6]uint64{5, 0}}, allow},
		{"and so is the third", twoOnOne, call{41, auditX86_64, [6]uint64{0, 7}}, allow},
		{"conditions on two arguments are one rule", `{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
			{"index":0,"op":"SCMP_CMP_EQ","value":2},{"index":1,"op":"SCMP_CMP_EQ","value":7}]}`, call{41, auditX86_64, [6]uint64{2, 8}}, perm},
		{"rule like the default hides nothing", `{"names":["socket"],"action":"SCMP_ACT_ERRNO"},
			{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_EQ","value":2}]}`, call{41, auditX86_64, [6]uint64{2}}, allow},
		{"high words count", `{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_EQ","value":2}]}`,
			call{41, auditX86_64, [6]uint64{0x100000002}}, perm},
		{"masked", `{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":2114060288}]}`,
			call{56, auditX86_64, [6]uint64{0x10000011}}, perm},
		{"masked, none of the bits", `{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":2114060288}]}`,
			call{56, auditX86_64, [6]uint64{0xffffffff01000011}}, allow},
	} {
		f, err := Compile(parse(t, `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[`+test.profile+`]}`), "amd64")
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := newSimulator(t, f.Insns).run(t, test.call); got != test.want {
			t.Errorf("%s: verdict %#x, want %#x", test.name, got, test.want)
		}
	}
}

// Every number its own action and every action far away: the jumps exceed
// eight bits.
func TestLongJumps(t *testing.T) {
	s := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86}}
	for i := range syscalls {
		if numberOf(callName(i), colX86_64) < 0 || i%4 == 0 { // not all, to stay within 4096
			continue
		}
		errno := uint(i)
		s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{callName(i)}, Action: specs.ActErrno, ErrnoRet: &errno,
			Args: []specs.LinuxSeccompArg{{Index: 2, Value: uint64(i), Op: specs.OpEqualTo}}})
	}
	f, err := Compile(s, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d instructions", len(f.Insns))
	sim := newSimulator(t, f.Insns)
	for i := range syscalls {
		for column, arch := range []uint32{auditX86_64, auditX86} {
			if nr := numberOf(callName(i), column); nr >= 0 {
				for _, v := range []uint64{uint64(i), 1 << 40} {
					c := call{nr: uint32(nr), arch: arch, args: [6]uint64{2: v}}
					if got, want := sim.run(t, c), reference(s, "amd64", c); got != want {
						t.Fatalf("%s: %+x: verdict %#x, want %#x", callName(i), c, got, want)
					}
				}
			}
		}
	}
}

func TestTooLong(t *testing.T) {
	s := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for i := range 70000 {
		s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{"ioctl"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{
			{Index: 1, Value: uint64(i), Op: specs.OpEqualTo}, {Index: 2, Value: 1, Op: specs.OpEqualTo}}})
		if i == 2000 {
			if _, err := Compile(s, "amd64"); err == nil || !strings.Contains(err.Error(), "the kernel accepts 4096") {
				t.Errorf("%d rules: %v", i, err)
			}
		}
	}
	if _, err := Compile(s, "amd64"); err == nil || !strings.Contains(err.Error(), "too many different conditions") {
		t.Errorf("%d rules: %v", len(s.Syscalls), err)
	}
}

func TestTableIsSorted(t *testing.T) {
	for i := range syscalls {
		name := callName(i)
		if i > 0 && callName(i-1) >= name {
			t.Errorf("%s after %s", name, callName(i-1))
		}
		for _, hint := range []int{-1, i - 1, i - 4, i, syscalls - 1} {
			if at := lookup(name, max(hint, -1)); at != i {
				t.Errorf("%s is found at %d, want %d", name, at, i)
			}
		}
		for column := range syscallSlots {
			if slot := syscallSlots[column][i]; slot != noSlot && slot >= directSlots && (column != colARM || slot >= directSlots+privateSlots) {
				t.Errorf("%s: %d is no slot", name, slot)
			}
		}
	}
	for _, name := range []string{"", "a", "zzz", "rea"} {
		if lookup(name, -1) >= 0 {
			t.Errorf("%q is found", name)
		}
	}
	if callName(callSocketcall) != "socketcall" || callName(callIpc) != "ipc" {
		t.Errorf("%s, %s", callName(callSocketcall), callName(callIpc))
	}
}

func TestBytes(t *testing.T) {
	f := Filter{Insns: []Insn{{Code: 0x1234, Jt: 5, Jf: 6, K: 0x789abcde}}}
	if got := fmt.Sprintf("%x", f.Bytes()); got != "34120506debc9a78" {
		t.Error(got)
	}
}

// semop on i386 is a part of ipc, whose number is above that of every call that the profile names.
func TestPartAboveTheNewestCall(t *testing.T) {
	s := &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"read", "mmap", "semop"}, Action: specs.ActAllow}},
	}
	f, err := Compile(s, "386")
	if err != nil {
		t.Fatal(err)
	}
	sim := newSimulator(t, f.Insns)
	for part, want := range map[uint64]uint32{1: retAllow, 2: retErrno | 1} {
		if got := sim.run(t, call{nr: 117, arch: conventionOf(specs.ArchX86).audit, args: [6]uint64{part}}); got != want {
			t.Errorf("ipc(%d): %#x, want %#x", part, got, want)
		}
	}
}
