// Package e2e_test drives the real loper and lope against real images from real registries, as root and as an ordinary
// user, and looks at the host before and after.
package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"loper.run/test/env"
)

// Where the programs under test lie; set by TestMain.
var programs, loper, lope, inside string

// states is where the engines of this run have their directories.
var states string

var stopRegistries []func()

func TestMain(m *testing.M) { os.Exit(env.Reaped(func() int { return testMain(m) })) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "loper-e2e-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755) // the ordinary user runs them too
	states = filepath.Join(dir, "states")
	if err := os.Mkdir(states, 0o755); err != nil {
		panic(err)
	}

	programs = os.Getenv("LOPER_PROGRAMS") // tests programs that are built, or installed, already
	if programs == "" {
		programs = filepath.Join(dir, "bin")
		if err := env.Build(programs); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	loper, lope, inside = filepath.Join(programs, "loper"), filepath.Join(programs, "lope"), filepath.Join(dir, "inside")
	build := exec.Command("go", "build", "-o", inside, "loper.run/test/e2e/inside")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("go build inside: %v\n%s", err, out)
		return 1
	}
	if restore, err := env.OpenTun(); err == nil { // else users' containers have no way out, and say so
		defer restore()
	}
	host := env.Snapshot(look(states))
	code := m.Run()
	for _, stop := range stopRegistries {
		stop()
	}
	if diff := host.Settle(10 * time.Second); len(diff) > 0 && code == 0 {
		fmt.Printf("the tests left something behind:\n%s\n", strings.Join(diff, "\n"))
		return 1
	}
	return code
}

var ownCgroups = regexp.MustCompile("loper-[0-9a-f]{64}|" + runtimeID)

// look is what counts as left behind by an engine with these directories.
func look(state ...string) env.Look {
	return env.Look{State: state, Programs: programs, Mark: states, Cgroups: ownCgroups}
}

// registry is the one docker-registry of this run.
var registry = sync.OnceValues(func() (*env.Registry, error) {
	dir, err := os.MkdirTemp("", "loper-registry-")
	if err != nil {
		return nil, err
	}
	r, err := env.StartRegistry(dir, false)
	if err != nil {
		return nil, err
	}
	stopRegistries = append(stopRegistries, func() {
		r.Stop()
		os.RemoveAll(dir)
	})
	return r, nil
})

// pushed pushes an image, once for each name, and returns the reference to pull it by.
func pushed(t testing.TB, name string, image func() (*env.Image, error)) string {
	t.Helper()
	img, err := image()
	if err != nil {
		t.Skip(err)
	}
	r, err := registry()
	if err != nil {
		t.Skip(err)
	}
	if reference, ok := references.Load(name); ok {
		return reference.(string)
	}
	reference, err := r.Push(img, name)
	if err != nil {
		t.Fatalf("push %s: %v", name, err)
	}
	references.Store(name, reference)
	return reference
}

var references sync.Map

