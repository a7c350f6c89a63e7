package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// profileFiles are the files that engines bring, by engine.
func profileFiles(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/moby/profiles/seccomp").Output()
	if err != nil {
		t.Fatal(err)
	}
	if files["Docker"], err = os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "default.json")); err != nil {
		t.Fatal(err)
	}
	const podman = "/usr/share/containers/seccomp.json"
	if files["Podman"], err = os.ReadFile(podman); err != nil {
		t.Logf("without Podman's profile, from golang-github-containers-common: %v", err)
		delete(files, "Podman")
	}
	return files
}

// eachProfile resolves the files for several sets of capabilities.
func eachProfile(t testing.TB, goarch string, f func(name string, s *specs.LinuxSeccomp)) {
	t.Helper()
	for engine, data := range profileFiles(t) {
		for set, caps := range map[string][]string{"none": nil, "usual": dockerCaps, "all": everyGate} {
			s, err := parseFor(data, caps, goarch, "6.18.0")
			if err != nil {
				t.Fatal(err)
			}
			f(fmt.Sprintf("%s's with %s of the capabilities on %s", engine, set, goarch), s)
		}
	}
}

// knownTo is a profile without the names that libseccomp does not know; runc
// ignores them.
func knownTo(numbers [][]int, s *specs.LinuxSeccomp) *specs.LinuxSeccomp {
	known := *s
	known.Syscalls = nil
	for _, rule := range s.Syscalls {
		rule.Names = slices.DeleteFunc(slices.Clone(rule.Names), func(n string) bool {
			at := lookup(n, -1)
			return at < 0 || numbers[0][at] == -1
		})
		if len(rule.Names) > 0 {
			known.Syscalls = append(known.Syscalls, rule)
		}
	}
	return &known
}

// A profile of the engines has a tenth of the instructions that a kernel takes.
func TestEnginesProfilesAreShort(t *testing.T) {
	longest := 0
	for _, goarch := range goarches {
		eachProfile(t, goarch, func(name string, s *specs.LinuxSeccomp) {
			f, err := Compile(s, goarch)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if n := len(f.Insns); n > 700 {
				t.Errorf("%s: %d instructions", name, n)
			}
			longest = max(longest, len(f.Insns))
		})
	}
	t.Logf("the longest has %d instructions", longest)
}

// Every call and every class of its arguments has libseccomp's verdict under
// the engines' profiles. The exceptions are the calls newer than the profile,
// and those that libseccomp does not know.
func TestEnginesProfilesAgainstLibseccomp(t *testing.T) {
	exe := buildHelper(t)
	numbers := scmpNumbers(t, exe)
	for _, goarch := range scmpArches {
		eachProfile(t, goarch, func(name string, s *specs.LinuxSeccomp) {
			known := knownTo(numbers, s)
			values := slices.Clone(edges)
			conditional := map[string]bool{}
			for _, rule := range s.Syscalls {
				for _, a := range rule.Args {
					values = append(values, a.Value, a.Value-1, a.Value+1, a.Value|1<<32, a.ValueTwo)
				}
				for _, n := range rule.Names {
					conditional[n] = conditional[n] || len(rule.Args) > 0
				}
			}
			f, err := Compile(known, goarch)
			if err != nil {
				t.Fatal(err)
			}
			raw := ask(t, exe, scmpInput(known, goarch))
			if raw == nil {
				t.Fatalf("%s: refused", name)
			}
			program := scmpProgram(t, raw, goarch)
			a, b := newSimulator(t, f.Insns), newSimulator(t, program)
			def := refAction(s.DefaultAction, s.DefaultErrnoRet)
			same, newer, differ := 0, 0, map[string]bool{}
			for i := range conventions {
				conv := &conventions[i]
				if at := slices.Index(family(goarch), conv.name); at < 0 || at > 0 && !slices.Contains(s.Architectures, conv.name) {
					continue
				}
				for nr := range uint16(480) {
					at := slices.Index(syscallSlots[conv.column][:], nr)
					if at >= 0 && numbers[i][at] < 0 && syscallParts[at] == 0 {
						continue // not known to this libseccomp
					}
					try := values
					if at >= 0 && !conditional[callName(at)] {
						try = values[:2]
					}
					c := call{nr: conv.base + uint32(nr), arch: conv.audit}
					for _, v := range try {
						c.args[0] = v
						switch got, want := a.run(t, c), swapBack(goarch, b.run(t, c)); {
						case got == want:
							same++
						case got == retErrno|enosys && want == def:
							newer++
						default:
							differ[fmt.Sprintf("%s %d: %#x, libseccomp's is %#x", conv.name, nr, got, want)] = true
						}
					}
				}
			}
			for d := range differ {
				t.Errorf("%s: %s", name, d)
			}
			t.Logf("%s: %d instructions, libseccomp %d; %d verdicts, %d newer", name, len(f.Insns), len(program), same, newer)
		})
	}
}
