// Package engines_test puts lope below the engines that people use: containerd, Docker, Podman and Buildah, as Debian
// packages them. Each has its own daemon, directories and sockets, and the host is compared before and after.
package engines_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
)

// lope is the runtime under test, workshop where the engines of this run have their directories.
var lope, workshop string

func TestMain(m *testing.M) { os.Exit(env.Reaped(func() int { return testMain(m) })) }

func testMain(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // the tests say why they skip
	}
	dir, err := os.MkdirTemp("", "loper-engines-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	workshop = dir
	programs := os.Getenv("LOPER_PROGRAMS") // built, or installed, already
	if programs == "" {
		programs = filepath.Join(dir, "bin")
		if err := env.Build(programs); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	lope = filepath.Join(programs, "lope")
	host := env.Snapshot(env.Look{Programs: programs, Mark: dir, Cgroups: regexp.MustCompile(cgroupParent)})
	code := m.Run()
	if diff := host.Settle(10 * time.Second); len(diff) > 0 && code == 0 {
		fmt.Printf("the tests left something behind:\n%s\n", strings.Join(diff, "\n"))
		return 1
	}
	return code
}

// cgroupParent begins the names of the cgroups that the engines put their containers into.
const cgroupParent = "loper-engine-"

// engine is an engine's command line.
type engine struct {
	t       testing.TB
	dir     string // of its own
	parent  string // cgroup of its containers
	command []string
	environ []string
	user    *env.User // nil: root
}

// newEngine makes the directories of an engine, and looks at the end that nothing of it is left.
func newEngine(t testing.TB, name string, packages ...string) *engine {
	t.Helper()
	env.NeedRoot(t)
	env.Need(t, packages...)
	dir := filepath.Join(workshop, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, dir: dir, parent: cgroupParent + name}
	e.environ = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "TERM=xterm", "XDG_RUNTIME_DIR=" + dir, "LC_ALL=C.UTF-8"}
	t.Cleanup(func() {
		e.t = t
		removeGroups(e.parent)
		for range 100 { // a shim may still be on its way out
			if len(e.processes()) == 0 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if left := e.processes(); len(left) > 0 {
			t.Errorf("%s left processes:\n%s", name, strings.Join(left, "\n"))
		}
		env.UnmountBelow(dir) // Podman leaves its storage mounted
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return e
}

// result is how a command ended.
type result struct {
	args           []string
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("%s: exit %d\nstdout: %s\nstderr: %s", strings.Join(r.args, " "), r.code, r.stdout, r.stderr)
}

func (e *engine) cmd(args ...string) *exec.Cmd {
	all := append(append([]string(nil), e.command...), args...)
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Env, cmd.Dir = e.environ, "/"
	if e.user != nil {
		e.user.Command(cmd)
	}
	return cmd
}

// patience is more than any command takes.
const patience = 40 * time.Second

// feed runs a command with that input to its end.
func (e *engine) feed(stdin string, args ...string) result {
	e.t.Helper()
	cmd := e.cmd(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, 2*time.Second
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	watchdog := time.AfterFunc(patience, func() {
		e.t.Errorf("%v hangs; killed", args)
		cmd.Process.Kill()
	})
	cmd.Wait()
	watchdog.Stop()
	return result{args: args, stdout: strings.TrimSpace(stdout.String()), stderr: strings.TrimSpace(stderr.String()), code: cmd.ProcessState.ExitCode()}
}

func (e *engine) run(args ...string) result { return e.feed("", args...) }

// must runs a command that has to succeed and returns its output.
func (e *engine) must(args ...string) string {
	e.t.Helper()
	r := e.run(args...)
	if r.code != 0 {
		e.t.Fatal(r)
	}
	return r.stdout
}

// want runs a command that has to print just that.
func (e *engine) want(output string, args ...string) {
	e.t.Helper()
	if r := e.run(args...); r.code != 0 || r.stdout != output || r.stderr != "" {
		e.t.Errorf("want %q: %v", output, r)
	}
}

// shows runs a command that has to succeed and print something with all of the words.
func (e *engine) shows(words []string, args ...string) {
	e.t.Helper()
	r := e.run(args...)
	for _, w := range words {
		if r.code != 0 || !strings.Contains(r.stdout, w) {
			e.t.Errorf("want %q: %v", w, r)
			return
		}
	}
}

// fails runs a command that has to end with a code and say something of all the words.
func (e *engine) fails(code int, words []string, args ...string) {
	e.t.Helper()
	r := e.run(args...)
	if r.code != code {
		e.t.Errorf("want exit %d: %v", code, r)
		return
	}
	for _, w := range words {
		if !strings.Contains(r.stderr+r.stdout, w) {
			e.t.Errorf("want %q: %v", w, r)
		}
	}
}

// eventually waits until a command prints that.
func (e *engine) eventually(output string, args ...string) {
	e.t.Helper()
	e.poll(func(said string) bool { return said == output }, output, args)
}

// until waits until that is part of what a command prints.
func (e *engine) until(part string, args ...string) {
	e.t.Helper()
	e.poll(func(said string) bool { return strings.Contains(said, part) }, part, args)
}

func (e *engine) poll(enough func(string) bool, want string, args []string) {
	e.t.Helper()
	var r result
	for range 100 {
		if r = e.run(args...); enough(r.stdout) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	e.t.Errorf("never printed %q: %v", want, r)
}

// eventually waits until something is so.
func eventually(t testing.TB, so func() bool) {
	t.Helper()
	for range 100 {
		if so() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("never came about")
}

// section runs a part of a test that others don't build on.
func (e *engine) section(name string, f func(t *testing.T)) {
	outer := e.t.(*testing.T)
	outer.Run(name, func(t *testing.T) {
		e.t = t
		defer func() { e.t = outer }()
		f(t)
	})
}

// onTerminal runs a command on a terminal and returns what it shows.
func (e *engine) onTerminal(args ...string) string {
	e.t.Helper()
	term := env.StartTerminal(e.t, e.cmd(args...), 33, 77)
	if code := term.Wait(); code != 0 {
		e.t.Errorf("%v: exit %d: %s", args, code, term.Seen())
	}
	for range 100 { // what was written may not be read yet
		if term.Seen() != "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return term.Seen()
}
