package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"loper.run/internal/version"
)

// versions is what `loper version` tells, with docker's names. There is no
// server; Server repeats the client for scripts that ask it.
type versions struct {
	Client versionOf
	Server *versionOf
}

type versionOf struct {
	Version   string
	GitCommit string
	GoVersion string
	Os        string
	Arch      string
}

func newVersion(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the version",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			v := versionOf{version.String(), version.Commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			if format != "" {
				return c.printOne(format, versions{v, &v})
			}
			_, err := fmt.Fprintf(c.out, "Loper:\n Version:    %s\n Go version: %s\n Git commit: %s\n OS/Arch:    %s/%s\n",
				v.Version, v.GoVersion, v.GitCommit, v.Os, v.Arch)
			return err
		},
	}
	formatFlag(cmd, &format)
	return cmd
}
