package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// containerd is the daemon with its state below one directory, started anew for each measurement.
type containerd struct {
	dir string
	cmd *exec.Cmd
}

const containerdConf = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "%[1]s/sock"
[ttrpc]
  address = "%[1]s/ttrpc"
`

// pull is ctr's pull into a store that was just made.
func (c *containerd) pull(reference string) contender {
	out := contender{name: "ctr", before: c.restart, argv: c.ctr("images", "pull", "--plain-http", "--snapshotter", "overlayfs", reference)}
	for _, program := range []string{"containerd", "ctr"} {
		if _, err := exec.LookPath(program); err != nil {
			out.skip = "no " + program
		}
	}
	return out
}

func (c *containerd) ctr(args ...string) []string {
	return append([]string{"ctr", "--address", filepath.Join(c.dir, "sock"), "--namespace", "bench"}, args...)
}

func (c *containerd) restart() error {
	c.stop()
	if err := fresh(c.dir)(); err != nil {
		return err
	}
	config := filepath.Join(c.dir, "config.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, containerdConf, c.dir), 0o600); err != nil {
		return err
	}
	c.cmd = exec.Command("containerd", "--config", config, "--log-level", "error")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	var err error
	for range 200 {
		if _, err = must(c.ctr("version")); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func (c *containerd) stop() {
	if c.cmd != nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
		c.cmd = nil
	}
}
