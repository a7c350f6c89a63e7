package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"loper.run/runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestExitStatus(t *testing.T) {
	b := newBox(t)
	for code, script := range map[int]string{0: "true", 3: "exit 3", 128: "exit 128"} {
		b.program("sh", "-c", script)
		b.want(code, "", "run", "c")
	}
	b.program("nothing-of-that-name")
	b.want(127, `"nothing-of-that-name": executable file not found in $PATH`, "run", "c")
	b.want(127, "executable file not found", "create", "c")
	b.program("/bin")
	b.want(126, "permission denied", "run", "c")
	b.program("sleep", "100")
	b.want(1, "no such file", "run", "--bundle", "/nowhere", "c")
	b.want(0, "", "run", "-d", "c")
	b.want(1, "exists already", "run", "c")
	b.want(5, "", "exec", "c", "sh", "-c", "exit 5")
	b.want(128+int(unix.SIGTERM), "", "exec", "c", "sh", "-c", "kill $$")
	b.want(127, "executable file not found", "exec", "c", "nothing-of-that-name")
	b.want(255, "does not exist", "exec", "other", "true")
	b.want(255, "process.cwd", "exec", "--cwd", "/bin/busybox", "c", "true")
	b.want(255, "--user", "exec", "--user", "root", "c", "true")
	b.want(255, "needs --console-socket", "exec", "-d", "-t", "c", "true")
	b.want(255, "needs --tty", "exec", "--console-socket", "/x", "c", "true")
	b.want(0, "", "pause", "c")
	b.want(255, "is paused", "exec", "c", "true")
	b.want(1, "is paused", "delete", "c")
	b.want(0, "", "delete", "--force", "c")
	b.want(1, "does not exist", "delete", "c")
	b.want(0, "", "delete", "--force", "c")
	b.want(1, "unknown command", "nothing")
	b.want(1, "unknown flag", "run", "--nothing", "c")
	b.want(0, "Usage", "run", "--help")
	b.want(0, "Usage: lope run", "help", "run")
	b.want(0, "Usage: lope [flags] COMMAND", "help")
	b.want(1, "unknown command", "help", "nothing")
	b.want(0, "\ncommit: ", "--version")
	b.want(0, "spec: "+specs.Version, "--version")
}

// Ids become names of directories and cgroups.
func TestIDs(t *testing.T) {
	b := newBox(t)
	file := filepath.Join(t.TempDir(), "file")
	b.must(os.WriteFile(file, []byte("[]"), 0o600))
	bad := []string{"", "a b", "../x", "a/b", "/", ".", "..", "a\nb", "a\x1b[2J", "ä", "\xff", "a;b", "$x", strings.Repeat("x", 256), strings.Repeat("x", 4096)}
	for _, id := range bad {
		for _, args := range [][]string{
			{"create", id}, {"run", id}, {"state", id}, {"delete", id}, {"delete", "--force", id}, {"kill", id}, {"kill", id, "9"}, {"start", id},
			{"pause", id}, {"resume", id}, {"ps", id}, {"events", "--stats", id}, {"update", "--memory", "1m", id}, {"mounts", "add", id, file},
		} {
			b.want(1, "container id", args...)
		}
		b.want(255, "container id", "exec", id, "true")
	}
	b.want(1, "one container id is expected, not 2", "run", "a", "b")
	b.want(1, "--root is empty", "--root", "", "list")
	b.want(1, "one container id is expected, not 0", "start")
	b.want(1, "a container id is expected", "ps")
	if _, err := os.Lstat(b.root); err == nil {
		t.Error("a state directory was made")
	}
	for _, id := range []string{"a", "A_b+c-d.e", "..a", strings.Repeat("x", 255)} {
		b.want(0, "", "run", id)
		b.want(0, "", "create", id)
		b.want(0, id, "list", "-q")
		b.want(0, "", "delete", "--force", id)
	}
}

