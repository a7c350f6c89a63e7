package engines_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// daemon runs a daemon until the end of the test, or of this process however it comes: a shell holds the other end of a
// pipe.
func (e *engine) daemon(args ...string) {
	e.t.Helper()
	log, err := os.Create(filepath.Join(e.dir, "log"))
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("sh", append([]string{"-c", `"$@" </dev/null & read _; kill -TERM $!; wait`, "sh"}, args...)...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = e.environ, "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdin io.Closer
	if stdin, err = cmd.StdinPipe(); err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		stdin.Close()
		watchdog := time.AfterFunc(20*time.Second, func() {
			e.t.Errorf("%s does not end", args[0])
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		})
		cmd.Wait()
		watchdog.Stop()
		if said, _ := os.ReadFile(log.Name()); e.t.Failed() {
			e.t.Logf("%s said:\n%s", args[0], tail(string(said), 40))
		}
	})
}

// waitFor waits until a command works.
func (e *engine) waitFor(args ...string) {
	e.t.Helper()
	var r result
	for range 200 {
		if r = e.run(args...); r.code == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	said, _ := os.ReadFile(filepath.Join(e.dir, "log"))
	e.t.Fatalf("never came up: %v\n%s", r, tail(string(said), 20))
}

func tail(text string, lines int) string {
	list := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(list[max(0, len(list)-lines):], "\n")
}

// processes are those that name the engine's directory: daemons, shims, conmon.
func (e *engine) processes() []string {
	var list []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err == nil && bytes.Contains(line, []byte(e.dir+"/")) {
			list = append(list, filepath.Base(filepath.Dir(f))+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return list
}

// removeGroups removes what engines leave: the empty parents of their containers' cgroups.
func removeGroups(name string) {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	for _, top := range append(tops, "/sys/fs/cgroup/"+name) {
		var dirs []string
		filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			syscall.Rmdir(dir)
		}
	}
}

// sharedMount mounts a tmpfs in the engine's directory whose mounts are the host's as well.
func (e *engine) sharedMount() string {
	e.t.Helper()
	dir := filepath.Join(e.dir, "shared")
	if err := os.Mkdir(dir, 0o755); err != nil {
		e.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		e.t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_SHARED, ""); err != nil {
		e.t.Fatal(err)
	}
	return dir
}

// limitFiles are where a container's limits are seen from inside, below /sys/fs/cgroup.
func limitFiles() (memory, pids, cpu string) {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "memory.max", "pids.max", "cpu.max"
	}
	return "memory/memory.limit_in_bytes", "pids/pids.max", "cpu/cpu.cfs_quota_us"
}

// limit reads a limit of the container whose cgroup has that name, from the host.
func (e *engine) limit(name, file string) string {
	e.t.Helper()
	dir, base := filepath.Split(file)
	data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", dir, e.parent, name, base))
	if err != nil {
		e.t.Error(err)
	}
	return strings.TrimSpace(string(data))
}
