package main

import (
	"os"
	"os/exec"
	"path/filepath"
)

// podman is the peer engine with its state below one directory.
type podman struct {
	dir     string
	environ []string
	missing string // why there is none
}

const containersConf = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
`

func newPodman(dir string) (podman, error) {
	p := podman{dir: dir}
	for _, program := range []string{"podman", "conmon", "crun", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			p.missing = "no " + program
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return p, err
	}
	conf := filepath.Join(dir, "containers.conf")
	p.environ = []string{"CONTAINERS_CONF=" + conf}
	return p, os.WriteFile(conf, []byte(containersConf), 0o600)
}

func (p podman) argv(runtime string, args ...string) []string {
	return append([]string{"podman", "--root", filepath.Join(p.dir, "root"), "--runroot", filepath.Join(p.dir, "run"), "--tmpdir", filepath.Join(p.dir, "tmp"),
		"--storage-driver", "overlay", "--runtime", runtime}, args...)
}

// contender is a podman command with crun below.
func (p podman) contender(args ...string) contender {
	return contender{name: "podman with crun", argv: p.argv("crun", args...), environ: p.environ, skip: p.missing}
}

func (p podman) must(args ...string) (string, error) {
	return must(p.argv("crun", args...), p.environ...)
}
