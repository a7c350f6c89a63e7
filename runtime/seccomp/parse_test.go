package seccomp

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Docker's own file resolves as Docker resolves it.
func TestParseDockersProfile(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/moby/profiles/seccomp").Output()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "default.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, caps := range [][]string{nil, dockerCaps, everyGate, {"CAP_SYS_ADMIN"}} {
		got, err := Parse(data, caps)
		if err != nil {
			t.Fatal(err)
		}
		want, err := moby.LoadProfile(string(data), &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("caps %v:\n%s", caps, d)
		}
	}
}

func TestParseConditions(t *testing.T) {
	for _, test := range []struct {
		rule, goarch, release string
		want                  bool
	}{
		{`"includes":{"caps":["CAP_A","CAP_B"]}`, "amd64", "6.1", true},
		{`"includes":{"caps":["CAP_A","CAP_C"]}`, "amd64", "6.1", false},
		{`"excludes":{"caps":["CAP_A","CAP_C"]}`, "amd64", "6.1", false},
		{`"excludes":{"caps":["CAP_C"]}`, "amd64", "6.1", true},
		{`"includes":{}`, "amd64", "6.1", true},
		{`"excludes":{}`, "amd64", "6.1", true},
		{`"includes":{"arches":["arm64","amd64"]}`, "amd64", "6.1", true},
		{`"includes":{"arches":["arm64"]}`, "amd64", "6.1", false},
		{`"includes":{"arches":["x86"]}`, "386", "6.1", true},
		{`"excludes":{"arches":["arm64"],"caps":["CAP_C"]}`, "arm64", "6.1", false},
		{`"includes":{"arches":["arm64"],"caps":["CAP_C"]}`, "arm64", "6.1", false},
		{`"includes":{"minKernel":"4.8"}`, "amd64", "4.8.0-rc1", true},
		{`"includes":{"minKernel":"4.8"}`, "amd64", "4.7.9", false},
		{`"includes":{"minKernel":"4.8"}`, "amd64", "10.0", true},
		{`"excludes":{"minKernel":"4.8"}`, "amd64", "6.18.44+", false},
	} {
		s, err := parseFor([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW",`+test.rule+`}]}`),
			[]string{"CAP_A", "CAP_B"}, test.goarch, test.release)
		if err != nil {
			t.Errorf("%s: %v", test.rule, err)
			continue
		}
		if got := len(s.Syscalls) == 1; got != test.want {
			t.Errorf("%s on %s %s: included %v, want %v", test.rule, test.goarch, test.release, got, test.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for data, want := range map[string]string{
		``:   "seccomp profile: unexpected end of JSON input",
		`[]`: "seccomp profile: json: cannot unmarshal array",
		`{"architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}`: "both architectures and archMap",
		`{"syscalls":[{"name":"a","names":["b"]}]}`:                                           "syscalls[0]: both name and names",
		`{"syscalls":[{"names":["b"],"includes":{"minKernel":"four"}}]}`:                      `syscalls[0].includes.minKernel: "four" is not like 4.8`,
	} {
		if _, err := parseFor([]byte(data), nil, "amd64", "6.1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", data, err, want)
		}
	}
	s, err := Parse([]byte(`{}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Compile(s, "amd64"); err == nil {
		t.Error("an empty profile compiles")
	}
}