func TestKillNames(t *testing.T) {
	b := newBox(t)
	b.program("sh", "-c", "trap 'echo USR1' USR1; trap 'echo RT' 36; trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done")
	out := filepath.Join(b.bundle, "out")
	f, err := os.Create(out)
	b.must(err)
	defer f.Close()
	cmd := b.command("run", "-d", "c")
	cmd.Stdout = f
	b.must(cmd.Run())
	said := func(want string) {
		t.Helper()
		eventually(t, want, func() bool {
			data, _ := os.ReadFile(out)
			return string(data) == want
		})
	}
	want := "ready\n"
	said(want)
	for _, name := range []string{"USR1", "SIGUSR1", "usr1", strconv.Itoa(int(unix.SIGUSR1))} {
		b.want(0, "", "kill", "c", name)
		want += "USR1\n"
		said(want)
	}
	b.want(0, "", "kill", "c", "0")
	for _, name := range []string{"NOTHING", "65", "1x", ""} {
		b.want(1, "is no signal", "kill", "c", name)
	}
	b.want(0, "", "kill", "c")
	eventually(t, "stopped", func() bool { return b.state("c").Status == "stopped" })
	b.want(1, "container not running", "kill", "c", "0")
}

func TestList(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	if r := b.want(0, "", "list", "--format", "json"); r.out != "[]\n" && r.out != "null\n" {
		t.Errorf("no containers: %q", r.out)
	}
	b.want(0, "", "create", "one")
	if r := b.want(0, "", "list", "-q"); r.out != "one\n" {
		t.Errorf("list -q: %q", r.out)
	}
	lines := strings.Split(b.want(0, "", "list").out, "\n")
	if len(lines) != 3 || strings.Join(strings.Fields(lines[0]), " ") != "ID PID STATUS BUNDLE CREATED OWNER" || !strings.HasPrefix(lines[1], "one ") || !strings.Contains(lines[1], " created ") {
		t.Errorf("list: %q", lines)
	}
	var entries []struct {
		ID, Status, Bundle, Owner string
		Pid                       int
	}
	if err := json.Unmarshal([]byte(b.want(0, "", "list", "-f", "json").out), &entries); err != nil || len(entries) != 1 || entries[0].Bundle != b.bundle || entries[0].Pid == 0 || entries[0].Status != "created" {
		t.Errorf("list -f json: %+v, %v", entries, err)
	}
	b.want(1, "table and json", "list", "-f", "xml")
}

func TestPidFile(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	file := filepath.Join(b.bundle, "pid")
	b.want(0, "", "create", "--pid-file", file, "c")
	pid, err := os.ReadFile(file)
	b.must(err)
	if want := strconv.Itoa(b.state("c").Pid); string(pid) != want {
		t.Errorf("the file says %q, not %s", pid, want)
	}
	b.want(0, "", "start", "c")
	b.want(0, "", "exec", "-d", "--pid-file", file, "c", "sleep", "50")
	data, err := os.ReadFile(file)
	b.must(err)
	if comm, _ := os.ReadFile("/proc/" + string(data) + "/cmdline"); string(comm) != "sleep\x0050\x00" {
		t.Errorf("process %q is %q", data, comm)
	}
	before := len(b.processes())
	b.want(255, "no such file", "exec", "-d", "--pid-file", "/nowhere/pid", "c", "sleep", "50")
	if after := len(b.processes()); after != before {
		t.Errorf("%d processes, %d after a failure", before, after)
	}
	b.want(0, "", "delete", "--force", "c")
	b.want(1, "no such file", "create", "--pid-file", "/nowhere/pid", "c")
	b.want(1, "does not exist", "state", "c")
}

// Descriptors from 3 on are given away only when the caller passed them.
func TestPreserveFDs(t *testing.T) {
	b := newBox(t)
	b.program("sh", "-c", "cat <&3; ls /proc/self/fd")
	file := filepath.Join(b.bundle, "file")
	b.must(os.WriteFile(file, []byte("hi\n"), 0o600))
	for n, want := range map[string]string{"0": "", "1": "hi\n0\n1\n2\n3\n4\n"} {
		f, err := os.Open(file)
		b.must(err)
		cmd := b.command("run", "--preserve-fds", n, "c")
		cmd.ExtraFiles = []*os.File{f}
		r := b.finish(cmd)
		f.Close()
		if want != "" && r.out != want || want == "" && strings.Contains(r.out, "hi") {
			t.Errorf("--preserve-fds %s: %+v", n, r)
		}
	}
	b.want(1, "there is no descriptor 3", "run", "--preserve-fds", "1", "c")
	b.want(1, "there is no descriptor 3", "create", "--preserve-fds", "1", "c")
	b.want(1, "a number from 0 on", "run", "--preserve-fds", "-1", "c")
}

