package runtime

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/internal/userns"
	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// scoped is a container in a scope of systemd: of the machine's as root, of the user's own otherwise. It sleeps.
func scoped(t *testing.T) (Options, string) {
	t.Helper()
	if _, err := os.Lstat("/run/systemd/system"); err != nil {
		t.Skip("needs systemd: ", err)
	}
	if !userns.Privileged() {
		needUnified(t)
	}
	var o Options
	if userns.Privileged() {
		o = bundle(t, "sleep", "1000")
	} else {
		o = userBundle(t, "sleep", "1000")
	}
	o.Detached, o.SystemdCgroup = true, true
	o.Spec.Linux.CgroupsPath = "loper-test.slice:box:" + o.ID
	o.Config = encode(t, o.Spec)
	return o, "box-" + o.ID + ".scope"
}

// needUnified skips where users have no cgroups by systemd. It doesn't matter whether this process may make any itself.
func needUnified(t *testing.T) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		t.Skip("needs root, or cgroup v2")
	}
}

// userBundle is bundle for an ordinary user, who is root inside.
func userBundle(t *testing.T, args ...string) Options {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox of Debian's busybox-static: ", err)
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "rootfs")
	must(t, os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	for _, name := range []string{"sh", "cat", "sleep", "echo", "test"} {
		must(t, os.WriteFile(filepath.Join(root, "bin", name), busybox, 0o755))
	}
	spec := exampleSpec(t, true)
	spec.Root = &specs.Root{Path: root}
	spec.Process.Terminal = false
	spec.Process.Args = args
	return Options{Root: filepath.Join(dir, "state"), ID: id(t), Bundle: dir, Spec: spec, Config: encode(t, spec)}
}

