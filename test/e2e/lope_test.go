package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// runtimeID is the container of the tests of lope, by which its cgroups are known.
const runtimeID = "e2e-of-lope"

// runtime is lope with a directory of its own and one bundle of busybox.
type runtime struct {
	t      testing.TB
	root   string
	bundle string
}

func newRuntime(t testing.TB) *runtime {
	t.Helper()
	env.NeedRoot(t)
	env.Need(t, "busybox", "tar")
	files, err := env.BusyboxFiles()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	r := &runtime{t: t, root: filepath.Join(dir, "state"), bundle: filepath.Join(dir, "bundle")}
	rootfs := filepath.Join(r.bundle, "rootfs")
	if err := os.Mkdir(r.root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		t.Fatal(err)
	}
	tar := exec.Command("tar", "-x", "-C", rootfs)
	tar.Stdin = strings.NewReader(string(env.Tar(files...)))
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.config("process.args", []string{"true"})
	t.Cleanup(func() {
		r.t = t
		for _, id := range strings.Fields(r.run("list", "-q").stdout) {
			r.run("delete", "--force", id)
		}
	})
	return r
}

// with is a config.json that differs from the default in one field; a nil value removes the field.
func (r *runtime) with(path string, value any) string {
	r.t.Helper()
	var spec map[string]any
	if err := json.Unmarshal([]byte(defaultConfig), &spec); err != nil {
		r.t.Fatal(err)
	}
	at, keys := spec, strings.Split(path, ".")
	for _, k := range keys[:len(keys)-1] {
		if at[k] == nil {
			at[k] = map[string]any{}
		}
		at = at[k].(map[string]any)
	}
	if last := keys[len(keys)-1]; value == nil {
		delete(at, last)
	} else {
		at[last] = value
	}
	data, err := json.Marshal(spec)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

func (r *runtime) config(path string, value any) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.bundle, "config.json"), []byte(r.with(path, value)), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *runtime) run(args ...string) result {
	r.t.Helper()
	return finish(r.t, exec.Command(lope, append([]string{"--root", r.root}, args...)...), "", append([]string{"(lope)"}, args...))
}

func (r *runtime) must(args ...string) string {
	r.t.Helper()
	got := r.run(args...)
	if got.code != 0 {
		r.t.Fatal(got)
	}
	return strings.TrimSpace(got.stdout)
}

func (r *runtime) state(id string) (state struct {
	Version, ID, Status, Bundle string
	Pid                         int
}) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.must("state", id)), &state); err != nil {
		r.t.Fatal(err)
	}
	return state
}

func TestLopeLifecycle(t *testing.T) {
	r := newRuntime(t)
	host := env.Snapshot(look(r.root))
	r.config("process.args", []string{"sh", "-c", "echo $0; sleep 100"})
	pidFile := filepath.Join(t.TempDir(), "pid")
	// The container keeps the streams of create, as a runtime must: they are files here.
	create := exec.Command(lope, "--root", r.root, "create", "--bundle", r.bundle, "--pid-file", pidFile, runtimeID)
	out, err := os.Create(filepath.Join(r.bundle, "out"))
	if err != nil {
		t.Fatal(err)
	}
	create.Stdout, create.Stderr = out, out
	err = create.Run()
	out.Close()
	if err != nil {
		said, _ := os.ReadFile(filepath.Join(r.bundle, "out"))
		t.Fatalf("create: %v: %s", err, said)
	}
	created := r.state(runtimeID)
	expect(t, "status", created.Status, "created")
	pid, _ := os.ReadFile(pidFile)
	if string(pid) == "" || created.Pid == 0 {
		t.Errorf("pid file %q, state's pid %d", pid, created.Pid)
	}
	if got := r.run("create", "--bundle", r.bundle, runtimeID); got.code == 0 {
		t.Error("an id in use is given out again")
	}
	if got := r.run("exec", runtimeID, "true"); got.code != 0 {
		t.Logf("exec before start: %v", got)
	}
	r.must("start", runtimeID)
	expect(t, "status", r.state(runtimeID).Status, "running")
	if got := r.run("start", runtimeID); got.code == 0 {
		t.Error("started twice")
	}
	if got := r.run("delete", runtimeID); got.code == 0 {
		t.Error("a running container is deleted without --force")
	}
	if got := r.run("exec", runtimeID, "sh", "-c", "echo inside; exit 3"); got.stdout != "inside\n" || got.code != 3 {
		t.Errorf("exec: %v", got)
	}
	if got := r.run("exec", runtimeID, "no-such-program"); got.code == 0 {
		t.Errorf("exec of nothing: %v", got)
	}
	r.must("pause", runtimeID)
	expect(t, "status", r.state(runtimeID).Status, "paused")
	r.must("resume", runtimeID)
	r.must("kill", runtimeID, "KILL")
	eventually(t, "stopped", func() bool { return r.state(runtimeID).Status == "stopped" })
	r.must("delete", runtimeID)
	if got := r.run("state", runtimeID); got.code == 0 {
		t.Error("state of a deleted container")
	}
	if got := r.run("delete", "--force", runtimeID); got.code != 0 {
		t.Errorf("delete --force of nothing: %v", got)
	}
	if diff := host.Settle(settle); len(diff) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(diff, "\n"))
	}
}

func TestLopeRun(t *testing.T) {
	r := newRuntime(t)
	for want, script := range map[int]string{0: "true", 5: "exit 5"} {
		r.config("process.args", []string{"sh", "-c", script})
		if got := r.run("run", "--bundle", r.bundle, "one"); got.code != want {
			t.Errorf("want exit %d: %v", want, got)
		}
	}
	r.config("process.args", []string{"no-such-program"})
	failed := r.run("run", "--bundle", r.bundle, "one")
	if failed.code == 0 {
		t.Error("a missing program is no error")
	}
	checkFailure(t, failed, failed.code, []string{"no-such-program"})
	r.config("process.args", []string{"/etc/passwd"})
	failed = r.run("run", "--bundle", r.bundle, "one")
	if failed.code == 0 {
		t.Error("a program that is none is no error")
	}
	checkFailure(t, failed, failed.code, []string{"/etc/passwd"})
	expect(t, "left", r.must("list", "-q"), "")
}

// A program of system calls can be looked at without running it.
func TestLopePlan(t *testing.T) {
	r := newRuntime(t)
	text := r.must("plan", r.bundle)
	for _, want := range []string{"clone", "execve", "/proc"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan does not speak of %s:\n%s", want, short(text))
		}
	}
	var plan any
	if err := json.Unmarshal([]byte(r.must("plan", "--format", "json", r.bundle)), &plan); err != nil {
		t.Errorf("plan as JSON: %v", err)
	}
}

const defaultConfig = `{
 "ociVersion": "1.2.0",
 "hostname": "bundle",
 "process": {
  "args": ["true"], "cwd": "/", "env": ["PATH=/bin:/usr/bin"], "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true,
  "capabilities": {"bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL", "CAP_CHOWN"]},
  "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]
 },
 "root": {"path": "rootfs", "readonly": false},
 "mounts": [
  {"destination": "/proc", "type": "proc", "source": "proc"},
  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
  {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
  {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
  {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
  {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}
 ],
 "linux": {
  "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
  "resources": {"devices": [{"allow": false, "access": "rwm"}]},
  "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
  "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"]
 }
}`
