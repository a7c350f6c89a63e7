package e2e_test

import (
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The defaults, as seen from inside.
func TestDefaultIsolation(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		e.start("--name", "c", "--hostname", "isolated", "busybox", "sleep", "1000")
		in := func(script string) string {
			t.Helper()
			return e.run("exec", "c", "sh", "-c", script).stdout
		}
		// As the host sees it: from inside, a namespace around this one may hide that.
		ids, _ := os.ReadFile("/proc/" + e.inspect("c", "{{.State.Pid}}") + "/uid_map")
		fields := strings.Fields(string(ids))
		if len(fields) < 3 || fields[0] != "0" || fields[1] == "0" {
			t.Errorf("uid_map %v: container root is host root", fields)
		}
		for _, process := range []string{"1", "self"} { // the container's own, and what exec starts
			status := in("cat /proc/" + process + "/status")
			expect(t, "CapInh", lineWith(status, "CapInh"), "CapInh:\t0000000000000000")
			expect(t, "NoNewPrivs", lineWith(status, "NoNewPrivs"), "NoNewPrivs:\t1")
			expect(t, "Seccomp", lineWith(status, "Seccomp:"), "Seccomp:\t2")
			for _, set := range []string{"CapEff", "CapBnd", "CapPrm"} {
				_, value, _ := strings.Cut(lineWith(status, set), "\t")
				caps, err := strconv.ParseUint(value, 16, 64)
				if err != nil || caps == 0 || bits.OnesCount64(caps) > 14 {
					t.Errorf("%s of %s: %s, want at most 14 capabilities", set, process, value)
				}
			}
			expect(t, "CapAmb", lineWith(status, "CapAmb"), "CapAmb:\t0000000000000000")
		}
		expect(t, "hostname", in("hostname"), "isolated\n")
		if out := in("ls /proc | grep '^[0-9]' | wc -l"); len(strings.TrimSpace(out)) > 1 {
			t.Errorf("the host's processes are visible: %s of them", out)
		}
		for _, ns := range []string{"mnt", "pid", "uts", "ipc", "user", "cgroup", "net"} {
			own, _ := os.Readlink("/proc/self/ns/" + ns)
			if theirs := in("readlink /proc/self/ns/" + ns); ns != "net" && (strings.TrimSpace(theirs) == own || theirs == "") {
				t.Errorf("the %s namespace is the host's", ns)
			}
		}
		for _, path := range []string{"/proc/kcore", "/proc/keys", "/proc/timer_list"} {
			if out := in("[ -e " + path + " ] && head -c 10 " + path + " | wc -c || echo 0"); out != "0\n" {
				t.Errorf("%s can be read", path)
			}
		}
		for _, path := range []string{"/proc/acpi", "/proc/scsi", "/sys/firmware"} {
			if out := in("[ -d " + path + " ] && ls " + path + " | wc -l || echo 0"); out != "0\n" {
				t.Errorf("%s can be listed", path)
			}
		}
		for _, path := range []string{"/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/bus/x", "/proc/irq/default_smp_affinity", "/sys/kernel/x", "/sys/fs/cgroup/x"} {
			if out := in("echo 1 2>/dev/null >" + path + " && echo written"); strings.Contains(out, "written") {
				t.Errorf("%s can be written", path)
			}
		}
		mounts := in("cat /proc/mounts")
		for _, host := range []string{e.root, "/dev/vda", "/dev/sda"} {
			for line := range strings.Lines(mounts) {
				if strings.Contains(line, host) && !strings.HasPrefix(line, "overlay ") && !strings.Contains(line, " /etc/") && !strings.Contains(line, " / ") {
					t.Errorf("a mount of the host is visible: %s", line)
				}
			}
		}
		devices := strings.Fields(in("ls /dev"))
		for _, d := range devices {
			if !strings.Contains(" console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ", " "+d+" ") {
				t.Errorf("/dev/%s is there", d)
			}
		}
		expect(t, "/dev/null works", in("echo x >/dev/null && head -c 4 /dev/zero | wc -c"), "4\n")
	})
}

func TestDeniedCalls(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		e.start("--name", "c", "busybox", "sleep", "1000")
		attempt := func(what string) string {
			return strings.TrimSpace(strings.TrimPrefix(e.run("exec", "c", "/inside", what).stdout, what+" "))
		}
		for _, what := range []string{"af_alg", "af_vsock", "io_uring", "userfaultfd", "bpf", "keyctl", "add_key", "unshare_user", "mount", "mknod", "settimeofday", "reboot",
			"init_module", "kexec_load", "open_by_handle_at", "sethostname"} {
			if got := attempt(what); got == "allowed" || got == "" || got == "EINVAL" || got == "EFAULT" || got == "EBADF" {
				t.Errorf("%s: %q, want it denied", what, got)
			}
		}
		for _, what := range []string{"af_inet", "chroot"} {
			expect(t, what, attempt(what), "allowed")
		}
		r := e.run("run", "--rm", "--security-opt", "seccomp=unconfined", "busybox", "/inside", "keyctl")
		if strings.Contains(r.stdout, "EPERM") || strings.Contains(r.stdout, "ENOSYS") {
			t.Errorf("without seccomp the filter is still there: %v", r)
		}
	})
}

