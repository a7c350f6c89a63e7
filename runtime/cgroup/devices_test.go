package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rulesOf reads '+' or '-' (allow, deny), then the form of the v1 files: "-a *:* rwm", "+c 1:3 r".
func rulesOf(t testing.TB, lines ...string) []rule {
	t.Helper()
	var rules []rule
	for _, l := range lines {
		f := strings.Fields(l[1:])
		major, minor, _ := strings.Cut(f[1], ":")
		r, err := parseRule(specs.LinuxDeviceCgroup{Allow: l[0] == '+', Type: f[0], Access: f[2],
			Major: ptr(parseNumber(major)), Minor: ptr(parseNumber(minor))})
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	return rules
}

func TestParseRule(t *testing.T) {
	for _, d := range []specs.LinuxDeviceCgroup{
		{Type: "p"}, {Type: "cc"}, {Access: "rwx"}, {Major: ptr(int64(-2))}, {Minor: ptr(int64(1 << 32))},
	} {
		r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{}, d}}
		_, err := deviceRules(r)
		var limit *LimitError
		if !errors.As(err, &limit) || limit.Field != "linux.resources.devices[1]" {
			t.Errorf("%+v: %v", d, err)
		}
	}
	r, err := parseRule(specs.LinuxDeviceCgroup{})
	if err != nil || !r.everything() {
		t.Errorf("an empty rule is %v, %v", r, err)
	}
	if _, err := deviceRules(&specs.LinuxResources{Devices: make([]specs.LinuxDeviceCgroup, maxRules+1)}); err == nil {
		t.Error("any number of rules is taken")
	}
}

