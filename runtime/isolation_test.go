package runtime

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Whatever is mounted with whatever propagation, the host's mounts are the same
// after the container as before it.
func TestMountsStayInside(t *testing.T) {
	shared := t.TempDir() // what is mounted on the host and shared with others
	must(t, unix.Mount("tmpfs", shared, "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(shared, unix.MNT_DETACH) })
	must(t, unix.Mount("", shared, "", unix.MS_SHARED, ""))
	must(t, os.MkdirAll(filepath.Join(shared, "sub"), 0o755))
	must(t, unix.Mount("tmpfs", filepath.Join(shared, "sub"), "tmpfs", 0, ""))
	before := mountTable(t, shared)
	modes := []string{"", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}
	source := rand.NewPCG(1, uint64(os.Getpid()))
	pick := rand.New(source)
	for i := range 25 {
		o := bundle(t, "sh", "-c", "mount -t tmpfs none /data/in 2>/dev/null; mount -t tmpfs none /mnt; true")
		o.Spec.Process.Capabilities = &specs.LinuxCapabilities{}
		o.Spec.Process.Capabilities.Bounding = []string{"CAP_SYS_ADMIN"}
		o.Spec.Process.Capabilities.Effective, o.Spec.Process.Capabilities.Permitted = o.Spec.Process.Capabilities.Bounding, o.Spec.Process.Capabilities.Bounding
		must(t, os.MkdirAll(filepath.Join(o.Spec.Root.Path, "mnt"), 0o755))
		o.Spec.Linux.RootfsPropagation = modes[pick.IntN(len(modes))]
		if pick.IntN(2) == 0 { // the root file system lies on a shared mount itself
			root := filepath.Join(shared, fmt.Sprint("root", i))
			must(t, os.CopyFS(root, os.DirFS(o.Spec.Root.Path)))
			o.Spec.Root.Path = root
		}
		options := []string{[]string{"bind", "rbind"}[pick.IntN(2)]}
		mode := modes[pick.IntN(len(modes))]
		// What the container mounts below a mount that it shares is the host's by intention.
		if mode = strings.TrimSuffix(mode, "shared"); mode != "" && mode != "r" {
			options = append(options, mode)
		}
		if pick.IntN(2) == 0 {
			options = append(options, "ro")
		}
		must(t, os.MkdirAll(filepath.Join(shared, "in"), 0o755))
		o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/data", Source: shared, Type: "bind", Options: options})
		if pick.IntN(2) == 0 {
			o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/data/in", Type: "tmpfs", Source: "tmpfs"})
		}
		if pick.IntN(3) == 0 {
			mappedUser(&o)
			mappedRoot(t, &o)
		}
		o.Detached = true
		c, err := Run(o)
		if err == nil {
			if diff := cmp.Diff(before, mountTable(t, shared)); diff != "" {
				t.Errorf("root %q, %q: while it runs:\n%s", o.Spec.Linux.RootfsPropagation, options, diff)
			}
			c.Wait()
			must(t, c.Delete(true))
		} else if strings.Contains(err.Error(), "(tmpfs) that can't map user ids") {
			t.Log("before Linux 6.3: ", err)
		} else if !strings.Contains(err.Error(), "invalid argument") || !slices.Contains(options, "unbindable") && !slices.Contains(options, "runbindable") {
			t.Errorf("root %q, %q: %v", o.Spec.Linux.RootfsPropagation, options, err)
		}
		if diff := cmp.Diff(before, mountTable(t, shared)); diff != "" {
			t.Fatalf("root %q, %q:\n%s", o.Spec.Linux.RootfsPropagation, options, diff)
		}
	}
}

// mountTable lists the host's mounts, without what others mount for their tests.
func mountTable(t testing.TB, mine string) []string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	var list []string
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, os.TempDir()) || strings.Contains(line, mine) {
			list = append(list, line)
		}
	}
	return list
}