// Nothing but the three streams is open in a container, whatever the caller has open (CVE-2024-21626).
func TestDescriptorsInside(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		leak, err := os.Open("/")
		if err != nil {
			t.Fatal(err)
		}
		defer leak.Close()
		for name, args := range map[string][]string{
			"run": {"run", "--rm", "busybox", "ls", "-l", "/proc/self/fd"}, "exec": {"exec", "c", "ls", "-l", "/proc/self/fd"}, "run --init": {"run", "--rm", "--init", "busybox", "ls", "-l", "/proc/self/fd"},
		} {
			if name == "exec" {
				e.start("--name", "c", "busybox", "sleep", "1000")
			}
			cmd := e.command(args...)
			cmd.ExtraFiles = []*os.File{leak, leak, leak}
			out, _ := cmd.Output()
			for line := range strings.Lines(string(out)) {
				left, target, ok := strings.Cut(strings.TrimSpace(line), " -> ")
				number := left[strings.LastIndex(left, " ")+1:]
				if !ok || number < "3" || number == "3" && strings.HasPrefix(target, "/proc/") { // 3 is ls's own
					continue
				}
				t.Errorf("%s: open inside: %s", name, line)
			}
			if strings.Count(string(out), "\n") < 3 {
				t.Errorf("%s: %q", name, out)
			}
		}
		for fd := 3; fd < 12; fd++ {
			dir := "/proc/self/fd/" + strconv.Itoa(fd)
			r := e.run("run", "--rm", "-w", dir, "busybox", "sh", "-c", "cat ../../../etc/os-release; ls ../../../root")
			if r.code == 0 && strings.Contains(r.stdout, "PRETTY_NAME") {
				t.Errorf("-w %s is a directory of the host", dir)
			}
			r = e.run("exec", "-w", dir, "c", "sh", "-c", "cat ../../../etc/os-release")
			if strings.Contains(r.stdout, "PRETTY_NAME") {
				t.Errorf("exec -w %s is a directory of the host", dir)
			}
		}
	})
}

// The engine's own program is out of a container's reach (CVE-2019-5736).
func TestOwnProgram(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		before, err := os.ReadFile(loper)
		if err != nil {
			t.Fatal(err)
		}
		modes := [][]string{nil}
		if e.user == nil {
			modes = append(modes, []string{"--userns", "host"}, []string{"--userns", "host", "--privileged"})
		}
		for _, flags := range modes {
			for _, command := range [][]string{{"/proc/self/exe", "version"}, {"/bin/self", "version"}} {
				e.run(append(append([]string{"run", "--rm", "-v", e.linkToSelf() + ":/bin/self:ro"}, flags...), append([]string{"busybox"}, command...)...)...)
			}
			e.run(append(append([]string{"run", "--rm"}, flags...), "busybox", "sh", "-c", "for p in /proc/[0-9]*; do echo broken >$p/exe; done")...)
		}
		after, _ := os.ReadFile(loper)
		if string(before) != string(after) {
			t.Fatal("a container changed the engine's program")
		}
	})
}

func (e *engine) linkToSelf() string {
	e.t.Helper()
	path := filepath.Join(e.directory(), "self")
	e.writeFile(path, "#!/proc/self/exe\n", 0o755)
	return path
}

func TestUsersInside(t *testing.T) {
	both := func(f func(t *testing.T, e *engine)) {
		t.Run("root", func(t *testing.T) { f(t, asRoot(t)) })
		t.Run("user", func(t *testing.T) { f(t, asUser(t, true)) })
	}
	both(func(t *testing.T, e *engine) {
		e.busybox()
		for _, c := range []struct{ flag, want string }{
			{"0", "0 0 [0]"}, {"worker", "1000 1000 [1000 2000]"}, {"1000", "1000 1000 [1000 2000]"}, {"worker:crew", "1000 2000 [2000]"},
			{"1234", "1234 0 [0]"}, {"1234:5678", "1234 5678 [5678]"}, {"worker:3000", "1000 3000 [3000]"},
		} {
			r := e.run("run", "--rm", "-u", c.flag, "busybox", "/inside", "ids")
			// The primary group may or may not be among the supplementary ones.
			got := strings.TrimSpace(r.stdout)
			primary := strings.Fields(c.want)[1]
			alternative := strings.Replace(strings.Replace(c.want, "["+primary+"]", "[]", 1), "["+primary+" ", "[", 1)
			if got != c.want && got != alternative {
				t.Errorf("-u %s: %q, want %q or %q: %v", c.flag, got, c.want, alternative, r)
			}
		}
		r := e.run("run", "--rm", "-u", "worker", "--group-add", "4000", "busybox", "/inside", "ids")
		if !strings.Contains(r.stdout, "4000") {
			t.Errorf("--group-add: %v", r)
		}
		expect(t, "HOME of a user", e.must("run", "--rm", "-u", "worker", "busybox", "sh", "-c", "echo $HOME"), "/home/worker")
		status := e.must("run", "--rm", "-u", "worker", "busybox", "cat", "/proc/self/status")
		expect(t, "an ordinary user's capabilities", lineWith(status, "CapEff"), "CapEff:\t0000000000000000")
	})
}

