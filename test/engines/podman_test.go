package engines_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// podman is Podman with a configuration of its own, whose runtime is lope. There is no daemon.
func podman(t *testing.T, name string, user *env.User) *engine {
	e := newEngine(t, name, "podman", "conmon")
	e.user = user
	archive := file(t, busybox)
	conf := filepath.Join(e.dir, "containers.conf")
	text := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
init_path = "/usr/bin/catatonit"
runtime = "lope"
runtime_supports_json = ["lope"]
runtime_supports_nocgroup = ["lope"]
runtime_supports_nocgroups = ["lope"]
tmp_dir = "%[1]s/tmp"
[engine.runtimes]
lope = ["%[2]s"]
[network]
network_config_dir = "%[1]s/net"
`, e.dir, lope)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	driver := "overlay"
	if user != nil {
		driver = "vfs" // overlayfs of ordinary users asks for more than every kernel has
		if err := user.Own(e.dir); err != nil {
			t.Fatal(err)
		}
	}
	e.environ = append(e.environ, "CONTAINERS_CONF="+conf)
	e.command = []string{"podman", "--root", filepath.Join(e.dir, "root"), "--runroot", filepath.Join(e.dir, "run"), "--storage-driver", driver}
	t.Cleanup(func() {
		e.t = t
		e.run("rm", "--all", "--force", "--time", "0")
		e.run("rmi", "--all", "--force")
		if user != nil {
			e.run("unshare", "rm", "-rf", filepath.Join(e.dir, "root"))
			e.run("system", "migrate") // ends the process that keeps its user namespace
		}
	})
	e.must("load", "--quiet", "--input", archive)
	return e
}

func TestPodman(t *testing.T) {
	t.Parallel()
	e := podman(t, "podman", nil)
	group := []string{"--network", "none", "--cgroup-parent", "/" + e.parent}
	run := func(args ...string) []string {
		return append(append([]string{"run", "--rm"}, group...), args...)
	}
	start := func(name string, args ...string) {
		e.t.Helper()
		e.must(append(append([]string{"run", "--detach", "--name", name}, group...), args...)...)
	}
	memory, pids, cpu := limitFiles()

	e.section("output and exit codes", func(t *testing.T) {
		e.want("hi", run(image, "echo", "hi")...)
		if r := e.feed("piped", run("--interactive", image, "cat")...); r.stdout != "piped" || r.code != 0 {
			t.Error(r)
		}
		if seen := e.onTerminal(run("--interactive", "--tty", image, "sh", "-c", "tty")...); !strings.Contains(seen, "/dev/pts/0") {
			t.Errorf("the terminal shows %q", seen)
		}
		e.fails(7, nil, run(image, "sh", "-c", "exit 7")...)
		e.fails(127, []string{"lope", `exec: "nope": executable file not found in $PATH`, "OCI runtime attempted to invoke a command that was not found"}, run(image, "nope")...)
		e.fails(127, []string{`exec: "/nope"`, "no such file or directory"}, run(image, "/nope")...)
		e.fails(126, []string{`exec: "/etc/passwd"`, "permission denied"}, run(image, "/etc/passwd")...)
	})
	e.section("life", func(t *testing.T) {
		start("life", "--memory", "64m", "--pids-limit", "50", "--cpus", "0.5", image, "sh", "-c", "trap 'echo term; exit 3' TERM; echo started; while :; do sleep 0.1; done")
		limits := []string{"exec", "life", "sh", "-c", "cd /sys/fs/cgroup; cat " + memory + " " + pids + " " + cpu}
		e.shows([]string{"67108864\n50\n50000"}, limits...)
		e.eventually("started", "logs", "life") // and not a word of the runtime's
		e.fails(9, nil, "exec", "life", "sh", "-c", "exit 9")
		e.fails(127, []string{`exec: "nope": executable file not found in $PATH`}, "exec", "life", "nope")
		e.fails(126, []string{"permission denied"}, "exec", "life", "/etc/passwd")
		e.want("1000 2000\n/tmp\nb", "exec", "--user", "1000:2000", "--workdir", "/tmp", "--env", "A=b", "life", "sh", "-c", "echo $(id -u) $(id -g); pwd; echo $A")
		e.shows([]string{"CapEff:\t000001ff"}, "exec", "--privileged", "life", "grep", "CapEff", "/proc/self/status")
		if seen := e.onTerminal("exec", "--interactive", "--tty", "life", "tty"); !strings.Contains(seen, "/dev/pts/") {
			t.Errorf("exec's terminal shows %q", seen)
		}
		e.shows([]string{"PID", "1           sh"}, "top", "life", "pid", "comm")
		e.shows([]string{"/ 67.11MB 2"}, "stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "life")
		e.must("pause", "life")
		e.want("paused", "inspect", "--format", "{{.State.Status}}", "life")
		e.must("unpause", "life")
		e.must("update", "--memory", "128m", "--cpus", "1", "life")
		e.shows([]string{"134217728\n50\n100000"}, limits...)
		e.must("kill", "--signal", "TERM", "life")
		e.want("3", "wait", "life")
		e.must("restart", "--time", "1", "life")
		e.must("stop", "--time", "5", "life")
		e.want("exited 3", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "life")
		e.must("start", "life")
		e.must("kill", "life")
		e.want("137", "wait", "life")
		e.must("rm", "life")
	})
	e.section("created", func(t *testing.T) {
		e.must(append(append([]string{"create", "--name", "made"}, group...), image, "echo", "made")...)
		e.must("init", "made")
		e.want("initialized", "inspect", "--format", "{{.State.Status}}", "made")
		e.want("made", "start", "--attach", "made")
		e.must("init", "made")
		e.must("rm", "--force", "made")
	})
	e.section("ends", func(t *testing.T) {
		e.fails(137, nil, run("--memory", "16m", image, "sh", "-c", "x=aaaaaaaaaaaaaaaaaaaa; while :; do x=$x$x; done")...)
		start("deaf", image, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
		e.must("stop", "--time", "1", "deaf")
		e.want("137", "inspect", "--format", "{{.State.ExitCode}}", "deaf")
		start("again", "--restart", "on-failure:2", image, "sh", "-c", "echo x; exit 1")
		start("healthy", "--health-cmd", "test -e /tmp/x", "--health-interval", "disable", image, "sh", "-c", "touch /tmp/x; sleep 100")
		e.eventually("", "healthcheck", "run", "healthy")
		e.eventually("2 exited", "inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "again")
		e.want("x\nx\nx", "logs", "again")
		e.must("rm", "--force", "--time", "0", "deaf", "again", "healthy")
	})
	e.section("files and rights", func(t *testing.T) {
		e.fails(1, []string{"/x: Read-only", "/vol/x: Read-only"}, run("--read-only", "--tmpfs", "/run:size=1m", "--volume", e.dir+":/vol:ro", image, "sh", "-c", "touch /x; touch /run/x; touch /vol/x")...)
		e.must(run("--volume", "data:/data:U", image, "sh", "-c", "echo kept > /data/f")...)
		e.want("kept", run("--volume", "data:/data", image, "cat", "/data/f")...)
		e.want("uid=1000(worker) gid=1000(worker) groups=1000(worker),2000(crew)", run("--user", "worker", image, "id")...)
		e.want("CapBnd:\t0000000000002000", run("--cap-drop", "ALL", "--cap-add", "NET_RAW", image, "grep", "CapBnd", "/proc/self/status")...)
		e.fails(1, []string{"Seccomp:\t2", "Operation not permitted"}, run(image, "sh", "-c", "grep Seccomp: /proc/self/status; unshare -m true")...)
		e.want("mounted", run("--privileged", image, "sh", "-c", "mount -t tmpfs x /tmp && echo mounted")...)
		e.want("1\n1024\nhh\n500", run("--sysctl", "net.ipv4.ip_forward=1", "--hostname", "hh", "--oom-score-adj", "500", image, "sh", "-c",
			"cat /proc/sys/net/ipv4/ip_forward; ulimit -n; hostname; cat /proc/self/oom_score_adj")...)
		e.want("0", run("--security-opt", "mask=/etc/group", image, "sh", "-c", "wc -c < /etc/group")...)
		if _, err := exec.LookPath("catatonit"); err == nil {
			e.want("podman-init", run("--init", image, "cat", "/proc/1/comm")...)
		}
	})
	e.section("namespaces", func(t *testing.T) {
		e.want("0 100000 65536\n0", run("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536", image, "sh", "-c", "echo $(cat /proc/self/uid_map); id -u")...)
		name, _ := os.Hostname()
		e.want(name, run("--pid", "host", "--ipc", "host", "--uts", "host", image, "hostname")...)
		e.shows([]string{"lo"}, "run", "--rm", "--network", "host", "--cgroup-parent", "/"+e.parent, image, "ls", "/sys/class/net")
		start("other", image, "sleep", "100")
		e.shows([]string{"sleep 100"}, "run", "--rm", "--network", "container:other", "--pid", "container:other", "--ipc", "container:other", "--cgroup-parent", "/"+e.parent, image, "ps")
		e.must("rm", "--force", "--time", "0", "other")
		e.must("run", "--rm", "--network", "none", "--cgroups", "disabled", image, "true")
	})
	e.section("pod", func(t *testing.T) {
		e.must("pod", "create", "--name", "pod", "--network", "none", "--cgroup-parent", "/"+e.parent, "--infra-image", image, "--infra-command", "/bin/sleep 1000", "--share", "net,ipc,uts,pid")
		e.must("run", "--detach", "--pod", "pod", "--name", "member", image, "sleep", "100")
		e.shows([]string{"sleep 1000", "sleep 100"}, "exec", "member", "ps")
		e.shows([]string{"kind: Pod", "name: member"}, "generate", "kube", "pod")
		e.must("pod", "pause", "pod")
		e.must("pod", "unpause", "pod")
		e.must("pod", "rm", "--force", "--time", "0", "pod")
	})
}

// An ordinary user has Podman without root, and on cgroup v1 without limits.
func TestPodmanRootless(t *testing.T) {
	t.Parallel()
	env.NeedRoot(t)
	e := podman(t, "rootless", env.Ordinary(t, true))
	run := func(args ...string) []string { return append([]string{"run", "--rm", "--network", "none"}, args...) }
	e.want("0\nhi", run(image, "sh", "-c", "id -u; echo hi")...)
	e.fails(127, []string{`exec: "nope": executable file not found in $PATH`}, run(image, "nope")...)
	e.want("1000", run("--user", "1000", image, "id", "-u")...)
	e.must("run", "--detach", "--name", "life", "--network", "none", image, "sh", "-c", "trap 'exit 3' TERM; echo started; while :; do sleep 0.1; done")
	e.eventually("started", "logs", "life")
	e.want("0", "exec", "life", "id", "-u")
	if seen := e.onTerminal("exec", "--interactive", "--tty", "life", "tty"); !strings.Contains(seen, "/dev/pts/") {
		t.Errorf("exec's terminal shows %q", seen)
	}
	e.must("stop", "--time", "5", "life")
	e.want("exited 3", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "life")
	e.must("rm", "life")
	e.want("keep-id", run("--userns", "keep-id", image, "echo", "keep-id")...)
}
