// Command loper is a container engine: docker's commands, with no daemon. Each
// command is a short-lived process that works on state on disk; nothing stays
// resident but one small monitor for every running container.
//
// Only the named command is built (see commands.go): flags of forty commands
// cost more than most commands do.
package main

import (
	"os"
	"path/filepath"

	"loper.run/container/isolation"
	"loper.run/container/monitor"
	"loper.run/container/reaper"
	"loper.run/internal/userns"
)

func main() {
	registerWorkers()
	userns.Main()
	if filepath.Base(os.Args[0]) == "hello" {
		if err := isolation.Report(os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	switch {
	case len(os.Args) == 3 && os.Args[1] == "monitor":
		os.Exit(monitor.Main(os.Args[2]))
	case len(os.Args) > 2 && os.Args[1] == "init":
		os.Exit(reaper.Main(os.Args[2:], os.Stderr))
	}
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(c.main(os.Args[1:]))
}