// A mount that both sides want shared is: what one mounts, the other sees.
func TestSharedMount(t *testing.T) {
	shared := t.TempDir()
	must(t, unix.Mount("tmpfs", shared, "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(shared, unix.MNT_DETACH) })
	must(t, unix.Mount("", shared, "", unix.MS_SHARED, ""))
	for _, dir := range []string{"inside", "outside"} {
		must(t, os.Mkdir(filepath.Join(shared, dir), 0o755))
	}
	o := bundle(t, "sh", "-c", "mount -t tmpfs none /data/inside && touch /data/inside/file; while ! test -e /data/outside/file; do sleep 0.01; done")
	caps := []string{"CAP_SYS_ADMIN"}
	o.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/data", Source: shared, Type: "bind", Options: []string{"rbind", "rshared"}})
	o.Detached = true
	c, err := Run(o)
	must(t, err)
	defer c.Delete(true)
	waitFor(t, "the container's mount", func() bool {
		_, err := os.Stat(filepath.Join(shared, "inside/file"))
		return err == nil
	})
	must(t, unix.Mount("tmpfs", filepath.Join(shared, "outside"), "tmpfs", 0, ""))
	must(t, os.WriteFile(filepath.Join(shared, "outside/file"), nil, 0o644))
	waitFor(t, "the host's mount inside", func() bool { return c.Status() == specs.StateStopped })
	must(t, unix.Unmount(filepath.Join(shared, "outside"), 0))
	must(t, unix.Unmount(filepath.Join(shared, "inside"), 0))
}

// Each kind of namespace can be joined by path, alone and together with all
// others, and a process that is executed later finds itself in the same ones.
func TestJoinedNamespaces(t *testing.T) {
	o := bundle(t, "sleep", "60")
	mappedUser(&o)
	mappedRoot(t, &o)
	o.Spec.Linux.Namespaces = append(o.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	o.Spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1000}}
	o.Config = encode(t, o.Spec)
	o.Detached = true
	first, err := Run(o)
	must(t, err)
	defer first.Delete(true)
	all := []specs.LinuxNamespaceType{specs.UserNamespace, specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace, specs.TimeNamespace}
	for _, joined := range append([][]specs.LinuxNamespaceType{all}, singles(all)...) {
		t.Run(fmt.Sprintf("%d %s", len(joined), joined[0]), func(t *testing.T) {
			o2 := bundle(t, "sleep", "60")
			o2.Spec.Hostname = ""
			if slices.Contains(joined, specs.UserNamespace) {
				mappedRoot(t, &o2)
			}
			for _, ns := range joined {
				o2.Spec.Linux.Namespaces = slices.DeleteFunc(o2.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == ns })
				o2.Spec.Linux.Namespaces = append(o2.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: ns, Path: fmt.Sprintf("/proc/%d/ns/%s", first.Pid(), namespaceFile(ns))})
			}
			o2.Config = encode(t, o2.Spec)
			o2.Detached = true
			c, err := Run(o2)
			must(t, err)
			defer func() {
				must(t, c.Delete(true))
				c.Wait() // a dead process that waits for its parent keeps a pid namespace
			}()
			for _, ns := range all {
				name := namespaceFile(ns)
				same := namespaceID(t, c.Pid(), name) == namespaceID(t, first.Pid(), name)
				if same != slices.Contains(joined, ns) {
					t.Errorf("%s namespace the same: %v", ns, same)
				}
			}
			p := *o2.Spec.Process
			p.Args = []string{"sleep", "61"}
			process, err := c.Exec(ExecOptions{Process: &p})
			must(t, err)
			for _, ns := range append(all, specs.MountNamespace) {
				if name := namespaceFile(ns); namespaceID(t, c.Pid(), name) != namespaceID(t, process.Pid(), name) {
					t.Errorf("exec: another %s namespace", ns)
				}
			}
			must(t, process.Signal(unix.SIGKILL))
			process.Wait()
			process.Close()
		})
	}
}

func singles(all []specs.LinuxNamespaceType) (list [][]specs.LinuxNamespaceType) {
	for _, ns := range all {
		list = append(list, []specs.LinuxNamespaceType{ns})
	}
	return list
}

func namespaceID(t *testing.T, pid int, name string) string {
	t.Helper()
	id, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
	must(t, err)
	return id
}

