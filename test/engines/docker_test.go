package engines_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// docker is a daemon whose only and default runtime is lope.
func docker(t *testing.T, name string, flags ...string) *engine {
	e := newEngine(t, name, "dockerd", "docker")
	archive := file(t, busybox)
	config := filepath.Join(e.dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := "unix://" + filepath.Join(e.dir, "sock")
	e.command = []string{"docker", "--host", socket}
	e.daemon(append([]string{"dockerd", "--config-file", config, "--host", socket, "--pidfile", filepath.Join(e.dir, "pid"),
		"--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"), "--cgroup-parent", "/" + e.parent,
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false",
		"--add-runtime", "lope=" + lope, "--default-runtime", "lope", "--exec-opt", "native.cgroupdriver=cgroupfs"}, flags...)...)
	e.waitFor("version")
	e.must("load", "--input", archive)
	return e
}

func TestDocker(t *testing.T) {
	t.Parallel()
	e := docker(t, "docker")
	run := func(args ...string) []string { return append([]string{"run", "--rm", "--network", "none"}, args...) }
	start := func(name string, args ...string) {
		e.t.Helper()
		e.must(append([]string{"run", "--detach", "--name", name, "--network", "none"}, args...)...)
	}
	memory, pids, cpu := limitFiles()

	e.section("output", func(t *testing.T) {
		e.want("hi", run(image, "echo", "hi")...)
		if r := e.feed("piped", run("--interactive", image, "cat")...); r.stdout != "piped" || r.code != 0 {
			t.Error(r)
		}
		e.want("", run("--privileged", image, "true")...) // warnings are not the container's words
		if seen := e.onTerminal(run("--interactive", "--tty", image, "sh", "-c", "tty; stty size")...); !strings.Contains(seen, "/dev/pts/0") {
			t.Errorf("the terminal shows %q", seen)
		}
	})
	e.section("exit codes", func(t *testing.T) {
		e.fails(7, nil, run(image, "sh", "-c", "exit 7")...)
		e.fails(127, []string{"OCI runtime create failed", `exec: "nope": executable file not found in $PATH`}, run(image, "nope")...)
		e.fails(127, []string{`exec: "/nope"`, "no such file or directory"}, run(image, "/nope")...)
		e.fails(126, []string{`exec: "/etc/passwd"`, "permission denied"}, run(image, "/etc/passwd")...)
		e.fails(125, []string{"OCI runtime create failed", "sysctl"}, run("--sysctl", "kernel.shmmax=nonsense", image, "true")...)
	})
	e.section("life", func(t *testing.T) {
		start("life", "--memory", "64m", "--pids-limit", "50", "--cpus", "0.5", image, "sh", "-c", "trap 'echo term; exit 3' TERM; echo started; while :; do sleep 0.1; done")
		limits := []string{"exec", "life", "sh", "-c", "cd /sys/fs/cgroup; cat " + memory + " " + pids + " " + cpu}
		e.shows([]string{"67108864\n50\n50000"}, limits...)
		e.eventually("started", "logs", "life")
		e.fails(9, nil, "exec", "life", "sh", "-c", "exit 9")
		e.fails(126, []string{"OCI runtime exec failed", `exec: "nope": executable file not found in $PATH`}, "exec", "life", "nope") // 127 since Docker 23
		e.fails(126, []string{"permission denied"}, "exec", "life", "/etc/passwd")
		e.want("1000 2000\n/tmp\nb", "exec", "--user", "1000:2000", "--workdir", "/tmp", "--env", "A=b", "life", "sh", "-c", "echo $(id -u) $(id -g); pwd; echo $A")
		e.shows([]string{"CapEff:\t000000"}, "exec", "--privileged", "life", "grep", "CapEff", "/proc/self/status")
		if seen := e.onTerminal("exec", "--interactive", "--tty", "life", "sh", "-c", "tty"); !strings.Contains(seen, "/dev/pts/") {
			t.Errorf("exec's terminal shows %q", seen)
		}
		e.shows([]string{"sh -c trap", "sleep 0.1"}, "top", "life")
		e.shows([]string{"/ 64MiB 2"}, "stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "life")
		e.must("pause", "life")
		e.want("paused", "inspect", "--format", "{{.State.Status}}", "life")
		e.fails(1, []string{"is paused"}, "exec", "life", "true")
		e.must("unpause", "life")
		e.must("update", "--memory", "128m", "--memory-swap", "-1", "--pids-limit", "20", "--cpus", "1", "life")
		e.shows([]string{"134217728\n20\n100000"}, limits...)
		e.must("kill", "--signal", "TERM", "life")
		e.want("3", "wait", "life")
		e.want("exited 3", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "life")
		e.must("restart", "--time", "1", "life")
		e.must("stop", "--time", "5", "life")
		e.want("exited 3 false", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}", "life")
		e.must("start", "life")
		e.must("kill", "life")
		e.want("137", "wait", "life")
		e.must("start", "life")
		e.must("rm", "--force", "life")
	})
	e.section("out of memory", func(t *testing.T) {
		e.run("run", "--name", "oom", "--network", "none", "--memory", "16m", image, "sh", "-c", "x=aaaaaaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
		e.want("137 true", "inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}}", "oom")
		e.must("rm", "oom")
	})
	e.section("stop with timeout", func(t *testing.T) {
		start("deaf", image, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
		e.must("stop", "--time", "1", "deaf")
		e.want("137", "inspect", "--format", "{{.State.ExitCode}}", "deaf")
		e.must("rm", "deaf")
	})
	e.section("restart policy and health", func(t *testing.T) {
		start("again", "--restart", "on-failure:2", image, "sh", "-c", "echo x; exit 1")
		start("healthy", "--health-cmd", "test -e /tmp/x", "--health-interval", "200ms", "--health-retries", "1", image, "sh", "-c", "sleep 1; touch /tmp/x; sleep 100")
		e.eventually("unhealthy", "inspect", "--format", "{{.State.Health.Status}}", "healthy")
		e.eventually("healthy", "inspect", "--format", "{{.State.Health.Status}}", "healthy")
		e.eventually("2 exited", "inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "again")
		e.want("x\nx\nx", "logs", "again")
		e.must("rm", "--force", "again", "healthy")
	})
	e.section("files", func(t *testing.T) {
		e.shows([]string{"docker-init"}, run("--init", image, "cat", "/proc/1/comm")...)
		e.fails(1, []string{"/x: Read-only", "/vol/x: Read-only", "1024"}, run("--read-only", "--tmpfs", "/run:size=1m", "--volume", e.dir+":/vol:ro", image, "sh", "-c", "touch /x; touch /run/x || echo no; df -k /run | tail -1; touch /vol/x")...)
		e.must(run("--volume", "data:/data", image, "sh", "-c", "echo kept > /data/f")...)
		e.want("kept", run("--volume", "data:/data", image, "cat", "/data/f")...)
		e.must("volume", "rm", "data")
		shared := e.sharedMount()
		e.must(run("--privileged", "--mount", "type=bind,src="+shared+",dst=/t,bind-propagation=rshared", image, "sh", "-c", "mkdir /t/in; mount -t tmpfs in /t/in; touch /t/in/seen")...)
		if _, err := os.Stat(filepath.Join(shared, "in/seen")); err != nil {
			t.Errorf("a shared mount does not come to the host: %v", err)
		}
	})
	e.section("rights", func(t *testing.T) {
		e.want("uid=1000(worker) gid=1000(worker) groups=1000(worker),2000(crew)", run("--user", "worker", image, "id")...)
		e.want("CapBnd:\t0000000000002000", run("--cap-drop", "ALL", "--cap-add", "NET_RAW", image, "grep", "CapBnd", "/proc/self/status")...)
		e.fails(1, []string{"Seccomp:\t2", "Operation not permitted"}, run(image, "sh", "-c", "grep Seccomp: /proc/self/status; unshare -m true")...)
		e.want("NoNewPrivs:\t1\nSeccomp:\t0", run("--security-opt", "seccomp=unconfined", "--security-opt", "no-new-privileges", image, "sh", "-c", "grep -e Seccomp: -e NoNew /proc/self/status")...)
		e.want("mounted", run("--privileged", image, "sh", "-c", "mount -t tmpfs x /tmp && echo mounted")...)
		e.want("1\n512\nhh\n500", run("--sysctl", "net.ipv4.ip_forward=1", "--ulimit", "nofile=512:512", "--hostname", "hh", "--oom-score-adj", "500", image, "sh", "-c",
			"cat /proc/sys/net/ipv4/ip_forward; ulimit -n; hostname; cat /proc/self/oom_score_adj")...)
		e.must(run("--device", "/dev/zero:/dev/nothing", image, "head", "-c", "1", "/dev/nothing")...)
	})
	e.section("namespaces", func(t *testing.T) {
		e.shows([]string{"lo"}, "run", "--rm", "--network", "host", image, "ls", "/sys/class/net")
		name, _ := os.Hostname()
		e.want(name, run("--pid", "host", "--ipc", "host", "--uts", "host", image, "hostname")...)
		start("other", image, "sleep", "100")
		e.shows([]string{"sleep 100"}, "run", "--rm", "--network", "container:other", "--pid", "container:other", "--ipc", "none", image, "ps")
		e.must("rm", "--force", "other")
		e.shows([]string{"/" + e.parent + "/inner/"}, run("--cgroup-parent", "/"+e.parent+"/inner", image, "cat", "/proc/self/cgroup")...)
		e.shows([]string{":/\n"}, run("--cgroupns", "private", image, "cat", "/proc/self/cgroup")...)
	})
}

// With --userns-remap all containers have the ids of one ordinary user's range.
func TestDockerUserNamespace(t *testing.T) {
	t.Parallel()
	env.NeedRoot(t)
	user := env.Ordinary(t, true)
	e := docker(t, "remapped", "--userns-remap", user.Name)
	run := func(args ...string) []string { return append([]string{"run", "--rm", "--network", "none"}, args...) }
	if got := e.must(run(image, "cat", "/proc/self/uid_map")...); strings.Fields(got)[0] != "0" || strings.Fields(got)[1] == "0" {
		t.Errorf("id map %q", got)
	}
	e.want("0 0\nworker", run("--volume", "data:/data", image, "sh", "-c", "touch /x /data/x; stat -c '%u %g' /data/x; su worker -c whoami")...)
	e.must("volume", "rm", "data")
	e.must("run", "--detach", "--name", "life", "--network", "none", "--memory", "64m", image, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
	e.want("1000", "exec", "--user", "1000", "life", "id", "-u")
	e.must("pause", "life")
	e.must("unpause", "life")
	e.must("stop", "--time", "5", "life")
	e.want("3", "inspect", "--format", "{{.State.ExitCode}}", "life")
	e.must("rm", "life")
	e.shows([]string{"4294967295"}, run("--userns", "host", image, "cat", "/proc/self/uid_map")...)
}
