// Package conformance_test runs the validation suite of the Open Container Initiative, opencontainers/runtime-tools, with
// lope, and compares what each program says with what expected.txt says of it.
//
// Other runtimes, to compare with: go test ./test/conformance -v -runtime runc. Nothing is expected of them; where they
// differ from lope is printed. (crun takes no hybrid cgroups: unmount /sys/fs/cgroup/unified in a mount namespace first.)
package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"loper.run/test/env"

	"golang.org/x/sys/unix"
)

var (
	other = flag.String("runtime", "", "program to run instead of lope, to see how it differs")
	only  = flag.String("only", "", "regular expression of the programs to run")
)

// atATime is how many programs run side by side: they mostly sleep.
const atATime = 6

// tries is how often a program with a race of its own may run.
const tries = 8

func TestConformance(t *testing.T) {
	env.NeedRoot(t)
	env.Need(t, "go", "tar")
	if runtime.GOARCH != "amd64" {
		t.Skip("needs amd64: the suite has root file systems for x86 alone")
	}
	expected, err := readExpected("expected.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // containers in user namespaces come here as other users
		t.Fatal(err)
	}
	program := *other
	if program == "" {
		programs := os.Getenv("LOPER_PROGRAMS") // built, or installed, already
		if programs == "" {
			programs = filepath.Join(dir, "bin")
			if err := env.Build(programs); err != nil {
				t.Fatal(err)
			}
		}
		program = filepath.Join(programs, "lope")
	}
	suite, err := buildSuite(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := difference(expected, suite.programs); diff != "" {
		t.Fatalf("expected.txt and the suite differ: %s", diff)
	}
	r, err := newRunner(suite, program, dir)
	if err != nil {
		t.Fatal(err)
	}
	host := env.Snapshot(env.Look{Programs: filepath.Dir(program), State: []string{r.root}, Mark: dir, Cgroups: regexp.MustCompile("cgrouptest|testdir|" + uuid)})
	verdicts := r.runAll(selected(t, expected))
	report(t, expected, verdicts)
	r.deleteLeft()
	diff := host.Settle(10 * time.Second)
	switch {
	case *other != "":
		env.UnmountBelow(dir) // what a peer mounted on the host stays there, or the directory couldn't be removed
	case len(diff) > 0:
		t.Errorf("left behind:\n%s", strings.Join(diff, "\n"))
	}
}

// uuid is what the suite's containers are called.
const uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"

func selected(t *testing.T, expected []expectation) []expectation {
	pattern, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	var list []expectation
	for _, e := range expected {
		if pattern.MatchString(e.name) {
			list = append(list, e)
		}
	}
	return list
}

// report prints the table and fails where a verdict is not the expected one.
func report(t *testing.T, expected []expectation, verdicts map[string]verdict) {
	passed := 0
	for _, e := range expected {
		v, ran := verdicts[e.name]
		if !ran {
			continue
		}
		if v.pass {
			passed++
		}
		t.Run(e.name, func(t *testing.T) {
			want := e.here()
			word := map[bool]string{true: "passes", false: "fails"}[v.pass]
			t.Logf("%-31s %-6s %s", e.name, word, v.said)
			if want != either && (want == passes) != v.pass {
				text := fmt.Sprintf("%s %s; expected.txt says %q (%s)\n%s", e.name, word, e.verdict, e.why, v.output)
				if *other != "" {
					t.Log("differs from lope: " + text)
					return
				}
				t.Error(text)
			}
		})
	}
	fmt.Printf("conformance: %d of %d programs pass\n", passed, len(verdicts))
}

// runner runs programs of the suite with one runtime.
type runner struct {
	suite   *suite
	runtime string // a script that gives the runtime a root of its own
	root    string
	cgroups sync.Mutex // held by a program that uses the one cgroup that the suite has for all
}

func newRunner(s *suite, program, dir string) (*runner, error) {
	program, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	if program, err = filepath.Abs(program); err != nil {
		return nil, err
	}
	r := &runner{suite: s, runtime: filepath.Join(dir, "runtime"), root: filepath.Join(dir, "root")}
	if err := os.Mkdir(r.root, 0o700); err != nil {
		return nil, err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s --root %s \"$@\"\n", program, r.root)
	return r, os.WriteFile(r.runtime, []byte(script), 0o700)
}

// runAll runs the programs side by side; those with races again and alone.
func (r *runner) runAll(list []expectation) map[string]verdict {
	verdicts := make([]verdict, len(list))
	slots := make(chan bool, atATime)
	var all sync.WaitGroup
	for i, e := range list {
		slots <- true
		all.Go(func() {
			defer func() { <-slots }()
			if strings.Contains(e.name, "cgroups") || strings.HasPrefix(e.name, "delete_") {
				r.cgroups.Lock()
				defer r.cgroups.Unlock()
			}
			verdicts[i] = r.run(e.name)
		})
	}
	all.Wait()
	byName := map[string]verdict{}
	for i, e := range list {
		v := verdicts[i]
		for n := 1; e.verdict == "race" && !v.pass && n < tries; n++ {
			v = r.run(e.name)
		}
		byName[e.name] = v
	}
	return byName
}

// deleteLeft deletes what programs left: some forget their container when they fail, and none removes its cgroup's parent
// or the one that delete_only_create_resources makes.
func (r *runner) deleteLeft() {
	out, _ := exec.Command(r.runtime, "list", "-q").Output()
	for _, id := range strings.Fields(string(out)) {
		exec.Command(r.runtime, "delete", "--force", id).Run()
	}
	var groups []string
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "testdir" || strings.HasSuffix(path, "testdir/cgrouptest") || strings.HasSuffix(path, "pids/cgrouptest")) {
			groups = append(groups, path)
		}
		return nil
	})
	for _, g := range slices.Backward(groups) {
		unix.Rmdir(g)
	}
}
