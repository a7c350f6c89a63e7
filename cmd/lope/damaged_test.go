package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// clean checks that nothing of the containers is left.
func (b *box) clean(before, what string) {
	b.t.Helper()
	if entries, _ := os.ReadDir(b.root); len(entries) > 0 {
		b.t.Errorf("%s: state is left: %v", what, entries)
	}
	if after := b.host(); after != before {
		b.t.Errorf("%s: before\n%s\nafter\n%s", what, before, after)
	}
}

// However the record of a running container is damaged, each command says so in
// a line that names the file, list goes on with the others, and 'delete
// --force' ends the container and removes all, twice.
func TestDamagedState(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "1000")
	before := b.host()
	path := filepath.Join(b.root, "c", "state.json")
	var whole []byte
	replace := func(with string) func() {
		return func() { b.must(os.WriteFile(path, []byte(with), 0o600)) }
	}
	instead := func(make func(path string) error) func() {
		return func() {
			b.must(os.Remove(path))
			b.must(make(path))
		}
	}
	for name, damage := range map[string]func(){
		"empty":         replace(""),
		"half":          func() { b.must(os.Truncate(path, int64(len(whole)/2))) },
		"a byte less":   func() { b.must(os.Truncate(path, int64(len(whole)-2))) },
		"no JSON":       replace("\x00\xff"),
		"a list":        replace("[]"),
		"wrong types":   replace(`{"id": "c", "pid": "many"}`),
		"another's":     replace(`{"id": "other", "pid": 1}`),
		"deep":          replace(strings.Repeat("[", 1<<20)),
		"large":         func() { b.must(os.Truncate(path, 1<<30)) },
		"a directory":   instead(func(p string) error { return os.Mkdir(p, 0o700) }),
		"a pipe":        instead(func(p string) error { return unix.Mkfifo(p, 0o600) }),
		"a link":        instead(func(p string) error { return os.Symlink("/etc/passwd", p) }),
		"a device":      instead(func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) }),
		"foreign files": func() { replace("")(); b.must(os.MkdirAll(filepath.Join(b.root, "c", "x", "y"), 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.want(0, "", "run", "-d", "c")
			var err error
			whole, err = os.ReadFile(path)
			b.must(err)
			damage()
			for _, args := range [][]string{
				{"state", "c"}, {"start", "c"}, {"kill", "c"}, {"kill", "-a", "c"}, {"pause", "c"}, {"resume", "c"}, {"ps", "c"}, {"delete", "c"},
				{"update", "--memory", "1g", "c"}, {"events", "--stats", "c"}, {"mounts", "add", "c", "/dev/null"},
			} {
				b.want(1, path+" is damaged", args...)
			}
			b.want(255, path+" is damaged", "exec", "c", "true")
			b.want(0, path+" is damaged", "list")
			b.want(1, "exists already", "create", "c")
			if pids := b.processes(); len(pids) != 1 {
				t.Errorf("processes %v: a command that refuses does nothing", pids)
			}
			b.want(0, "", "delete", "--force", "c")
			b.want(0, "", "delete", "--force", "c")
			b.want(1, "does not exist", "delete", "c")
			b.clean(before, name)
		})
	}
}

// A state directory that is none, or that others could have written, is not
// gone by; what it points to stays.
func TestForeignContainerDirectory(t *testing.T) {
	b := newBox(t)
	b.must(os.MkdirAll(b.root, 0o700))
	dir := filepath.Join(b.root, "c")
	elsewhere := t.TempDir()
	b.must(os.WriteFile(filepath.Join(elsewhere, "file"), []byte("precious"), 0o600))
	bystander := exec.Command("sleep", "100")
	b.must(bystander.Start())
	defer func() { bystander.Process.Kill(); bystander.Wait() }()
	// A record of a process that is no container's.
	record := fmt.Sprintf(`{"id": "c", "pid": %d, "startTime": %s}`, bystander.Process.Pid, startTime(t, bystander.Process.Pid))
	before := b.host()
	for name, make := range map[string]func(){
		"a link":            func() { b.must(os.Symlink(elsewhere, dir)) },
		"a dangling link":   func() { b.must(os.Symlink("/nowhere", dir)) },
		"a file":            func() { b.must(os.WriteFile(dir, nil, 0o600)) },
		"a pipe":            func() { b.must(unix.Mkfifo(dir, 0o600)) },
		"open to all":       func() { b.must(os.Mkdir(dir, 0o700)); b.must(os.Chmod(dir, 0o777)) },
		"of another user":   func() { b.must(os.Mkdir(dir, 0o700)); b.must(os.Chown(dir, 1234, 1234)) },
		"with files of his": func() { b.must(os.Mkdir(dir, 0o700)); b.must(os.Chown(dir, 1234, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			make()
			if info, err := os.Lstat(dir); err == nil && info.IsDir() {
				b.must(os.WriteFile(filepath.Join(dir, "state.json"), []byte(record), 0o600))
			}
			b.want(1, dir+" is damaged", "state", "c")
			b.want(1, dir+" is damaged", "kill", "c", "KILL")
			b.want(1, dir+" is damaged", "delete", "c")
			b.want(0, dir+" is damaged", "list")
			b.want(1, "exists already", "create", "c")
			b.want(0, "", "delete", "--force", "c")
			b.want(0, "", "delete", "--force", "c")
			b.clean(before, name)
			if _, err := os.Stat(filepath.Join(elsewhere, "file")); err != nil {
				t.Error(err)
			}
			if err := bystander.Process.Signal(unix.Signal(0)); err != nil || strings.Contains(status(bystander.Process.Pid), "Z") {
				t.Error("the bystander was killed")
			}
		})
	}
}

func startTime(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(stat))[21]
}