// The log has the lines that engines parse: the last with the level "error" is
// the reason. Without --debug there is no other, since Podman takes the whole
// file for one line.
func TestLog(t *testing.T) {
	b := newBox(t)
	b.program("nothing-of-that-name")
	said := func(format string, args ...string) []string {
		file := filepath.Join(t.TempDir(), "log")
		b.lope(append([]string{"--log", file, "--log-format", format}, args...)...)
		data, err := os.ReadFile(file)
		b.must(err)
		return strings.Split(strings.TrimSpace(string(data)), "\n")
	}
	type entry struct {
		Level, Msg string
		Time       time.Time
	}
	parse := func(line string) (e entry) {
		t.Helper()
		if err := json.Unmarshal([]byte(line), &e); err != nil || time.Since(e.Time) > time.Minute {
			t.Errorf("line %q: %v", line, err)
		}
		return e
	}
	if lines := said("json", "start", "c"); len(lines) != 1 || parse(lines[0]).Msg != `container "c" does not exist` || parse(lines[0]).Level != "error" {
		t.Errorf("lines %q", lines)
	}
	if lines := said("text", "start", "c"); len(lines) != 1 || !strings.HasSuffix(lines[0], ` level=error msg="container \"c\" does not exist"`) || !strings.HasPrefix(lines[0], `time="2`) {
		t.Errorf("lines %q", lines)
	}
	lines := said("json", "--debug", "create", "c")
	e := parse(lines[len(lines)-1])
	if e.Level != "error" || !strings.HasSuffix(e.Msg, `exec: "nothing-of-that-name": executable file not found in $PATH`) {
		t.Errorf("the last line is %+v", e)
	}
	var operations int
	for _, line := range lines[:len(lines)-1] {
		if e := parse(line); e.Level != "debug" {
			t.Errorf("%+v is no debug line", e)
		} else if strings.HasPrefix(e.Msg, "operation ") {
			operations++
		}
	}
	if operations < 50 {
		t.Errorf("only %d operations of the start are told", operations)
	}
	if r := b.lope("--log-format", "json", "start", "c"); parse(r.err).Level != "error" {
		t.Errorf("said %q", r.err)
	}
	b.want(1, "no such file", "--log", "/nowhere/log", "list")
	b.want(1, "text and json are known", "--log-format", "xml", "list")
}

// What has no effect is said; the container runs.
func TestWarnings(t *testing.T) {
	b := newBox(t)
	b.spec.Process.Capabilities.Bounding = append(b.spec.Process.Capabilities.Bounding, "CAP_NONSENSE")
	b.spec.Linux.MountLabel = "a:b:c"
	b.write()
	r := b.want(0, `unknown capability "CAP_NONSENSE"`, "run", "c")
	if !strings.Contains(r.err, "lope: warning: config.json: linux.mountLabel: has no effect") {
		t.Errorf("said %q", r.err)
	}
}

// A state directory that somebody else could change is not used.
func TestForeignStateDirectory(t *testing.T) {
	b := newBox(t)
	b.must(os.Mkdir(b.root, 0o700))
	b.must(os.Chmod(b.root, 0o777))
	b.want(1, "can be written to by others", "create", "c")
	b.must(os.Chmod(b.root, 0o700))
	b.must(os.Chown(b.root, 1234, 0))
	b.want(1, "belongs to user 1234", "create", "c")
	b.must(os.Chown(b.root, 0, 0))
}

func TestSpecRuns(t *testing.T) {
	b := newBox(t)
	b.must(os.Remove(filepath.Join(b.bundle, "config.json")))
	b.want(0, "", "spec")
	b.want(1, "file exists", "spec")
	spec, err := runtime.LoadSpec(b.bundle)
	b.must(err)
	spec.Process.Terminal = false
	spec.Process.Args = []string{"echo", "hello"}
	b.spec = spec
	b.write()
	b.want(0, "hello", "run", "c")
}
