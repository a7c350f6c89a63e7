package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"loper.run/internal/proc"
	"loper.run/internal/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// bundle makes a root file system of busybox and a spec that runs a command in
// it, with every kind of isolation.
func bundle(t testing.TB, args ...string) Options {
	t.Helper()
	if !userns.Privileged() {
		t.Skip("needs root: it makes cgroups and mounts")
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox of Debian's busybox-static: ", err)
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755)) // a mapped root must reach it
	}
	root := filepath.Join(dir, "rootfs")
	must(t, os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "bin/busybox"), busybox, 0o755))
	for _, name := range []string{"sh", "cat", "sleep", "id", "true", "echo", "ls", "mount", "hostname", "stat", "touch", "head", "tty", "grep", "kill", "ip", "readlink", "test"} {
		must(t, os.Symlink("busybox", filepath.Join(root, "bin", name)))
	}
	spec := exampleSpec(t, false)
	spec.Root = &specs.Root{Path: root}
	spec.Process.Terminal = false
	spec.Process.Args = args
	spec.Linux.CgroupsPath = "/loper-test-" + id(t)
	return Options{Root: filepath.Join(dir, "state"), ID: id(t), Bundle: dir, Spec: spec, Config: encode(t, spec)}
}

func id(t testing.TB) string {
	return strings.ReplaceAll(t.Name(), "/", "_") + fmt.Sprint(os.Getpid())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func encode(t testing.TB, spec *specs.Spec) []byte {
	t.Helper()
	data, err := jsonMarshal(spec)
	must(t, err)
	return data
}

// mapped gives the container ids of its own.
func mappedUser(o *Options) {
	o.Spec.Linux.Namespaces = append(o.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	o.Spec.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 1879048192, Size: 65536}}
	o.Spec.Linux.GIDMappings = o.Spec.Linux.UIDMappings
}

// capture runs the container to its end and returns its output and status.
func capture(t testing.TB, o Options) (string, syscall.WaitStatus) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	o.Stdout, o.Stderr = w, w
	o.Detached = true
	c, err := Run(o)
	w.Close()
	must(t, err)
	out, err := io.ReadAll(r)
	must(t, err)
	status, err := c.Wait()
	must(t, err)
	c.Release()
	must(t, c.Delete(true))
	return string(out), status
}

// sh runs a script in a container and returns what it printed.
func sh(t testing.TB, change func(*Options), script string) string {
	t.Helper()
	o := bundle(t, "sh", "-c", script)
	if change != nil {
		change(&o)
	}
	out, _ := capture(t, o)
	return strings.TrimSpace(out)
}

func TestRunReportsTheExitStatus(t *testing.T) {
	_, status := capture(t, bundle(t, "sh", "-c", "exit 42"))
	if status.ExitStatus() != 42 {
		t.Errorf("status %v", status)
	}
}

