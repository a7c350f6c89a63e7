package engines_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// kubernetes is containerd as a kubelet has it, and the kubelet's side of the Container Runtime Interface.
func kubernetes(t *testing.T) *engine {
	e := newEngine(t, "cri", "containerd", "containerd-shim-runc-v2", "ctr", "go")
	busyboxFile, pauseFile := file(t, busybox), file(t, pauseImage)
	client := buildClient(t)
	config, socket := filepath.Join(e.dir, "config.toml"), filepath.Join(e.dir, "sock")
	text := fmt.Sprintf(`version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "%[1]s/sock"
[ttrpc]
  address = "%[1]s/ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[2]s"
  disable_tcp_service = true
  stream_server_port = "0"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "%[1]s/cni"
  conf_dir = "%[1]s/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "lope"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.lope]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.lope.options]
  BinaryName = "%[3]s"
  Root = "%[1]s/runtime"
  SystemdCgroup = false
`, e.dir, pause, lope)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e.daemon("containerd", "--config", config)
	e.command = []string{"ctr", "--address", socket, "--namespace", "k8s.io"}
	e.waitFor("version")
	e.must("images", "import", busyboxFile)
	e.must("images", "import", pauseFile)
	e.command = []string{client, socket}
	e.waitFor("Version", "{}")
	t.Cleanup(func() {
		e.t = t
		for _, p := range e.call("ListPodSandbox", object{})["items"].([]any) {
			pod := object{"podSandboxId": p.(map[string]any)["id"]}
			e.call("StopPodSandbox", pod)
			e.call("RemovePodSandbox", pod)
		}
	})
	return e
}

// buildClient builds cri, a module of its own.
func buildClient(t testing.TB) string {
	t.Helper()
	dir, err := env.Cache("cri")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "cri")
	var out []byte
	for range 3 { // the module proxy may fail once
		cmd := exec.Command("go", "build", "-trimpath", "-o", program, ".")
		cmd.Dir = filepath.Join(env.Source(), "test/engines/cri")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		if out, err = cmd.CombinedOutput(); err == nil {
			return program
		}
	}
	t.Fatalf("go build cri: %v\n%s", err, out)
	return ""
}

type object = map[string]any

// call calls a method that has to succeed.
func (e *engine) call(method string, request object) object {
	e.t.Helper()
	data, err := json.Marshal(request)
	if err != nil {
		e.t.Fatal(err)
	}
	response := object{}
	if said := e.must(method, string(data)); json.Unmarshal([]byte(said), &response) != nil {
		e.t.Fatalf("%s answers %q", method, said)
	}
	return response
}

// refused calls a method that has to fail with those words.
func (e *engine) refused(words, method string, request object) {
	e.t.Helper()
	data, err := json.Marshal(request)
	if err != nil {
		e.t.Fatal(err)
	}
	e.fails(1, []string{words}, method, string(data))
}

// inside runs a command in a container and returns what it says.
func (e *engine) inside(id any, command ...string) string {
	e.t.Helper()
	response := e.call("ExecSync", object{"containerId": id, "cmd": command, "timeout": 10})
	return strings.TrimSpace(decode(response["stdout"]) + decode(response["stderr"]))
}

func (e *engine) state(id any) string {
	e.t.Helper()
	status := e.call("ContainerStatus", object{"containerId": id})["status"].(map[string]any)
	return fmt.Sprint(status["state"], " ", status["exitCode"], " ", status["reason"])
}

