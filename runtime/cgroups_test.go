package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loper.run/internal/userns"
	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A path of foreign making leads nowhere but below the hierarchies' roots.
func TestCgroupsPathDoesNotEscape(t *testing.T) {
	for _, path := range []string{"/..", "../x", "/loper/../../x", "/a/./../b", "/loper\n0::/", "..", "/", "/" + strings.Repeat("a", 300), "/a\x00b"} {
		o := bundle(t, "true")
		o.Spec.Linux.CgroupsPath = path
		c, err := Run(o)
		if err == nil {
			t.Errorf("cgroupsPath %q was accepted", path)
			must(t, c.Delete(true))
			continue
		}
		if !strings.Contains(err.Error(), "cgroupsPath") || strings.Contains(err.Error(), "\n") {
			t.Errorf("cgroupsPath %q: %v", path, err)
		}
		if _, err := os.Lstat(filepath.Join(o.Root, o.ID)); err == nil {
			t.Errorf("cgroupsPath %q left a state directory", path)
		}
	}
}

// The file that makes the kernel run a program of the host (CVE-2022-0492) is out of reach, also of a container that may
// write to its cgroups and mount: with a cgroup namespace, and without one.
func TestReleaseAgentIsOutOfReach(t *testing.T) {
	for _, namespace := range []bool{true, false} {
		got := sh(t, func(o *Options) {
			for i, m := range o.Spec.Mounts {
				if m.Type == "cgroup" {
					o.Spec.Mounts[i].Options = []string{"nosuid", "noexec", "nodev", "rw"}
				}
			}
			if !namespace {
				without(o.Spec, specs.CgroupNamespace)
			}
			mappedUser(o) // all capabilities, in a user namespace of its own
			mappedRoot(t, o)
			all := []string{"CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"}
			o.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
		}, `b=/bin/busybox; $b find /sys/fs/cgroup -name release_agent
			$b mkdir -p /tmp/m
			for h in memory cpu pids freezer rdma name=systemd; do
				$b mount -t cgroup -o ${h#name=},none none /tmp/m 2>/dev/null || $b mount -t cgroup -o $h none /tmp/m 2>/dev/null || continue
				[ -e /tmp/m/release_agent ] && echo x 2>/dev/null >/tmp/m/release_agent && echo "$h: written"
				$b umount /tmp/m
			done
			$b find /sys/fs/cgroup -maxdepth 2 -name memory.max -o -maxdepth 2 -name memory.limit_in_bytes | while read f; do
				echo 1 2>/dev/null >$f && echo "$f: written"
			done; echo end`)
		if got != "end" {
			t.Errorf("with a cgroup namespace %v:\n%s", namespace, got)
		}
	}
}

// tasksLimit is pids.max of a container's group, on v1 and v2.
func tasksLimit(t *testing.T, c *Container) string {
	t.Helper()
	for _, controller := range []string{"pids", ""} {
		if data, err := os.ReadFile(filepath.Join(c.state.Cgroups[controller], "pids.max")); err == nil {
			return strings.TrimSpace(string(data))
		}
	}
	t.Skip("needs the pids controller")
	return ""
}

func tasks(n int64) *specs.LinuxResources {
	return &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &n}}
}

func TestUpdate(t *testing.T) {
	o := bundle(t, "sleep", "1000")
	o.Detached = true
	o.Spec.Linux.Resources.Pids = tasks(50).Pids
	c, err := Create(o)
	must(t, err)
	defer func() { must(t, c.Delete(true)) }()
	must(t, c.Update(tasks(60))) // of a created container
	must(t, c.Start())
	if got := tasksLimit(t, c); got != "60" {
		t.Errorf("pids.max is %s", got)
	}
	must(t, c.Update(tasks(-1)))
	if got := tasksLimit(t, c); got != "max" {
		t.Errorf("pids.max is %s", got)
	}
	must(t, c.Update(&specs.LinuxResources{}))
	if got := inside(t, c, "echo x >/dev/null && echo null; /bin/busybox mknod /tmp/fuse c 10 229 2>/dev/null; (: </tmp/fuse) 2>/dev/null || echo no"); got != "null\nno" {
		t.Errorf("devices after an update: %q", got)
	}
	var limit *cgroup.LimitError
	if err := c.Update(tasks(1 << 50)); !errors.As(err, &limit) || limit.Field != "linux.resources.pids.limit" {
		t.Errorf("too many tasks: %v", err)
	}
	must(t, c.Update(tasks(0)))
	if got := inside(t, c, "echo there"); got != "there" {
		t.Errorf("exec under a limit of no processes: %q", got)
	}
	must(t, c.Pause())
	must(t, c.Update(tasks(70)))
	must(t, c.Resume())
	if got := tasksLimit(t, c); got != "70" {
		t.Errorf("pids.max is %s", got)
	}
	must(t, c.Kill(unix.SIGKILL, true))
	waitFor(t, "the container stops", func() bool { return c.Status() == specs.StateStopped })
	if err := c.Update(tasks(5)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("of a stopped container: %v", err)
	}
	must(t, c.Delete(false))
	if err := c.Update(tasks(5)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a deleted container: %v", err)
	}
}