func TestInside(t *testing.T) {
	user := func(o *Options) {
		o.Spec.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{7, 8}}
	}
	umask := uint32(0o27)
	score := 321
	for _, test := range []struct {
		name   string
		change func(*Options)
		script string
		want   string
	}{
		{"pid namespace", nil, "echo $$", "1"},
		{"hostname", func(o *Options) { o.Spec.Hostname = "box" }, "hostname", "box"},
		{"user", user, "id -u; id -g; id -G", "1000\n1001\n1001 7 8"},
		{"umask", func(o *Options) { o.Spec.Process.User.Umask = &umask }, "umask", "0027"},
		{"cwd", func(o *Options) { o.Spec.Process.Cwd = "/made/here" }, "pwd", "/made/here"},
		{"env", func(o *Options) { o.Spec.Process.Env = append(o.Spec.Process.Env, "A=b=c d") }, "echo $A", "b=c d"},
		{"capabilities", nil, "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | head -c 200", "CapInh:\t0000000000000000\nCapPrm:\t0000000020000420\nCapEff:\t0000000020000420\nCapBnd:\t0000000020000420\nCapAmb:\t0000000000000000"},
		{"capabilities of a user", user, "grep -E 'Cap(Inh|Eff)' /proc/self/status", "CapInh:\t0000000000000000\nCapEff:\t0000000000000000"},
		{"no new privileges", nil, "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"},
		{"rlimit", func(o *Options) {
			o.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 20, Hard: 21}, {Type: "RLIMIT_CORE", Soft: 5 * 512, Hard: 6 * 512}}
		}, "ulimit -n; ulimit -Hn; ulimit -c", "20\n21\n5"},
		{"oom score", func(o *Options) { o.Spec.Process.OOMScoreAdj = &score }, "cat /proc/self/oom_score_adj", "321"},
		{"descriptors", nil, "ls /proc/self/fd | head -c 50", "0\n1\n2\n3"}, // 3 is ls's own
		{"devices", nil, "stat -c '%n %a %t:%T' /dev/null /dev/full /dev/tty", "/dev/null 666 1:3\n/dev/full 666 1:7\n/dev/tty 666 5:0"},
		{"device links", nil, "readlink /dev/fd; readlink /dev/ptmx", "/proc/self/fd\npts/ptmx"},
		{"denied device", func(o *Options) {
			o.Spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11}}
		}, "head -c1 /dev/kmsg 2>&1", "head: /dev/kmsg: Operation not permitted"},
		{"read-only root", func(o *Options) { o.Spec.Root.Readonly = true }, "touch /x 2>&1; touch /dev/shm/y && echo ok", "touch: /x: Read-only file system\nok"},
		{"read-only path", nil, "echo 1 2>&1 > /proc/sys/kernel/panic", "sh: can't create /proc/sys/kernel/panic: Read-only file system"},
		{"masked file", nil, "cat /proc/keys; stat -c %t:%T /proc/keys", "1:3"},
		{"masked directory", nil, "ls /proc/acpi /sys/firmware; touch /sys/firmware/x 2>&1", "/proc/acpi:\n\n/sys/firmware:\ntouch: /sys/firmware/x: Read-only file system"},
		{"loopback is up", nil, "ip addr show lo | grep -c 127.0.0.1", "1"},
		{"sysctl", func(o *Options) {
			o.Spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "77"}
		}, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "77"},
		{"tmpfs options", func(o *Options) {
			o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{"noexec", "size=1m", "mode=700"}})
		}, "grep -o ' /t .*mode=700' /proc/mounts; stat -c %a /t", "/t tmpfs rw,noexec,relatime,size=1024k,mode=700\n700"},
		{"cgroup namespace", func(o *Options) {
			o.Spec.Linux.Namespaces = append(o.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
			o.Spec.Linux.Namespaces = dedupe(o.Spec.Linux.Namespaces)
		}, "grep -v -c ':/$' /proc/self/cgroup", "0"},
		// Signals 32 and 33 are the C library's own: its posix_spawn, which make uses, leaves them ignored.
		{"signals", nil, "grep -E 'Sig(Blk|Ign)' /proc/self/status | sed s/0000000[01]80000000/0000000000000000/", "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := sh(t, test.change, test.script); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
		t.Run(test.name+" with own ids", func(t *testing.T) {
			if test.name == "devices" { // they are the host's own there
				test.want = hostDevices(t, "/dev/null", "/dev/full", "/dev/tty")
			}
			if got := sh(t, func(o *Options) {
				if test.change != nil {
					test.change(o)
				}
				mappedUser(o)
				mappedRoot(t, o)
			}, test.script); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// hostDevices says of the host's devices what stat's '%n %a %t:%T' does.
func hostDevices(t *testing.T, paths ...string) string {
	t.Helper()
	var lines []string
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %o %x:%x", path, st.Mode&0o7777, unix.Major(st.Rdev), unix.Minor(st.Rdev)))
	}
	return strings.Join(lines, "\n")
}

func dedupe(list []specs.LinuxNamespace) []specs.LinuxNamespace {
	seen := map[specs.LinuxNamespaceType]bool{}
	var out []specs.LinuxNamespace
	for _, ns := range list {
		if !seen[ns.Type] {
			out = append(out, ns)
		}
		seen[ns.Type] = true
	}
	return out
}

// mappedRoot puts the root file system below an overlay, as the engine does, so
// that its files belong to the container's root.
func mappedRoot(t testing.TB, o *Options) {
	t.Helper()
	upper, work := filepath.Join(o.Bundle, "upper"), filepath.Join(o.Bundle, "work")
	for _, dir := range []string{upper, work} {
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.Chown(dir, 1879048192, 1879048192))
	}
	o.Overlay = &Overlay{Lower: []string{o.Spec.Root.Path}, Upper: upper, Work: work}
}

func TestOverlayIsMapped(t *testing.T) {
	o := bundle(t, "sh", "-c", "stat -c %u:%g /bin/busybox; touch /new; stat -c %u /new; chmod 755 /bin/busybox; grep -c overlay /proc/mounts")
	lower := o.Spec.Root.Path
	mappedUser(&o)
	mappedRoot(t, &o)
	out, _ := capture(t, o)
	if out != "0:0\n0\n1\n" {
		t.Errorf("output %q", out)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(o.Overlay.Upper, "new"), &st))
	if st.Uid != 1879048192 {
		t.Errorf("the new file belongs to %d on the host", st.Uid)
	}
	if _, err := os.Stat(filepath.Join(lower, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the layer was written to: %v", err)
	}
}

func TestBindIsMapped(t *testing.T) {
	source := t.TempDir()
	must(t, os.WriteFile(filepath.Join(source, "a"), nil, 0o600))
	must(t, os.Chown(filepath.Join(source, "a"), 1234, 5))
	out := sh(t, func(o *Options) {
		mappedUser(o)
		mappedRoot(t, o)
		o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/data/in", Source: source, Type: "bind", Options: []string{"rbind", "idmap"}},
			specs.Mount{Destination: "/data/file", Source: filepath.Join(source, "a"), Type: "bind", Options: []string{"bind", "ro", "idmap"}})
	}, "stat -c %u:%g /data/in/a; touch /data/in/b; touch /data/file 2>&1")
	if out != "1234:5\ntouch: /data/file: Read-only file system" {
		t.Errorf("output %q", out)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(source, "b"), &st))
	if st.Uid != 0 {
		t.Errorf("the container root's file belongs to %d on the host", st.Uid)
	}
}

