package conformance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// expectation is a line of expected.txt.
type expectation struct{ name, verdict, why string }

type want int

const (
	either want = iota
	passes
	fails
)

// here is what is expected on this machine.
func (e expectation) here() want {
	switch e.verdict {
	case "pass", "race":
		return passes
	case "fail":
		return fails
	case "luck":
		return either
	}
	if machineHas(strings.TrimPrefix(e.verdict, "needs ")) {
		return passes
	}
	return fails
}

// controllers are files that tell that a cgroup v1 controller can do what a program asks for.
var controllers = map[string]string{
	"cgroup1":     "memory/memory.limit_in_bytes",
	"leaf_weight": "blkio/blkio.leaf_weight",
	"hugetlb":     "hugetlb/cgroup.procs",
	"net_cls":     "net_cls/cgroup.procs",
}

func machineHas(thing string) bool {
	if file, ok := controllers[thing]; ok {
		_, err := os.Stat(filepath.Join("/sys/fs/cgroup", file))
		return err == nil
	}
	// The only other one: CAP_SYS_RESOURCE.
	bounding, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_RESOURCE, 0, 0, 0)
	return err == nil && bounding == 1
}

func readExpected(file string) ([]expectation, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []expectation
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if len(words) < 2 {
			return nil, fmt.Errorf("%s: %q", file, line)
		}
		e := expectation{name: words[0], verdict: words[1]}
		words = words[2:]
		if e.verdict == "needs" && len(words) > 0 {
			e.verdict += " " + words[0]
			words = words[1:]
		}
		e.why = strings.Join(words, " ")
		thing, needs := strings.CutPrefix(e.verdict, "needs ")
		known := slices.Contains([]string{"pass", "fail", "race", "luck"}, e.verdict) || needs && (controllers[thing] != "" || thing == "CAP_SYS_RESOURCE")
		if !known {
			return nil, fmt.Errorf("%s: %s: %q is no verdict", file, e.name, e.verdict)
		}
		if e.why == "" && e.verdict != "pass" {
			return nil, fmt.Errorf("%s: %s has no reason", file, e.name)
		}
		list = append(list, e)
	}
	return list, nil
}

// difference tells which programs are in one list only.
func difference(expected []expectation, programs []string) string {
	var names, diff []string
	for _, e := range expected {
		if names = append(names, e.name); !slices.Contains(programs, e.name) {
			diff = append(diff, "the suite has no "+e.name)
		}
	}
	for _, p := range programs {
		if !slices.Contains(names, p) {
			diff = append(diff, "nothing is said of "+p)
		}
	}
	return strings.Join(diff, ", ")
}

// A table with a reason for all that does not pass.
func TestExpected(t *testing.T) {
	list, err := readExpected("expected.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(list, func(a, b expectation) int { return strings.Compare(a.name, b.name) }) {
		t.Error("expected.txt is not sorted")
	}
}