func TestDeviceSet(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []string
		allow bool
		want  []string
	}{
		{"nothing", nil, false, nil},
		{"order kept", []string{"-a *:* rwm", "+c 9:9 rw", "+b 8:0 r", "+c 1:3 rwm"}, false, []string{"c 9:9 rw", "b 8:0 r", "c 1:3 rwm"}},
		{"the same device is one entry", []string{"+c 1:3 r", "+c 1:3 w"}, false, []string{"c 1:3 rw"}},
		{"deny all forgets", []string{"+c 1:3 r", "-a *:* rwm"}, false, nil},
		{"deny takes out", []string{"+c 1:3 rwm", "+c 1:4 rwm", "-c 1:* wm"}, false, []string{"c 1:3 r", "c 1:4 r"}},
		{"deny takes away", []string{"+c 1:3 rwm", "-c 1:3 rwm"}, false, nil},
		{"privileged", []string{"+a *:* rwm"}, true, nil},
		{"all but one", []string{"+a *:* rwm", "-b 8:0 w", "+c 1:3 rwm"}, true, []string{"b 8:0 w"}},
		{"all of one major", []string{"+a 10:* rw"}, false, []string{"b 10:* rw", "c 10:* rw"}},
	} {
		s, err := newDeviceSet(rulesOf(t, c.rules...))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []string
		for _, e := range s.except {
			got = append(got, e.String())
		}
		if d := cmp.Diff(c.want, got); d != "" || s.allow != c.allow {
			t.Errorf("%s: allow %v %s", c.name, s.allow, d)
		}
	}
	_, err := newDeviceSet(rulesOf(t, "+c *:* rw", "-c 1:3 w"))
	if want := `linux.resources.devices: cgroup v1 cannot take "c 1:3 w" out of "c *:* rw"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// decide is what the rules mean, said in the plainest way, to compare the filter with.
func decide(rules []rule, kind byte, major, minor int64, access uint8) bool {
	for bit := uint8(1); bit <= accessWrite; bit <<= 1 {
		if access&bit == 0 {
			continue
		}
		allowed := false
		for _, r := range rules {
			if (r.kind == 'a' || r.kind == kind) && covers(r.major, major) && covers(r.minor, minor) && r.access&bit != 0 {
				allowed = r.allow
			}
		}
		if !allowed {
			return false
		}
	}
	return true
}

// run interprets the few instructions of a filter. It reports whether the program ended well.
func run(p []insn, kind byte, major, minor int64, access uint8) (allowed, ok bool) {
	ctx := map[int16]uint32{0: uint32(access)<<16 | 1, 4: uint32(major), 8: uint32(minor)}
	if kind == 'c' {
		ctx[0]++
	}
	var reg [16]uint32
	for pc, steps := 0, 0; pc < len(p) && steps < 100000; pc, steps = pc+1, steps+1 {
		i := p[pc]
		dst, src := i.regs&15, i.regs>>4
		if regs(1, 0) != 1 {
			dst, src = src, dst
		}
		switch i.code {
		case opLoad:
			reg[dst] = ctx[i.off]
		case opMov:
			reg[dst] = uint32(i.imm)
		case opMovReg:
			reg[dst] = reg[src]
		case opAnd:
			reg[dst] &= uint32(i.imm)
		case opShr:
			reg[dst] >>= uint32(i.imm)
		case opJump:
			pc += int(i.off)
		case opJumpNE:
			if reg[dst] != uint32(i.imm) {
				pc += int(i.off)
			}
		case opJumpIf:
			if reg[dst]&uint32(i.imm) != 0 {
				pc += int(i.off)
			}
		case opExit:
			return reg[0] == 1, true
		default:
			return false, false
		}
	}
	return false, false
}

func checkFilter(t *testing.T, rules []rule) {
	t.Helper()
	p := deviceFilter(rules)
	numbers := []int64{0, 1, 3, 1<<32 - 1}
	for _, r := range rules {
		numbers = append(numbers, r.major, r.minor)
	}
	if len(numbers) > 24 {
		numbers = numbers[:24]
	}
	for _, kind := range []byte{'b', 'c'} {
		for _, major := range numbers {
			for _, minor := range numbers {
				if major < 0 || minor < 0 {
					continue
				}
				for access := uint8(1); access <= accessAll; access++ {
					got, ok := run(p, kind, major, minor, access)
					if want := decide(rules, kind, major, minor, access); !ok || got != want {
						t.Fatalf("rules %v, %c %d:%d access %d: filter says %v (ended well: %v), rules say %v",
							rules, kind, major, minor, access, got, ok, want)
					}
				}
			}
		}
	}
}

func TestDeviceFilterMeansTheRules(t *testing.T) {
	for _, lines := range [][]string{
		nil,
		{"-a *:* rwm"},
		{"+a *:* rwm"},
		{"+c 1:3 r", "+c 1:3 w"},
		{"+c *:* rwm", "-c 1:3 w"},
		{"+a *:* rwm", "-b 4294967295:* m", "+b 4294967295:1 m"},
		{"-c 1:3 r", "+a *:* rw", "-a *:3 w"},
	} {
		checkFilter(t, rulesOf(t, lines...))
	}
	rules, err := deviceRules(noDevices)
	if err != nil {
		t.Fatal(err)
	}
	checkFilter(t, rules)
}

// fuzzRules makes rules of any bytes, from a small world in which they meet often.
func fuzzRules(b []byte) []rule {
	var rules []rule
	number := [8]int64{anyNumber, 0, 1, 3, 5, 1 << 31, 1<<32 - 1, anyNumber}
	for ; len(b) >= 2 && len(rules) < 40; b = b[2:] {
		rules = append(rules, rule{allow: b[0]&1 != 0, kind: "abcc"[b[0]>>1&3], access: b[0]>>3%accessAll + 1,
			major: number[b[1]&7], minor: number[b[1]>>3&7]})
	}
	return rules
}

// FuzzDeviceFilter compares the program with the rules' meaning, and gives it to the kernel's verifier as root.
func FuzzDeviceFilter(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4})
	f.Add([]byte{0x38, 0, 0x39, 0x12, 0x0d, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		rules := fuzzRules(b)
		checkFilter(t, rules)
		if os.Geteuid() == 0 {
			fd, err := loadDeviceFilter(deviceFilter(rules))
			if err != nil {
				t.Fatalf("%v: the kernel refuses the program: %v", rules, err)
			}
			unix.Close(fd)
		}
		// What v1 can express, it must express alike.
		s, err := newDeviceSet(rules)
		if err != nil {
			return
		}
		plain := []rule{{allow: s.allow, kind: 'a', major: anyNumber, minor: anyNumber, access: accessAll}}
		for _, e := range s.except {
			e.allow = !s.allow
			plain = append(plain, e)
		}
		for _, kind := range []byte{'b', 'c'} {
			for _, n := range []int64{0, 1, 3, 5, 7, 1 << 31} {
				for _, k := range []int64{0, 1, 3, 5, 7} {
					for access := uint8(1); access <= accessAll; access++ {
						if decide(plain, kind, n, k, access) != decide(rules, kind, n, k, access) {
							t.Fatalf("%v becomes %v: %c %d:%d %d", rules, plain, kind, n, k, access)
						}
					}
				}
			}
		}
	})
}

func TestDeviceFilterInTheKernel(t *testing.T) {
	m := unified(t)
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	fuse := "/dev/fuse"
	if _, err := os.Stat(fuse); err != nil {
		fuse = ""
	}
	check := func(step, path string, want bool) {
		t.Helper()
		if path == "" {
			return
		}
		got := p.do("open " + path)
		if want != (got == "<nil>") || !want && !strings.Contains(got, "operation not permitted") {
			t.Errorf("%s: open %s: %s", step, path, got)
		}
	}
	check("defaults", "/dev/null", true)
	check("defaults", "/dev/zero", true)
	check("defaults", fuse, false)

	// The defaults come last, so that denying one of them has no effect; so put another device first.
	for step, want := range map[string]bool{"allow": true, "deny": false} {
		r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
			{Access: "rwm"}, {Allow: want, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(229)), Access: "rw"}}}
		if err := m.Set(r); err != nil {
			t.Fatal(err)
		}
		check(step, fuse, want)
		check(step, "/dev/null", true)
	}

	// The filter itself, without the defaults: null yes, zero no. It replaces the one before.
	dir, err := m.openDir()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	for range 3 {
		if err := setDeviceFilter(dir, deviceFilter(rulesOf(t, "+c *:* rwm", "-c 1:5 w"))); err != nil {
			t.Fatal(err)
		}
	}
	check("by hand", "/dev/zero", false)
	check("by hand", "/dev/null", true)
	target, err := m.open("", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(target)
	fds, err := attachedFilters(target)
	if err != nil || len(fds) != 1 {
		t.Errorf("%d programs are attached, want 1 (%v)", len(fds), err)
	}
	// A second one put there by somebody else goes at the next Set.
	other, err := loadDeviceFilter(deviceFilter(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := attachFilter(unix.BPF_PROG_ATTACH, target, other, unix.BPF_F_ALLOW_MULTI, 0); err != nil {
		t.Fatal(err)
	}
	check("two", "/dev/null", false)
	if err := m.Set(noDevices); err != nil {
		t.Fatal(err)
	}
	check("one again", "/dev/null", true)
	for _, fd := range append(fds, other) {
		unix.Close(fd)
	}
}

func TestDevicesV1(t *testing.T) {
	m := onHost(t, "/"+unique())
	if m.find("devices") == nil {
		t.Skip("needs the v1 devices controller")
	}
	r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
		{Access: "rwm"},
		{Allow: true, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(229)), Access: "rwm"},
		{Allow: true, Type: "b", Major: ptr(int64(8)), Minor: ptr(int64(20)), Access: "rw"},
	}}
	if err := m.Create(r); err != nil {
		t.Fatal(err)
	}
	dir := m.Paths()["devices"]
	defaults := "c *:* m\nb *:* m\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\nc 5:2 rwm\nc 136:* rwm"
	if d := cmp.Diff("c 10:229 rwm\nb 8:20 rw\n"+defaults, content(t, dir, "devices.list")); d != "" {
		t.Error(d)
	}
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	if got := p.do("open /dev/zero"); got != "<nil>" {
		t.Errorf("zero: %s", got)
	}
	if _, err := os.Stat("/dev/fuse"); err == nil {
		if got := p.do("open /dev/fuse"); got != "<nil>" {
			t.Errorf("fuse: %s", got)
		}
		r.Devices[1].Allow = false
		if err := m.Set(r); err != nil {
			t.Fatal(err)
		}
		if got := p.do("open /dev/fuse"); !strings.Contains(got, "operation not permitted") {
			t.Errorf("fuse, denied: %s", got)
		}
	}
	r.Devices = []specs.LinuxDeviceCgroup{{Access: "rwm"}, {Allow: true, Type: "b", Major: ptr(int64(8)), Minor: ptr(int64(20)), Access: "r"}}
	if err := m.Set(r); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir, "devices.list"); got != "b 8:20 r\n"+defaults {
		t.Errorf("after Set: %s", got)
	}
	for want, allow := range map[string]bool{"a *:* rwm": true, defaults: false} {
		if err := m.Set(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: allow}}}); err != nil {
			t.Fatal(err)
		}
		if got := content(t, dir, "devices.list"); got != want {
			t.Errorf("all %v: %s", allow, got)
		}
	}
	// Limits of other controllers leave the devices alone.
	before := content(t, dir, "devices.list")
	if err := m.Set(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(9))}}); err != nil {
		t.Fatal(err)
	}
	if after := content(t, dir, "devices.list"); after != before {
		t.Errorf("%s", after)
	}
	if _, err := os.Stat(filepath.Join(dir, "devices.list")); err != nil {
		t.Error(err)
	}
}