func TestLifecycle(t *testing.T) {
	o := bundle(t, "sleep", "60")
	o.Detached = true
	o.Spec.Annotations = map[string]string{"a": "b"}
	created, err := Create(o)
	must(t, err)
	t.Cleanup(func() { created.Delete(true) })
	check := func(want specs.ContainerState) {
		t.Helper()
		c, err := Load(o.Root, o.ID)
		must(t, err)
		s, err := c.State()
		must(t, err)
		if s.Status != want || s.ID != o.ID || s.Bundle != o.Bundle || s.Annotations["a"] != "b" || (want != specs.StateStopped) != (s.Pid > 0) {
			t.Errorf("state %+v, want %s", s, want)
		}
	}
	check(specs.StateCreated)
	if err := created.Delete(false); err == nil {
		t.Error("a created container was deleted")
	}
	check(specs.StateCreated)
	if _, err := Create(o); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("a second container with the same id: %v", err)
	}
	must(t, created.Start())
	check(specs.StateRunning)
	if err := created.Start(); err == nil {
		t.Error("started twice")
	}
	if err := created.Delete(false); err == nil {
		t.Error("a running container was deleted")
	}
	must(t, created.Pause())
	check(StatusPaused)
	if _, err := created.Exec(ExecOptions{Process: o.Spec.Process}); err == nil {
		t.Error("a process was started in a paused container")
	}
	must(t, created.Resume())
	check(specs.StateRunning)
	must(t, created.Kill(unix.SIGKILL, false))
	status, err := created.Wait()
	must(t, err)
	if status.Signal() != unix.SIGKILL {
		t.Errorf("status %v", status)
	}
	check(specs.StateStopped)
	if err := created.Kill(unix.SIGTERM, false); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a stopped container was signalled: %v", err)
	}
	must(t, created.Delete(false))
	if _, err := Load(o.Root, o.ID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	must(t, created.Delete(true))
}