func status(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if f := strings.Fields(string(stat)); len(f) > 2 {
		return f[2]
	}
	return ""
}

// What lies beside the record, or is missing there, holds no deletion up.
func TestDeleteAnyway(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "1000")
	before := b.host()
	dir := filepath.Join(b.root, "c")
	for name, damage := range map[string]func(pid int){
		"killed":          func(pid int) { unix.Kill(pid, unix.SIGKILL) },
		"frozen":          func(int) { b.want(0, "", "pause", "c") },
		"no config.json":  func(int) { os.Remove(filepath.Join(dir, "config.json")) },
		"bad config.json": func(int) { b.must(os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"), 0o600)) },
		"no gate":         func(int) { os.Remove(filepath.Join(dir, "gate")); os.Remove(filepath.Join(dir, "waiting")) },
		"a pipe for a gate": func(int) {
			os.Remove(filepath.Join(dir, "waiting"))
			b.must(unix.Mkfifo(filepath.Join(dir, "waiting"), 0o600))
		},
		"no cgroup": func(pid int) {
			unix.Kill(pid, unix.SIGKILL)
			eventually(t, "it is dead", func() bool { return status(pid) == "" || status(pid) == "Z" })
			groups, _ := filepath.Glob("/sys/fs/cgroup/*" + b.spec.Linux.CgroupsPath)
			for _, g := range groups {
				os.Remove(g)
			}
		},
		"no bundle": func(int) { b.must(os.Rename(b.bundle, b.bundle+".away")) },
		"no record": func(pid int) { unix.Kill(pid, unix.SIGKILL); os.Remove(filepath.Join(dir, "state.json")) },
		"groups of none": func(int) {
			b.change(dir, func(s map[string]any) { s["cgroups"] = map[string]string{"memory": "/etc"} })
		},
	} {
		for _, args := range [][]string{{"create"}, {"run", "-d"}} {
			t.Run(name+" "+args[0], func(t *testing.T) {
				b.t = t
				b.want(0, "", append(args, "c")...)
				pid := b.state("c").Pid
				damage(pid)
				cmd := b.command("delete", "--force", "c")
				cmd.Dir = "/"
				if r := b.finish(cmd); r.code != 0 {
					t.Errorf("%+v", r)
				}
				os.Rename(b.bundle+".away", b.bundle)
				eventually(t, "the process is gone", func() bool { return status(pid) == "" || status(pid) == "Z" })
				b.want(0, "", "delete", "--force", "c")
				if name == "groups of none" || name == "no record" { // nothing told where they are
					for _, g := range glob(b, "/sys/fs/cgroup/*"+b.spec.Linux.CgroupsPath) {
						os.Remove(g)
					}
				}
				b.clean(before, name)
			})
		}
	}
}

func glob(b *box, pattern string) []string {
	list, err := filepath.Glob(pattern)
	b.must(err)
	return list
}

// change edits the record of a container.
func (b *box) change(dir string, edit func(map[string]any)) {
	b.t.Helper()
	path := filepath.Join(dir, "state.json")
	data, err := os.ReadFile(path)
	b.must(err)
	var s map[string]any
	b.must(json.Unmarshal(data, &s))
	edit(s)
	data, err = json.Marshal(s)
	b.must(err)
	b.must(os.WriteFile(path, data, 0o600))
}

// A hook that never ends keeps its runtime, and so the container's lock. A
// forced deletion ends both.
func TestDeleteWithAStuckHook(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "1000")
	before := b.host()
	mark := fmt.Sprintf("%d.5", 100000+os.Getpid())
	stuck := []specs.Hook{{Path: "/bin/busybox", Args: []string{"sleep", mark}}}
	inside := []specs.Hook{{Path: "/bin/busybox", Args: []string{"busybox", "sleep", mark}}}
	for name, hooks := range map[string]*specs.Hooks{
		"prestart":        {Prestart: stuck}, //nolint:staticcheck // engines still use it
		"createRuntime":   {CreateRuntime: stuck},
		"createContainer": {CreateContainer: stuck},
		"startContainer":  {StartContainer: inside},
		"poststart":       {Poststart: stuck},
		"poststop":        {Poststop: stuck},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "createRuntime" {
				t.Skip("takes seconds of waiting")
			}
			b.t = t
			b.spec.Hooks = hooks
			b.write()
			cmd := b.command("run", "-d", "c")
			b.must(cmd.Start())
			running := func() bool {
				out, _ := exec.Command("pgrep", "-f", "sleep "+mark).Output()
				return len(out) > 0
			}
			if name == "poststop" {
				b.must(cmd.Wait())
			} else {
				eventually(t, "the hook runs", running)
			}
			start := time.Now()
			b.want(0, "", "delete", "--force", "c")
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
			cmd.Wait()
			eventually(t, "the hook is gone", func() bool { return !running() })
			b.clean(before, name)
		})
	}
}