// A namespace of the host that is joined by path is not changed.
func TestJoinedHostNamespaceIsNotChanged(t *testing.T) {
	for want, change := range map[string]func(o *Options){
		"hostname: would rename the host": func(o *Options) {
			join(o, specs.UTSNamespace)
			o.Spec.Hostname = "x"
		},
		"linux.sysctl.net.ipv4.ip_forward: would change the host": func(o *Options) {
			join(o, specs.NetworkNamespace)
			o.Spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		},
	} {
		o := bundle(t, "true")
		o.Spec.Hostname = ""
		change(&o)
		if _, err := Run(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func join(o *Options, kind specs.LinuxNamespaceType) {
	for i, ns := range o.Spec.Linux.Namespaces {
		if ns.Type == kind {
			o.Spec.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/%s", os.Getpid(), namespaceFile(kind))
		}
	}
}

// A container that has the host's namespaces, but for its mounts, can still be
// entered, and the kill of its first process takes all others.
func TestHostNamespaces(t *testing.T) {
	o := bundle(t, "sh", "-c", "sleep 60 & sleep 60")
	o.Spec.Hostname = ""
	o.Spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	o.Spec.Linux.MaskedPaths, o.Spec.Linux.ReadonlyPaths = nil, nil
	o.Config = encode(t, o.Spec)
	o.Detached = true
	c, err := Run(o)
	must(t, err)
	defer c.Delete(true)
	if namespaceID(t, c.Pid(), "pid") != namespaceID(t, os.Getpid(), "pid") {
		t.Error("it has a pid namespace of its own")
	}
	r, w, err := os.Pipe()
	must(t, err)
	p := *o.Spec.Process
	p.Args = []string{"sh", "-c", "ls /bin/busybox"}
	process, err := c.Exec(ExecOptions{Process: &p, Stdout: w})
	w.Close()
	must(t, err)
	buf := make([]byte, 64)
	n, _ := r.Read(buf)
	if _, err := process.Wait(); err != nil || string(buf[:n]) != "/bin/busybox\n" {
		t.Errorf("output %q, %v", buf[:n], err)
	}
	must(t, c.Kill(unix.SIGKILL, false))
	c.Wait()
	waitFor(t, "all are dead", func() bool {
		pids, err := c.Pids()
		return err == nil && len(pids) == 0
	})
}

// A filter that allows what the program needs is enough: what the start needs
// comes before it.
func TestStrictSeccomp(t *testing.T) {
	const static = "/bin/true"
	for _, noNewPrivileges := range []bool{true, false} {
		o := bundle(t, static)
		o.Spec.Process.NoNewPrivileges = noNewPrivileges
		names := []string{"execve", "exit_group", "exit", "brk", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "readlink", "readlinkat",
			"getrandom", "mprotect", "uname", "getuid", "getgid", "setuid", "setgid", "getpid", "write", "mmap", "munmap", "rt_sigprocmask"}
		if !noNewPrivileges { // the change of user follows the filter
			names = append(names, "setgroups", "setresgid", "setresuid", "capset", "prctl", "sendto", "recvmsg")
		}
		o.Spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64}, Syscalls: []specs.LinuxSyscall{{Names: names, Action: specs.ActAllow}}}
		if out, status := capture(t, o); status.ExitStatus() != 0 {
			t.Errorf("no new privileges %v: %v, %q", noNewPrivileges, status, out)
		}
	}
}

func TestFilesLimitIsTheUsual(t *testing.T) {
	var own unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &own))
	out := sh(t, func(o *Options) { o.Spec.Process.Rlimits = nil }, "ulimit -Sn; ulimit -Hn")
	if want := fmt.Sprintf("%d\n%d", min(usualFiles, own.Max), own.Max); out != want && own.Cur == own.Max-1 {
		t.Errorf("limits %q, want %q", out, want)
	}
}

// As an ordinary user, with the ids of /etc/subuid or with a single one.
func TestRootless(t *testing.T) {
	if dir := os.Getenv("LOPER_TEST_ROOTLESS"); dir != "" {
		rootless(t, dir)
		return
	}
	o := bundle(t, "true")
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("needs setpriv of Debian's util-linux: ", err)
	}
	must(t, filepath.Walk(o.Bundle, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 65533, 65533)
	}))
	cmd := command(t, "setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", os.Args[0], "-test.run=^TestRootless$", "-test.v")
	binary, err := os.ReadFile(os.Args[0])
	must(t, err)
	copied := filepath.Join(o.Bundle, "test")
	must(t, os.WriteFile(copied, binary, 0o755))
	cmd.Args[4] = copied
	cmd.Env = append(os.Environ(), "LOPER_TEST_ROOTLESS="+o.Bundle, "TMPDIR="+o.Bundle)
	cmd.Dir = o.Bundle
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestRootless") {
		if strings.Contains(string(out), "user namespaces may be off") {
			t.Skip("needs user namespaces for ordinary users")
		}
		t.Errorf("%v: %s", err, out)
	}
}