// busyboxWithInside is busybox and this package's helper program as /inside.
var busyboxWithInside = sync.OnceValues(func() (*env.Image, error) {
	base, err := env.Busybox()
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(inside)
	if err != nil {
		return nil, err
	}
	config := env.RunConfig{Cmd: []string{"sh"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	return env.NewImage(config, base.Layers[0], env.Gzipped(env.Tar(
		env.File{Name: "inside", Body: string(program)}, env.File{Name: "setuid", Body: string(program), Mode: 0o4755}))), nil
})

// engine is loper with directories of its own, run by one user.
type engine struct {
	t             testing.TB
	root, runroot string
	home          string
	user          *env.User  // nil: the user who runs the tests
	host          *env.Netns // where its commands run; nil: here
	environ       []string
}

// asRoot is an engine run by root.
func asRoot(t testing.TB) *engine {
	t.Helper()
	env.NeedRoot(t)
	return newEngine(t, nil)
}

// asUser is an engine run by an ordinary user who has ranges of subordinate ids, or none.
func asUser(t testing.TB, ranges bool) *engine {
	t.Helper()
	return newEngine(t, env.Ordinary(t, ranges))
}

// everyone runs a test as root, as a user with ranges of ids and as one without.
func everyone(t *testing.T, f func(t *testing.T, e *engine)) {
	t.Run("root", func(t *testing.T) { f(t, asRoot(t)) })
	t.Run("user", func(t *testing.T) { f(t, asUser(t, true)) })
	t.Run("single-id", func(t *testing.T) { f(t, asUser(t, false)) })
}

func newEngine(t testing.TB, user *env.User) *engine {
	t.Helper()
	dir, err := os.MkdirTemp(states, "")
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, user: user, root: filepath.Join(dir, "root"), runroot: filepath.Join(dir, "run"), home: filepath.Join(dir, "home")}
	os.Chmod(dir, 0o755)
	for _, d := range []string{e.root, e.runroot, e.home, filepath.Join(dir, "xdg")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if user != nil {
			if err := user.Own(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	e.environ = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.home, "XDG_RUNTIME_DIR=" + filepath.Join(dir, "xdg"), "TERM=xterm", "LC_ALL=C.UTF-8"}
	t.Cleanup(func() {
		e.t = t
		e.clean()
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return e
}

// clean removes every container, network, volume and image, with the engine's own commands.
func (e *engine) clean() {
	e.t.Helper()
	if ids := strings.Fields(e.run("ps", "-aq").stdout); len(ids) > 0 {
		if r := e.run(append([]string{"rm", "-f", "-v"}, ids...)...); r.code != 0 {
			e.t.Errorf("clean up: %v", r)
		}
	}
	if r := e.run("network", "prune", "-f"); r.code != 0 {
		e.t.Errorf("clean up: %v", r)
	}
	if names := strings.Fields(e.run("volume", "ls", "-q").stdout); len(names) > 0 {
		if r := e.run(append([]string{"volume", "rm"}, names...)...); r.code != 0 {
			e.t.Errorf("clean up: %v", r)
		}
	}
	if ids := strings.Fields(e.run("images", "-q").stdout); len(ids) > 0 {
		e.run(append([]string{"rmi", "-f"}, ids...)...)
	}
}

func (e *engine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(loper, append([]string{"--root", e.root, "--runroot", e.runroot}, args...)...)
	cmd.Env = e.environ
	cmd.Dir = "/"
	if e.user != nil {
		e.user.Command(cmd)
	}
	return cmd
}

// result is how a command ended.
type result struct {
	args           []string
	stdout, stderr string
	code           int // -1: by a signal
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("loper %s: exit %d after %v\nstdout: %s\nstderr: %s", strings.Join(r.args, " "), r.code, r.took.Round(time.Millisecond), short(r.stdout), short(r.stderr))
}

func short(s string) string {
	if len(s) > 2000 {
		return s[:2000] + "…"
	}
	return s
}

// run runs a command to its end; a minute is more than any takes.
func (e *engine) run(args ...string) result { return e.feed("", args...) }

func (e *engine) feed(stdin string, args ...string) result {
	e.t.Helper()
	if e.host == nil {
		return finish(e.t, e.command(args...), stdin, args)
	}
	var r result
	e.host.Do(func() { r = finish(e.t, e.command(args...), stdin, args) })
	return r
}

// measured runs a command and returns how much memory it had at most, in bytes. Between it and the tests stands a small
// process, since the kernel counts what a process was before its execve.
func (e *engine) measured(args ...string) (result, int64) {
	e.t.Helper()
	env.Need(e.t, "busybox")
	cmd := e.command(args...)
	cmd.Path, cmd.Args = "/bin/busybox", append([]string{"busybox", "time", "-f", "%M"}, cmd.Args...)
	r := finish(e.t, cmd, "", args)
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	kB, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	if err != nil {
		e.t.Fatalf("memory of %v: %v", r, err)
	}
	r.stderr = strings.Join(lines[:len(lines)-1], "\n")
	r.stderr = strings.Replace(r.stderr, "Command exited with non-zero status 1", "", 1)
	return r, kB << 10
}

func finish(t testing.TB, cmd *exec.Cmd, stdin string, args []string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	cmd.WaitDelay = 2 * time.Second
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() {
		t.Errorf("%v hangs; killed after a minute", args)
		cmd.Process.Kill()
	})
	cmd.Wait()
	watchdog.Stop()
	return result{args: args, stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode(), took: time.Since(begun)}
}

// must runs a command that has to succeed and returns its output without the last newline.
func (e *engine) must(args ...string) string {
	e.t.Helper()
	r := e.run(args...)
	if r.code != 0 {
		e.t.Fatal(r)
	}
	return strings.TrimRight(r.stdout, "\n")
}

// mustFail runs a command that has to end with a code, and say all of the words on its standard error: one
// line for a person, with no trace of the program's inside.
func (e *engine) mustFail(code int, words []string, args ...string) result {
	e.t.Helper()
	r := e.run(args...)
	checkFailure(e.t, r, code, words)
	return r
}

func checkFailure(t testing.TB, r result, code int, words []string) {
	t.Helper()
	if r.code != code {
		t.Errorf("want exit %d: %v", code, r)
		return
	}
	said := strings.ToLower(r.stderr)
	for _, w := range words {
		if !strings.Contains(said, strings.ToLower(w)) {
			t.Errorf("the error does not say %q: %v", w, r)
		}
	}
	// One line; a second may name the help, a third what was tried first.
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	if said == "" || strings.Contains(said, "goroutine ") || strings.Contains("\n"+said, "\npanic:") || len(lines) > 3 || len(lines[len(lines)-1]) > 500 {
		t.Errorf("not one clear line: %v", r)
	}
}

// busybox pulls the busybox image and tags it "busybox".
func (e *engine) busybox() *engine {
	e.t.Helper()
	reference := pushed(e.t, "busybox:latest", busyboxWithInside)
	e.must("pull", "-q", reference)
	e.must("tag", reference, "busybox")
	return e
}

// start runs a detached container and returns its id.
func (e *engine) start(args ...string) string {
	e.t.Helper()
	id := e.must(append([]string{"run", "-d"}, args...)...)
	if len(id) != 64 {
		e.t.Fatalf("run -d printed %q, want an id of 64 hex digits", id)
	}
	return id
}

// inspect evaluates a template for one container.
func (e *engine) inspect(id, template string) string {
	e.t.Helper()
	return e.must("inspect", "--format", template, id)
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// expect compares.
func expect(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