// decode undoes what JSON does to bytes.
func decode(text any) string {
	var data []byte
	if quoted, err := json.Marshal(text); err == nil && json.Unmarshal(quoted, &data) == nil {
		return string(data)
	}
	return ""
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	e := kubernetes(t)
	const hosts = 2 // a namespace of the node; there is no network plugin
	logs := filepath.Join(e.dir, "logs")
	config := object{
		"metadata": object{"name": "pod", "uid": "uid", "namespace": "default"}, "logDirectory": logs,
		"linux": object{"cgroupParent": "/" + e.parent, "securityContext": object{"privileged": true, "namespaceOptions": object{"network": hosts}}},
	}
	pod := e.call("RunPodSandbox", object{"config": config, "runtimeHandler": "lope"})["podSandboxId"]
	create := func(name string, linux object, command ...string) object {
		return object{"podSandboxId": pod, "sandboxConfig": config, "config": object{
			"metadata": object{"name": name}, "image": object{"image": image}, "command": command, "logPath": name + ".log", "linux": linux,
		}}
	}
	container := func(name string, linux object, command ...string) any {
		e.t.Helper()
		id := e.call("CreateContainer", create(name, linux, command...))["containerId"]
		e.call("StartContainer", object{"containerId": id})
		return id
	}

	e.section("life", func(t *testing.T) {
		id := container("life", object{"resources": object{"memoryLimitInBytes": 64 << 20, "cpuQuota": 50000, "cpuPeriod": 100000}},
			"sh", "-c", "trap 'exit 3' TERM; echo started; while :; do sleep 0.1; done")
		if got := e.state(id); !strings.HasPrefix(got, "CONTAINER_RUNNING") {
			t.Errorf("state %s", got)
		}
		if got := e.inside(id, "sh", "-c", "echo out; echo err >&2"); got != "out\nerr" {
			t.Errorf("exec says %q", got)
		}
		if code := e.call("ExecSync", object{"containerId": id, "cmd": []string{"sh", "-c", "exit 9"}})["exitCode"]; fmt.Sprint(code) != "9" {
			t.Errorf("exec ends with %v", code)
		}
		e.refused(`exec: "nope": executable file not found in $PATH`, "ExecSync", object{"containerId": id, "cmd": []string{"nope"}})
		if stats := e.call("ContainerStats", object{"containerId": id})["stats"].(map[string]any); stats["memory"] == nil || stats["cpu"] == nil {
			t.Errorf("stats %v", stats)
		}
		memory, _, cpu := limitFiles()
		limits := func(want string) {
			e.t.Helper()
			if got := e.limit(id.(string), memory) + " " + e.limit(id.(string), cpu); !strings.HasPrefix(got, want) {
				t.Errorf("limits %q, want %q", got, want)
			}
		}
		limits("67108864 50000")
		e.call("UpdateContainerResources", object{"containerId": id, "linux": object{"memoryLimitInBytes": 128 << 20, "cpuQuota": 20000, "cpuPeriod": 100000}})
		limits("134217728 20000")
		e.call("StopContainer", object{"containerId": id, "timeout": 5})
		if got := e.state(id); got != "CONTAINER_EXITED 3 Error" {
			t.Errorf("state %s", got)
		}
		if said, err := os.ReadFile(filepath.Join(logs, "life.log")); err != nil || !strings.HasSuffix(string(said), "stdout F started\n") || strings.Count(string(said), "\n") != 1 {
			t.Errorf("log %q, %v", said, err)
		}
		e.call("RemoveContainer", object{"containerId": id})
	})
	e.section("ends", func(t *testing.T) {
		id := e.call("CreateContainer", create("missing", nil, "nope"))["containerId"]
		e.refused(`exec: "nope": executable file not found in $PATH`, "StartContainer", object{"containerId": id})
		e.call("RemoveContainer", object{"containerId": id})
		id = container("oom", object{"resources": object{"memoryLimitInBytes": 16 << 20}}, "sh", "-c", "x=aaaaaaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
		ended := func() bool { return strings.HasPrefix(e.state(id), "CONTAINER_EXITED") }
		eventually(t, ended)
		if got := e.state(id); got != "CONTAINER_EXITED 137 OOMKilled" {
			t.Errorf("state %s", got)
		}
		e.call("RemoveContainer", object{"containerId": id})
	})
	e.section("rights", func(t *testing.T) {
		confined := object{"seccomp": object{"profileType": 0}, "readonlyRootfs": true, "noNewPrivs": true, "runAsUser": object{"value": 1000}, "capabilities": object{"dropCapabilities": []string{"ALL"}},
			"maskedPaths": []string{"/proc/kcore"}, "readonlyPaths": []string{"/proc/sys"}, "supplementalGroups": []int{2000}}
		id := container("confined", object{"securityContext": confined}, "sleep", "100")
		if got := e.inside(id, "sh", "-c", "id -u; id -G; grep -e Seccomp: -e NoNew -e CapBnd /proc/self/status; touch /x"); got != "1000\n1000 2000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\ntouch: /x: Read-only file system" {
			t.Errorf("inside: %q", got)
		}
		id = container("trusted", object{"securityContext": object{"privileged": true}}, "sleep", "100")
		if got := e.inside(id, "sh", "-c", "mount -t tmpfs x /tmp && echo mounted"); got != "mounted" {
			t.Errorf("inside of a privileged one: %q", got)
		}
	})
	e.section("shared namespaces", func(t *testing.T) {
		id := container("neighbour", object{"securityContext": object{"namespaceOptions": object{"network": hosts, "pid": 0}}}, "sleep", "123")
		if got := e.inside(id, "ps"); !strings.Contains(got, "sleep 10000") || !strings.Contains(got, "sleep 123") {
			t.Errorf("processes of the pod: %q", got)
		}
	})
}
