package main

import (
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// information is what `loper info` tells, with docker's names.
type information struct {
	Containers        int
	ContainersRunning int
	ContainersPaused  int
	ContainersStopped int
	Images            int
	Driver            string
	LoggingDriver     string
	CgroupDriver      string
	CgroupVersion     string
	KernelVersion     string
	OperatingSystem   string
	OSType            string
	Architecture      string
	NCPU              int
	MemTotal          int64 // bytes
	DockerRootDir     string
	RunRoot           string
	Name              string
	ServerVersion     string
	DefaultRuntime    string
	Rootless          bool
	SecurityOptions   []string
}

func newInfo(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "info [OPTIONS]",
		Short: "Show what there is, and on what it runs",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			i, err := c.information()
			if err != nil {
				return err
			}
			if format != "" {
				return c.printOne(format, i)
			}
			_, err = fmt.Fprintf(c.out, infoText,
				i.Containers, i.ContainersRunning, i.ContainersPaused, i.ContainersStopped, i.Images,
				i.ServerVersion, i.Driver, i.LoggingDriver, i.CgroupDriver, i.CgroupVersion, i.DefaultRuntime,
				strings.Join(i.SecurityOptions, " "), i.KernelVersion, i.OperatingSystem, i.OSType, i.Architecture, i.NCPU,
				units.BytesSize(float64(i.MemTotal)), i.Name, i.DockerRootDir, i.RunRoot)
			return err
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

const infoText = `Containers: %d
 Running: %d
 Paused: %d
 Stopped: %d
Images: %d
Server Version: %s
Storage Driver: %s
Logging Driver: %s
Cgroup Driver: %s
Cgroup Version: %s
Default Runtime: %s
Security Options: %s
Kernel Version: %s
Operating System: %s
OSType: %s
Architecture: %s
CPUs: %d
Total Memory: %s
Name: %s
Root Dir: %s
Run Root: %s
`