// A limit of 0 is one: the first process runs in its group, and can make no other (runtime-spec 1.3).
func TestNoTasksAtAll(t *testing.T) {
	o := bundle(t, "sh", "-c", "cat </proc/self/cgroup; echo $(echo fork)")
	without(o.Spec, specs.CgroupNamespace)
	o.Spec.Linux.Resources.Pids = tasks(0).Pids
	o.Spec.Process.Args = []string{"sh", "-c", "while read l; do echo $l; done </proc/self/cgroup; echo $(echo forked)"}
	got, _ := capture(t, o)
	if !strings.Contains(got, o.Spec.Linux.CgroupsPath+"\n") || strings.Contains(got, "forked") || !strings.Contains(got, "fork") {
		t.Errorf("output:\n%s", got)
	}
	if strings.Contains(got, ":pids:/\n") || strings.HasPrefix(got, "0::/\n") {
		t.Errorf("it is outside of its group:\n%s", got)
	}
}

func TestExecInGroupBelow(t *testing.T) {
	o := bundle(t, "sleep", "1000")
	o.Detached = true
	without(o.Spec, specs.CgroupNamespace)
	o.Config = encode(t, o.Spec)
	c, err := Run(o)
	must(t, err)
	defer func() { must(t, c.Delete(true)) }()
	group, controllers := "memory,pids:/a/b", []string{"memory", "pids"}
	if len(c.state.Cgroups) == 1 { // v2
		group, controllers = "/a/b", []string{""}
	}
	for _, name := range controllers {
		must(t, os.MkdirAll(filepath.Join(c.state.Cgroups[name], "a/b"), 0o755))
	}
	for line := range strings.Lines(inside(t, c, "cat /proc/self/cgroup", group)) {
		_, where, _ := strings.Cut(line, ":")
		names, path, _ := strings.Cut(strings.TrimSuffix(where, "\n"), ":")
		below := ""
		if slices.Contains(controllers, names) {
			below = "/a/b"
		}
		if dir := c.state.Cgroups[strings.Split(names, ",")[0]]; dir != "" && !strings.HasSuffix(path, o.Spec.Linux.CgroupsPath+below) {
			t.Errorf("exec --cgroup %s is in %s", group, line)
		}
	}
	for _, bad := range [][]string{{"../x"}, {"a/../../.."}, {"none"}, {"nonsense:a"}, {"a", "b"}} {
		if _, err := c.Exec(ExecOptions{Process: o.Spec.Process, Cgroup: bad}); err == nil || !strings.Contains(fmt.Sprint(err), "cgroup") {
			t.Errorf("exec --cgroup %q: %v", bad, err)
		}
	}
}

// Without a cgroup of its own a container stays where its maker is, and has no limits.
func TestNoCgroup(t *testing.T) {
	o := bundle(t, "cat", "/proc/self/cgroup")
	o.NoCgroup = true
	without(o.Spec, specs.CgroupNamespace)
	want, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	if got, _ := capture(t, o); got != string(want) {
		t.Errorf("it is in\n%s\nand not in\n%s", got, want)
	}
	o.Spec.Linux.Resources.Pids = tasks(5).Pids
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "pids.limit") {
		t.Errorf("a limit without a cgroup: %v", err)
	}
}

// An ordinary user gets a container without a cgroup where none may be made, unless a limit or rootless=false asks for one.
func TestUserWithoutCgroup(t *testing.T) {
	if userns.Privileged() {
		t.Skip("needs an ordinary user")
	}
	o := userBundle(t, "sleep", "1000")
	o.Detached = true
	o.Spec.Linux.CgroupsPath = "/loper-test-" + o.ID // not the user's
	c, err := Run(o)
	must(t, err)
	defer func() { must(t, c.Delete(true)) }()
	if s := c.Status(); s != specs.StateRunning {
		t.Errorf("it is %s", s)
	}
	if got := inside(t, c, "echo there"); got != "there" {
		t.Errorf("exec: %q", got)
	}
	must(t, c.Kill(unix.SIGKILL, false))
	o.ID += "b"
	no := false
	o.Rootless = &no
	if _, err := Run(o); err == nil {
		t.Error("with rootless=false it runs")
	}
	o.Rootless = nil
	o.Spec.Linux.Resources = tasks(5)
	if _, err := Run(o); err == nil {
		t.Error("with a limit it runs")
	}
}

// A container that may write to its group on v2 owns it and can make groups below; its limits stay out of reach.
func TestCgroupIsGiven(t *testing.T) {
	if cgroup.Detect() != cgroup.V2 {
		t.Skip("needs root and cgroup v2")
	}
	for _, writable := range []bool{true, false} {
		got := sh(t, func(o *Options) {
			for i, m := range o.Spec.Mounts {
				if m.Type == "cgroup" && writable {
					o.Spec.Mounts[i].Options = []string{"nosuid", "noexec", "nodev", "rw"}
				}
			}
			mappedUser(o)
			mappedRoot(t, o)
			o.Spec.Linux.Resources.Pids = tasks(20).Pids
		}, `cd /sys/fs/cgroup; mkdir=/bin/busybox; $mkdir mkdir sub 2>/dev/null && echo made; echo max 2>/dev/null >pids.max && echo lifted
			stat -c '%u %n' . cgroup.procs pids.max; [ -d sub ] && $mkdir rmdir sub`)
		want := "made\n0 .\n0 cgroup.procs\n65534 pids.max"
		if !writable {
			want = "65534 .\n65534 cgroup.procs\n65534 pids.max"
		}
		if got != want {
			t.Errorf("writable %v:\n%s\nwant\n%s", writable, got, want)
		}
	}
}