func rootless(t *testing.T, dir string) {
	spec := exampleSpec(t, true)
	spec.Root.Path, spec.Process.Terminal = filepath.Join(dir, "rootfs"), false
	spec.Root.Readonly = false
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" })
	score := 500
	spec.Process.OOMScoreAdj = &score
	spec.Process.Args = []string{"sleep", "60"}
	spec.Process.User.AdditionalGids = []uint32{7}
	o := Options{Root: filepath.Join(dir, "state"), ID: "rootless", Bundle: dir, Spec: spec, Config: encode(t, spec), Detached: true}
	c, err := Run(o)
	must(t, err)
	defer c.Delete(true)
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "additionalGids") {
		t.Errorf("warnings %q", w)
	}
	r, w, err := os.Pipe()
	must(t, err)
	p := *spec.Process
	p.Args = []string{"sh", "-c", "id -u; cat /proc/self/oom_score_adj; touch /made && echo made"}
	process, err := c.Exec(ExecOptions{Process: &p, Stdout: w, Stderr: w})
	w.Close()
	must(t, err)
	out := make([]byte, 100)
	n := 0
	for {
		m, err := r.Read(out[n:])
		n += m
		if err != nil {
			break
		}
	}
	process.Wait()
	if string(out[:n]) != "0\n500\nmade\n" {
		t.Errorf("output %q", out[:n])
	}
	must(t, c.Kill(unix.SIGKILL, true))
	c.Wait()
	must(t, c.Delete(false))
}

// What the runtime mounts below a mount that is shared with the host is the
// container's alone, also below a mount in it; and the two are shared then.
func TestOwnMountsInASharedMount(t *testing.T) {
	plain, _ := sources(t)
	must(t, unix.Mount("", plain, "", unix.MS_SHARED|unix.MS_REC, ""))
	for _, dir := range []string{"masked", "nested", "sub/nested", "mine", "sub/mine"} {
		must(t, os.MkdirAll(filepath.Join(plain, dir), 0o755))
		must(t, os.WriteFile(filepath.Join(plain, dir, "file"), nil, 0o644))
	}
	before := mountTable(t, plain)
	o := bundle(t, "sh", "-c", "ls /data/masked /data/nested /data/sub/nested; mount -t tmpfs none /data/mine; mount -t tmpfs none /data/sub/mine; touch /data/mine/ready; sleep 60")
	caps := []string{"CAP_SYS_ADMIN"}
	o.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	o.Spec.Mounts = append(o.Spec.Mounts,
		specs.Mount{Destination: "/data", Source: plain, Options: []string{"rbind", "rshared"}},
		specs.Mount{Destination: "/data/nested", Type: "tmpfs"},
		specs.Mount{Destination: "/data/sub/nested", Type: "tmpfs"})
	o.Spec.Linux.MaskedPaths = append(o.Spec.Linux.MaskedPaths, "/data/masked")
	r, w, err := os.Pipe()
	must(t, err)
	o.Stdout, o.Detached = w, true
	c, err := Run(o)
	must(t, err)
	w.Close()
	defer c.Delete(true)
	waitFor(t, "the container's mounts", func() bool {
		_, err := os.Stat(filepath.Join(plain, "mine/ready"))
		return err == nil
	})
	out := make([]byte, 200)
	n, _ := r.Read(out)
	if got := string(out[:n]); got != "/data/masked:\n\n/data/nested:\n\n/data/sub/nested:\n" {
		t.Errorf("inside: %q", got)
	}
	var more []string
	for _, m := range mountTable(t, plain) {
		if !slices.Contains(before, m) {
			more = append(more, strings.TrimPrefix(strings.Fields(m)[4], plain))
		}
	}
	if !slices.Equal(more, []string{"/mine", "/sub/mine"}) {
		t.Errorf("on the host there is %q", more)
	}
	for _, dir := range []string{"masked", "nested", "sub/nested"} {
		if _, err := os.Stat(filepath.Join(plain, dir, "file")); err != nil {
			t.Error(err)
		}
	}
}