// systemctl asks the systemd that scoped uses.
func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	if !userns.Privileged() {
		args = append([]string{"--user"}, args...)
	}
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		t.Errorf("systemctl %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// inside runs a script as one more process of the container.
func inside(t *testing.T, c *Container, script string, group ...string) string {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	p, err := c.Exec(ExecOptions{
		Process: &specs.Process{Args: []string{"sh", "-c", script}, Cwd: "/", Env: []string{"PATH=/bin"}, Capabilities: &specs.LinuxCapabilities{}},
		Stdout:  w, Stderr: w, Detached: true, Cgroup: group,
	})
	w.Close()
	if err != nil {
		t.Errorf("exec %q: %v", script, err)
		return ""
	}
	defer p.Close()
	var out bytes.Buffer
	_, err = out.ReadFrom(r)
	must(t, err)
	_, err = p.Wait()
	must(t, err)
	return strings.TrimSpace(out.String())
}

// TestSystemd takes a container through its life in a scope, as root or as an ordinary user.
func TestSystemd(t *testing.T) {
	o, unit := scoped(t)
	limit, tasks, shares, quota := int64(64<<20), int64(100), uint64(512), int64(50000)
	r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}, Pids: &specs.LinuxPids{Limit: &tasks},
		CPU: &specs.LinuxCPU{Shares: &shares, Quota: &quota}}
	if userns.Privileged() {
		misc, tun := int64(10), int64(200) // two devices that open without any capability
		r.Devices = []specs.LinuxDeviceCgroup{{Access: "rwm"}, {Allow: true, Type: "c", Major: &misc, Minor: &tun, Access: "r"}}
		o.Spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/tun", Type: "c", Major: misc, Minor: tun}, {Path: "/dev/fuse", Type: "c", Major: misc, Minor: 229}}
	}
	o.Spec.Linux.Resources = r
	o.Spec.Annotations = map[string]string{"org.systemd.property.TimeoutStopSec": "uint64 7"}
	c, err := Run(o)
	must(t, err)
	defer func() { must(t, c.Delete(true)) }()
	c, err = Load(o.Root, o.ID) // another command, without the flag
	must(t, err)
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.Pid()))
	must(t, err)
	if want := "/loper.slice/loper-test.slice/" + unit; strings.Count(string(cgroups), want) != strings.Count(string(cgroups), "\n") {
		t.Errorf("the first process is not in %s everywhere:\n%s", want, cgroups)
	}
	show := func(want map[string]string) {
		t.Helper()
		for name, value := range want {
			if got := systemctl(t, "show", "--value", "--property", name, unit); got != value {
				t.Errorf("%s = %s, want %s", name, got, value)
			}
		}
	}
	dir, v1 := c.state.Cgroups["memory"], true
	memoryProperty, memoryFile, cpuFile, cpuMax := "MemoryLimit", "memory.limit_in_bytes", "cpu.cfs_quota_us", "50000"
	if dir == "" {
		dir, v1 = c.state.Cgroups[""], false
		memoryProperty, memoryFile, cpuFile, cpuMax = "MemoryMax", "memory.max", "cpu.max", "50000 100000"
	}
	show(map[string]string{memoryProperty: "67108864", "TasksMax": "100", "CPUQuotaPerSecUSec": "500ms", "Delegate": "yes", "TimeoutStopUSec": "7s", "DefaultDependencies": "no"})
	file := func(name string) string {
		at := dir
		if controller, _, _ := strings.Cut(name, "."); v1 {
			at = c.state.Cgroups[controller]
		}
		data, err := os.ReadFile(filepath.Join(at, name))
		must(t, err)
		return strings.TrimSpace(string(data))
	}
	for name, want := range map[string]string{memoryFile: "67108864", "pids.max": "100", cpuFile: cpuMax} {
		if got := file(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	devices := func(when string) {
		t.Helper()
		if !userns.Privileged() {
			return
		}
		show(map[string]string{"DevicePolicy": "strict"})
		got := inside(t, c, "echo x >/dev/null && echo null; (: </dev/tun) && echo tun; (: >/dev/tun) 2>&1; (: </dev/fuse) 2>&1")
		if !strings.HasPrefix(got, "null\ntun\n") || strings.Count(got, "not permitted") != 2 {
			t.Errorf("devices %s: %s", when, got)
		}
	}
	devices("at first")
	if got := inside(t, c, "cat /proc/self/cgroup") + "\n"; strings.Count(got, ":/\n")+strings.Count(got, unit+"\n") < strings.Count(got, "\n") {
		t.Errorf("exec is in %s", got)
	}
	systemctl(t, "daemon-reload")
	devices("after a daemon-reload")
	limit, tasks = 128<<20, 0
	must(t, c.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}, Pids: &specs.LinuxPids{Limit: &tasks}}))
	show(map[string]string{memoryProperty: "134217728", "TasksMax": "1", "CPUQuotaPerSecUSec": "500ms"})
	if got := file(memoryFile) + " " + file("pids.max"); got != "134217728 0" {
		t.Errorf("after an update: %s", got)
	}
	if got := inside(t, c, "echo there"); got != "there" {
		t.Errorf("exec under a limit of no processes: %q", got)
	}
	tasks = 50
	must(t, c.Update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &tasks}}))
	if err := c.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}, Unified: map[string]string{"memory.nonsense": "1"}}); err == nil {
		t.Error("an unknown limit was accepted")
	}
	devices("after an update")
	systemctl(t, "daemon-reload")
	devices("after that and a daemon-reload")
	show(map[string]string{memoryProperty: "134217728", "TasksMax": "50"})
	must(t, c.Pause())
	if s := c.Status(); s != StatusPaused {
		t.Errorf("paused: %s", s)
	}
	must(t, c.Resume())
	if s, err := c.Stats(); err != nil || s.Memory.Usage == 0 || s.Memory.Limit != 128<<20 || s.Pids.Limit != 50 || (s.CPU.Pressure == nil) != v1 {
		t.Errorf("statistics %+v, %v", s, err)
	}
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	group := "sub"
	if v1 {
		group = "memory:sub"
	}
	if got := inside(t, c, "cat /proc/self/cgroup", group); !strings.Contains(got+"\n", "/sub\n") {
		t.Errorf("exec --cgroup sub is in %q", got)
	}
	if _, err := c.Exec(ExecOptions{Process: o.Spec.Process, Cgroup: []string{"../x"}}); err == nil {
		t.Error("exec --cgroup ../x is no error")
	}
	must(t, c.Kill(unix.SIGKILL, false))
	waitFor(t, "the container stops", func() bool { return c.Status() == specs.StateStopped })
	must(t, c.Delete(false))
	if _, err := os.Lstat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
	if got := systemctl(t, "list-units", "--all", "--plain", "--no-legend", unit); got != "" {
		t.Errorf("the unit is still there: %s", got)
	}
}

// A second container may not take the unit of the first, nor harm it by trying.
func TestSystemdUnitIsTaken(t *testing.T) {
	o, unit := scoped(t)
	c, err := Run(o)
	must(t, err)
	defer func() { must(t, c.Delete(true)) }()
	o.ID += "b"
	if other, err := Run(o); err == nil {
		t.Error("two containers in one scope")
		must(t, other.Delete(true))
	} else {
		t.Log(err)
	}
	if s := c.Status(); s != specs.StateRunning {
		t.Errorf("the first is %s", s)
	}
	if got := systemctl(t, "is-active", unit); got != "active" {
		t.Errorf("its unit is %s", got)
	}
}