func TestSettingsInside(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		envFile := filepath.Join(e.directory(), "env")
		e.writeFile(envFile, "# comment\nFROM_FILE=1\nHOST_VALUE\n", 0o644)
		e.environ = append(e.environ, "HOST_VALUE=handed")
		out := e.must("run", "--rm", "-e", "A=b c", "-e", "HOST_VALUE", "--env-file", envFile, "-w", "/new/dir", "busybox", "sh", "-c", "echo $A,$HOST_VALUE,$FROM_FILE,$PWD,$PATH")
		expect(t, "environment", out, "b c,handed,1,/new/dir,/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
		if out := e.must("run", "--rm", "busybox", "env"); strings.Contains(out, "XDG_RUNTIME_DIR") || strings.Contains(out, e.home) {
			t.Errorf("the host's environment leaks: %s", out)
		}
		expect(t, "entrypoint", e.must("run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"), "a b")
		expect(t, "ulimit", e.must("run", "--rm", "--ulimit", "nofile=100:200", "busybox", "sh", "-c", "ulimit -n; ulimit -Hn"), "100\n200")
		if e.run("run", "--rm", "--read-only", "busybox", "touch", "/x").code == 0 {
			t.Error("--read-only: the root is written")
		}
		e.must("run", "--rm", "--read-only", "busybox", "sh", "-c", "touch /dev/shm/x")
		e.must("run", "--rm", "--read-only", "--tmpfs", "/scratch:size=1m", "busybox", "sh", "-c", "touch /scratch/x; mount | grep -q 'on /scratch type tmpfs.*size=1024k'")
		status := e.must("run", "--rm", "--cap-drop", "ALL", "busybox", "cat", "/proc/self/status")
		expect(t, "--cap-drop ALL", lineWith(status, "CapEff"), "CapEff:\t0000000000000000")
		status = e.must("run", "--rm", "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE", "busybox", "cat", "/proc/self/status")
		expect(t, "--cap-add", lineWith(status, "CapEff"), "CapEff:\t0000000000000400")
		links := e.must("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net")
		expect(t, "interfaces with --network none", links, "lo")
		own, _ := os.Readlink("/proc/thread-self/ns/net")
		expect(t, "--network host", e.must("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"), own)
		e.start("--name", "first", "busybox", "sleep", "1000")
		expect(t, "--network container:", e.must("run", "--rm", "--network", "container:first", "busybox", "readlink", "/proc/self/ns/net"),
			e.must("exec", "first", "readlink", "/proc/self/ns/net"))
		expect(t, "--hostname in /etc/hostname and /etc/hosts", e.must("run", "--rm", "--hostname", "named", "busybox", "sh", "-c", "cat /etc/hostname; grep -q named /etc/hosts && echo there"), "named\nthere")
	})
}

func TestUsernsHost(t *testing.T) {
	e := asRoot(t).busybox()
	fields := strings.Fields(e.must("run", "--rm", "--userns", "host", "busybox", "cat", "/proc/self/uid_map"))
	if len(fields) != 3 || fields[1] != "0" || fields[2] != "4294967295" {
		t.Errorf("--userns host: uid_map %v", fields)
	}
	one := e.must("run", "--rm", "busybox", "cat", "/proc/self/uid_map")
	e.start("--name", "c", "busybox", "sleep", "1000")
	if other := e.must("exec", "c", "cat", "/proc/self/uid_map"); other == e.must("run", "--rm", "busybox", "cat", "/proc/self/uid_map") {
		t.Errorf("two running containers share a range of ids: %s", one)
	}
	if out := e.must("run", "--rm", "--privileged", "busybox", "sh", "-c", "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status"); !strings.Contains(out, "Seccomp:\t0") {
		t.Errorf("--privileged: %s", out)
	}
}