func TestExec(t *testing.T) {
	o := bundle(t, "sleep", "60")
	mappedUser(&o)
	mappedRoot(t, &o)
	o.Config = encode(t, o.Spec)
	o.Detached = true
	c, err := Run(o)
	must(t, err)
	t.Cleanup(func() { c.Delete(true) })
	r, w, err := os.Pipe()
	must(t, err)
	p := *o.Spec.Process
	p.Args = []string{"sh", "-c", "id -u; cat /proc/1/comm; grep -v -c ':/$' /proc/self/cgroup; ls /proc/self/fd; pwd; exit 5"}
	p.Cwd = "/bin"
	p.User.UID = 33
	process, err := c.Exec(ExecOptions{Process: &p, Stdout: w, Stderr: w})
	w.Close()
	must(t, err)
	out, err := io.ReadAll(r)
	must(t, err)
	status, err := process.Wait()
	must(t, err)
	process.Close()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if status.ExitStatus() != 5 || lines[0] != "33" || lines[1] != "sleep" || lines[2] != "0" || lines[len(lines)-1] != "/bin" {
		t.Errorf("status %v, output\n%s", status, out)
	}
	p.Args = []string{"nothing"}
	if _, err := c.Exec(ExecOptions{Process: &p}); ExitCode(err) != 127 {
		t.Errorf("error %v", err)
	}
}

// The root file system is not trusted: links in it must not lead a mount, a
// device or a directory to the host (CVE-2019-16884, CVE-2021-30465 and others).
func TestLinksInTheRootStayInside(t *testing.T) {
	outside := t.TempDir()
	for name, prepare := range map[string]func(root string){
		"mount target":     func(root string) { must(t, os.Symlink(outside, filepath.Join(root, "data"))) },
		"parent of target": func(root string) { must(t, os.Symlink("../../../../../.."+outside, filepath.Join(root, "data"))) },
		"dev":              func(root string) { must(t, os.Symlink(outside, filepath.Join(root, "dev"))) },
		"proc":             func(root string) { must(t, os.Symlink(outside, filepath.Join(root, "proc"))) },
	} {
		t.Run(name, func(t *testing.T) {
			o := bundle(t, "true")
			prepare(o.Spec.Root.Path)
			o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/data/x", Type: "tmpfs"})
			o.Spec.Linux.Devices = []specs.LinuxDevice{{Path: "/data/null", Type: "c", Major: 1, Minor: 3}}
			o.Detached = true
			if c, err := Run(o); err == nil {
				c.Wait()
				must(t, c.Delete(true))
			}
			entries, err := os.ReadDir(outside)
			must(t, err)
			if len(entries) != 0 {
				t.Errorf("outside of the root there is %v", entries)
			}
		})
	}
}

