package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/container"
	"loper.run/internal/confine"
	"loper.run/internal/version"
	"loper.run/runtime/cgroup"
)

func (c *cli) information() (information, error) {
	i := information{
		Driver: "overlay", LoggingDriver: "k8s-file", CgroupDriver: "cgroupfs", DefaultRuntime: "lope",
		OSType: runtime.GOOS, NCPU: runtime.NumCPU(), ServerVersion: version.String(), OperatingSystem: osName(),
		SecurityOptions: []string{"name=seccomp,profile=builtin", "name=userns", "name=no-new-privileges"},
	}
	e, err := c.engine()
	if err != nil {
		return i, err
	}
	i.DockerRootDir, i.RunRoot, i.Rootless = e.Root, e.RunRoot, e.Rootless
	// What unpacks images is confined by it, too.
	if v := confine.Landlock(); v >= confine.Least {
		i.SecurityOptions = append(i.SecurityOptions, fmt.Sprintf("name=landlock,version=%d", v))
	} else {
		i.SecurityOptions = append(i.SecurityOptions, "name=landlock,version=none")
	}
	if i.Rootless {
		i.SecurityOptions = append(i.SecurityOptions, "name=rootless")
	}
	i.CgroupVersion = "1"
	if cgroup.Detect() == cgroup.V2 {
		i.CgroupVersion = "2"
	}
	images, err := e.Images.List()
	if err != nil {
		return i, err
	}
	i.Images = len(images)
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return i, fmt.Errorf("uname: %w", err)
	}
	i.KernelVersion = unix.ByteSliceToString(name.Release[:])
	i.Architecture = unix.ByteSliceToString(name.Machine[:])
	i.Name = unix.ByteSliceToString(name.Nodename[:])
	var memory unix.Sysinfo_t
	if err := unix.Sysinfo(&memory); err != nil {
		return i, fmt.Errorf("sysinfo: %w", err)
	}
	i.MemTotal = int64(memory.Totalram) * int64(memory.Unit)
	return i, i.count(e)
}

// count counts the containers by their states.
func (i *information) count(e *container.Engine) error {
	all, err := e.List()
	if err != nil {
		return err
	}
	i.Containers = len(all)
	for _, ctr := range all {
		switch status, err := ctr.Status(); {
		case err != nil:
			return err
		case status.State == container.Running:
			i.ContainersRunning++
		case status.State == container.Paused:
			i.ContainersPaused++
		default:
			i.ContainersStopped++
		}
	}
	return nil
}

// osName is the distribution's name for itself.
func osName() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return "unknown"
}