// Without a path the unit is called after the container; what fails later leaves none.
func TestSystemdDefaultsAndFailure(t *testing.T) {
	o, _ := scoped(t)
	o.Spec.Linux.CgroupsPath = ""
	c, err := Run(o)
	must(t, err)
	want := "/system.slice/lope-"
	if !userns.Privileged() {
		want = "/user.slice/lope-"
	}
	if dir := c.state.Cgroups[""] + c.state.Cgroups["memory"]; !strings.Contains(dir, want+o.ID+".scope") {
		t.Errorf("the group is %s", dir)
	}
	must(t, c.Delete(true))
	o.ID += "b"
	o.Spec.Process.Args = []string{"/nowhere"}
	if _, err := Run(o); err == nil {
		t.Fatal("it runs")
	}
	if got := systemctl(t, "list-units", "--all", "--plain", "--no-legend", "lope-*"); got != "" {
		t.Errorf("units are still there: %s", got)
	}
}

// TestSystemdWithoutBus speaks to systemd's own socket, as where no bus runs.
func TestSystemdWithoutBus(t *testing.T) {
	o, unit := scoped(t)
	if !userns.Privileged() {
		t.Skip("needs root: that socket is root's alone")
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/systemd/private")
	o.Spec.Linux.Resources.Pids = tasks(20).Pids
	c, err := Run(o)
	must(t, err)
	defer func() { must(t, c.Delete(true)) }()
	must(t, c.Update(tasks(30)))
	if got := systemctl(t, "show", "--value", "--property", "TasksMax", unit); got != "30" {
		t.Errorf("TasksMax = %s", got)
	}
	must(t, c.Delete(true))
	if got := systemctl(t, "list-units", "--all", "--plain", "--no-legend", unit); got != "" {
		t.Errorf("the unit is still there: %s", got)
	}
}

// TestSystemdOOM has the kernel end a process of the scope, which a watch is told; the failed unit goes with the container.
func TestSystemdOOM(t *testing.T) {
	o, unit := scoped(t)
	limit := int64(16 << 20)
	o.Spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}}
	o.Spec.Process.Args = []string{"sh", "-c", "sleep 1; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"}
	c, err := Run(o)
	must(t, err)
	defer func() { must(t, c.Delete(true)) }()
	w, err := c.WatchOOM()
	must(t, err)
	defer w.Close()
	if err := w.Wait(); err != nil {
		t.Errorf("no kill was told: %v", err)
	}
	waitFor(t, "the container stops", func() bool { return c.Status() == specs.StateStopped })
	m, err := c.Cgroup()
	must(t, err)
	if n, err := m.OOMKills(); err != nil || n == 0 {
		t.Logf("%d kills, %v: systemd removed the group already", n, err)
	}
	must(t, c.Delete(false))
	if got := systemctl(t, "list-units", "--all", "--plain", "--no-legend", unit); got != "" {
		t.Errorf("the unit is still there: %s", got)
	}
}

// Without systemd the flag is an error of one line, and nothing is left.
func TestSystemdIsMissing(t *testing.T) {
	if _, err := os.Lstat("/run/systemd/system"); err == nil {
		t.Skip("needs a machine without systemd")
	}
	o := bundle(t, "true")
	o.SystemdCgroup = true
	o.Spec.Linux.CgroupsPath = "system.slice:x:" + o.ID
	_, err := Run(o)
	if err == nil || !strings.Contains(err.Error(), "systemd does not run on this machine") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if _, err := Load(o.Root, o.ID); err == nil {
		t.Error("a state directory was left")
	}
	if m, err := cgroup.Load(nil, nil); err != nil || m.Unit() != nil {
		t.Errorf("no cgroups: %v, %v", m, err)
	}
}

// TestSystemdInLoginSession does what TestSystemd does from a login session, whose processes a user may not move by
// writing to files: its scope lies beside the user's systemd and not below. So it does from a user namespace of that
// user's, as engines do.
func TestSystemdInLoginSession(t *testing.T) {
	const user = "tester" // of the virtual machine
	if !userns.Privileged() || os.Getenv("LOPER_TEST_VM") == "" {
		t.Skip("needs root in the virtual machine of the tests")
	}
	if _, err := os.Lstat("/run/systemd/system"); err != nil {
		t.Skip("needs systemd: ", err)
	}
	needUnified(t)
	self, err := os.Executable()
	must(t, err)
	for name, prefix := range map[string][]string{"session": nil, "user namespace": {"unshare", "--user", "--map-root-user"}} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--quiet", "--pipe", "--wait", "--uid=" + user, "--property=PAMName=login",
				"--setenv=TMPDIR=" + os.TempDir(), "--setenv=PATH=" + os.Getenv("PATH")}, prefix...)
			cmd := command(t, "systemd-run", append(args, self, "-test.run=^TestSystemd$", "-test.v")...)
			cmd.Dir = "/"
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestSystemd ") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
