package engines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// containerd is a daemon without Kubernetes' half, whose client is ctr.
func containerd(t *testing.T) *engine {
	e := newEngine(t, "containerd", "containerd", "containerd-shim-runc-v2", "ctr")
	archive := file(t, busybox)
	config, socket := filepath.Join(e.dir, "config.toml"), filepath.Join(e.dir, "sock")
	text := fmt.Sprintf(`version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "%[1]s/sock"
[ttrpc]
  address = "%[1]s/ttrpc"
`, e.dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e.command = []string{"ctr", "--address", socket, "--namespace", "loper"}
	e.daemon("containerd", "--config", config)
	e.waitFor("version")
	t.Cleanup(func() {
		e.t = t
		for _, id := range strings.Fields(e.run("containers", "ls", "--quiet").stdout) {
			e.run("tasks", "delete", "--force", id)
			e.run("containers", "delete", id)
		}
	})
	e.must("images", "import", archive)
	return e
}

func TestContainerd(t *testing.T) {
	t.Parallel()
	e := containerd(t)
	root := filepath.Join(e.dir, "runtime")
	common := func(args ...string) []string {
		return append([]string{"--runtime", "io.containerd.runc.v2", "--runc-binary", lope, "--runc-root", root, "--cgroup", "/" + e.parent + "/c"}, args...)
	}
	made := 0
	run := func(args ...string) []string { // each has an id of its own: a failed one may leave its snapshot
		made++
		args = slices.Clone(args)
		args[slices.Index(args, image)+1] += strconv.Itoa(made)
		return append([]string{"run", "--rm"}, common(args...)...)
	}
	e.section("output and exit codes", func(t *testing.T) {
		e.want("hi", run(image, "c", "echo", "hi")...)
		e.fails(7, nil, run(image, "c", "sh", "-c", "exit 7")...)
		e.fails(1, []string{"OCI runtime create failed", `exec: "nope": executable file not found in $PATH`}, run(image, "c", "nope")...)
		e.fails(1, []string{"permission denied"}, run(image, "c", "/etc/passwd")...)
		e.fails(137, nil, run("--memory-limit", "16777216", image, "c", "sh", "-c", "x=aaaaaaaaaaaaaaaaaaaa; while :; do x=$x$x; done")...)
		if seen := e.onTerminal(run("--tty", image, "c", "sh", "-c", "tty; stty size")...); !strings.Contains(seen, "/dev/pts/0") {
			t.Errorf("the terminal shows %q", seen)
		}
	})
	e.section("life", func(t *testing.T) {
		e.must(append([]string{"run", "--detach"}, common("--memory-limit", "67108864", "--cpus", "0.5", "--env", "A=b", image, "c", "sh", "-c",
			"trap 'exit 3' TERM; while :; do sleep 0.1; done")...)...)
		e.shows([]string{"RUNNING"}, "tasks", "ls")
		e.shows([]string{"PID"}, "tasks", "ps", "c")
		memory, _, cpu := limitFiles()
		if got := e.limit("c", memory) + " " + e.limit("c", cpu); got != "67108864 50000" && got != "67108864 50000 100000" {
			t.Errorf("limits %q", got)
		}
		e.fails(9, []string{"out", "err"}, "tasks", "exec", "--exec-id", "1", "c", "sh", "-c", "echo out; echo err >&2; exit 9")
		e.want("1000\n/tmp\nb", "tasks", "exec", "--exec-id", "2", "--cwd", "/tmp", "--user", "1000", "c", "sh", "-c", "id -u; pwd; echo $A")
		e.fails(1, []string{"OCI runtime exec failed", `exec: "nope": executable file not found in $PATH`}, "tasks", "exec", "--exec-id", "3", "c", "nope")
		if seen := e.onTerminal("tasks", "exec", "--tty", "--exec-id", "4", "c", "tty"); !strings.Contains(seen, "/dev/pts/") {
			t.Errorf("exec's terminal shows %q", seen)
		}
		e.shows([]string{"memory", "pids"}, "tasks", "metrics", "c")
		e.must("tasks", "pause", "c")
		e.shows([]string{"PAUSED"}, "tasks", "ls")
		e.must("tasks", "resume", "c")
		e.must("tasks", "kill", "--signal", "TERM", "c")
		e.until("STOPPED", "tasks", "ls")
		e.fails(0, []string{"exit code 3"}, "tasks", "delete", "c")
		e.must("containers", "delete", "c")
	})
	e.section("rights and namespaces", func(t *testing.T) {
		e.fails(1, []string{"Seccomp:\t2", "Operation not permitted"}, run("--seccomp", image, "c", "sh", "-c", "grep Seccomp: /proc/self/status; unshare -m true")...)
		e.fails(1, []string{"Read-only"}, run("--read-only", image, "c", "touch", "/x")...)
		e.fails(1, []string{"Read-only"}, run("--mount", "type=bind,src="+e.dir+",dst=/vol,options=rbind:ro", image, "c", "touch", "/vol/x")...)
		e.want("mounted", run("--privileged", image, "c", "sh", "-c", "mount -t tmpfs x /tmp && echo mounted")...)
		e.want("CapBnd:\t00000000a80425fb", run(image, "c", "grep", "CapBnd", "/proc/self/status")...)
		e.shows([]string{"lo"}, run("--net-host", image, "c", "ls", "/sys/class/net")...)
		e.shows([]string{"100000"}, run("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536", image, "c", "cat", "/proc/self/uid_map")...)
		e.shows([]string{"/dev/zero"}, run("--device", "/dev/zero", image, "c", "ls", "/dev/zero")...)
		e.want("still", run("--no-pivot", image, "c", "echo", "still")...)
	})
}