// What lies at the place of a device in the image is neither taken for the
// device nor for the cover of a masked path (CVE-2025-31133).
func TestFakeDevice(t *testing.T) {
	o := bundle(t, "true")
	o.Spec.Mounts = slices.DeleteFunc(o.Spec.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/dev") })
	dev := filepath.Join(o.Spec.Root.Path, "dev") // /dev is the image's own directory
	must(t, os.MkdirAll(dev, 0o755))
	must(t, os.Symlink("/proc/sysrq-trigger", filepath.Join(dev, "null")))
	o.Detached = true
	c, err := Run(o)
	if err == nil {
		c.Delete(true)
	}
	if err == nil || !strings.Contains(err.Error(), "make the device /dev/null: what is there is something else") {
		t.Errorf("error %v", err)
	}
	must(t, os.Remove(filepath.Join(dev, "null")))
	must(t, unix.Mknod(filepath.Join(dev, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	out, _ := capture(t, o)
	if out != "" {
		t.Errorf("output %q", out)
	}
}

func TestFailuresLeaveNothing(t *testing.T) {
	before := hostState(t)
	for want, change := range map[string]func(o *Options){
		`"nothing": executable file not found`: func(o *Options) { o.Spec.Process.Args = []string{"nothing"} },
		`"/bin": permission denied`:            func(o *Options) { o.Spec.Process.Args = []string{"/bin"} },
		"mounts[7].source": func(o *Options) {
			o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/x", Source: "/does/not/exist", Type: "bind"})
		},
		"mounts[7].type": func(o *Options) { o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/x", Type: "nofs"}) },
		`option "bad=1"`: func(o *Options) {
			o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"bad=1"}})
		},
		"root.path":        func(o *Options) { o.Spec.Root.Path = "/does/not/exist" },
		"linux.namespaces": func(o *Options) { o.Spec.Linux.Namespaces[0].Path = "/does/not/exist" },
		"process.cwd":      func(o *Options) { o.Spec.Process.Cwd = "/bin/busybox" },
		"linux.resources.memory.limit: is too low": func(o *Options) {
			limit := int64(4096)
			o.Spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
		},
	} {
		o := bundle(t, "true")
		o.Detached = true
		change(&o)
		c, err := Run(o)
		if err == nil {
			c.Delete(true)
			t.Errorf("%s: no error", want)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q, want a line with %q", err, want)
		}
		if entries, _ := os.ReadDir(o.Root); len(entries) != 0 {
			t.Errorf("%s: %v is left in the state directory", want, entries)
		}
	}
	if after := hostState(t); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// hostState is what a container might leave: mounts, cgroups and descriptors.
func hostState(t *testing.T) string {
	t.Helper()
	goruntime.GC() // closes what earlier tests left
	time.Sleep(20 * time.Millisecond)
	groups, err := filepath.Glob(fmt.Sprint("/sys/fs/cgroup/*/loper-test-*", os.Getpid()))
	must(t, err)
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return fmt.Sprintf("%s%v\n%d descriptors", mountTable(t, fmt.Sprint(os.Getpid())), groups, len(fds))
}

func TestContainerDiesWithItsMaker(t *testing.T) {
	if os.Getenv("LOPER_TEST_MAKER") != "" {
		o := bundle(t, "sleep", "60")
		c, err := Run(o)
		must(t, err)
		fmt.Printf("pid %d in %s as %s\n", c.Pid(), o.Root, o.ID)
		unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	if !userns.Privileged() {
		t.Skip("needs root: it makes cgroups and mounts")
	}
	cmd := command(t, os.Args[0], "-test.run=^TestContainerDiesWithItsMaker$", "-test.v")
	cmd.Env = append(os.Environ(), "LOPER_TEST_MAKER=1")
	out, _ := cmd.CombinedOutput()
	var pid int
	var root, id string
	if i := bytes.Index(out, []byte("pid ")); i < 0 {
		if bytes.Contains(out, []byte("SKIP")) {
			t.Skip("needs busybox")
		}
		t.Fatalf("output %s", out)
	} else if _, err := fmt.Sscanf(string(out[i:]), "pid %d in %s as %s", &pid, &root, &id); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c, err := Load(root, id)
		must(t, err)
		must(t, c.Delete(true))
		must(t, os.RemoveAll(filepath.Dir(root)))
	})
	for range 100 {
		if unix.Kill(pid, 0) == unix.ESRCH {
			return
		}
		if status, _, err := proc.Stat(pid); err == nil && status == 'Z' {
			return // dead; it waits for init to reap it
		}
		time.Sleep(20 * time.Millisecond)
	}
	unix.Kill(pid, unix.SIGKILL)
	t.Errorf("process %d outlived its maker", pid)
}

func TestDamagedStateIsCleaned(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"empty": "", "cut": `{"id": "cut", "pid": 1`, "foreign": `{"id":"other","pid":1,"startTime":1}`} {
		must(t, os.Mkdir(filepath.Join(root, name), 0o700))
		must(t, os.WriteFile(filepath.Join(root, name, stateFile), []byte(content), 0o600))
		c, err := Load(root, name)
		var damaged *DamagedError
		if !errors.As(err, &damaged) || damaged.Path != filepath.Join(root, name, stateFile) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Delete(false); !errors.As(err, &damaged) {
			t.Errorf("%s: deleted without force: %v", name, err)
		}
		must(t, c.Delete(true))
		must(t, c.Delete(true))
	}
	must(t, os.Mkdir(filepath.Join(root, "half"), 0o700))
	list, _, err := List(root)
	must(t, err)
	if len(list) != 1 || list[0].ID() != "half" {
		t.Errorf("list %v", list)
	}
	must(t, list[0].Delete(true))
}

func BenchmarkRun(b *testing.B) {
	o := bundle(b, "true")
	o.Detached = true
	for b.Loop() {
		c, err := Run(o)
		if err != nil {
			b.Fatal(err)
		}
		c.Wait()
		c.Release()
		if err := c.Delete(true); err != nil {
			b.Fatal(err)
		}
	}
}
