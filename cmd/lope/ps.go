package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

func psCommand() command {
	var format string
	return command{
		name: "ps", args: "ID [PS-OPTION...]", short: "List the processes of a container",
		long: "The table is that of the host's ps, which gets the options (-ef without any), with the container's processes alone. JSON is a list of process ids.",
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&format, "format", "f", "table", "table or json")
		},
		stopAtArgs: true,
		run: func(g *global, args []string) error {
			if len(args) == 0 {
				return errors.New("a container id is expected")
			}
			c, err := load(g, args[:1])
			if err != nil {
				return err
			}
			pids, err := c.Pids()
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return json.NewEncoder(os.Stdout).Encode(append([]int{}, pids...))
			case "table":
				return psTable(pids, args[1:])
			}
			return fmt.Errorf("--format %q: table and json are known", format)
		},
	}
}

// psTable prints the lines of the host's ps that tell of these processes.
func psTable(pids []int, options []string) error {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.Command("ps", options...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ps %s: %w: %s", strings.Join(options, " "), err, out)
	}
	title, rest, _ := strings.Cut(string(out), "\n")
	column := slices.Index(strings.Fields(title), "PID")
	if column < 0 {
		return fmt.Errorf("ps %s prints no column PID", strings.Join(options, " "))
	}
	fmt.Println(title)
	for line := range strings.Lines(rest) {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			fmt.Print(line)
		}
	}
	return nil
}
