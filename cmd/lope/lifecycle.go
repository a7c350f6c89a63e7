package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"loper.run/runtime"

	"github.com/moby/sys/signal"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
)

func startCommand() command {
	return command{name: "start", args: "ID", short: "Start a created container", run: func(g *global, args []string) error {
		c, err := load(g, args)
		if err != nil {
			return err
		}
		return c.Start()
	}}
}

func pauseCommand() command {
	return command{name: "pause", args: "ID", short: "Stop all processes of a container for a while", run: func(g *global, args []string) error {
		c, err := load(g, args)
		if err != nil {
			return err
		}
		return c.Pause()
	}}
}

func resumeCommand() command {
	return command{name: "resume", args: "ID", short: "Let a paused container go on", run: func(g *global, args []string) error {
		c, err := load(g, args)
		if err != nil {
			return err
		}
		return c.Resume()
	}}
}

func stateCommand() command {
	return command{name: "state", args: "ID", short: "Print the state of a container as JSON", run: func(g *global, args []string) error {
		c, err := load(g, args)
		if err != nil {
			return err
		}
		s, err := c.State()
		if err != nil {
			return err
		}
		return printJSON(s)
	}}
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func killCommand() command {
	var all bool
	return command{
		name: "kill", args: "ID [SIGNAL]", short: "Send a signal, SIGTERM if none is named, to a container",
		flags: func(f *pflag.FlagSet) { f.BoolVarP(&all, "all", "a", false, "send it to all processes") },
		run: func(g *global, args []string) error {
			sig := syscall.SIGTERM
			if len(args) == 2 {
				var err error
				if sig, err = parseSignal(args[1]); err != nil {
					return err
				}
				args = args[:1]
			}
			c, err := load(g, args)
			if err != nil {
				return err
			}
			return c.Kill(sig, all)
		},
	}
}

func parseSignal(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 || n > 64 {
			return 0, fmt.Errorf("%q is no signal", name)
		}
		return syscall.Signal(n), nil // 0 only asks whether there is a process
	}
	s, err := signal.ParseSignal(name)
	if err != nil {
		return 0, fmt.Errorf("%q is no signal", name)
	}
	return s, nil
}

func deleteCommand() command {
	var force bool
	return command{
		name: "delete", args: "ID", short: "Remove a stopped container",
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&force, "force", "f", false, "end it first; no error when there is none")
		},
		run: func(g *global, args []string) error {
			id, err := one(args)
			if err != nil {
				return err
			}
			c, err := runtime.Load(g.root, id)
			if errors.Is(err, os.ErrNotExist) {
				if force {
					return nil
				}
				return fmt.Errorf("container %q does not exist", id)
			}
			if err != nil {
				return err
			}
			err = c.Delete(force)
			warn(c.Warnings())
			return err
		},
	}
}

func listCommand() command {
	var quiet bool
	var format string
	return command{
		name: "list", short: "List the containers",
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&quiet, "quiet", "q", false, "print ids only")
			f.StringVarP(&format, "format", "f", "table", "table or json")
		},
		run: func(g *global, args []string) error {
			list, err := runtime.List(g.root)
			if err != nil {
				return err
			}
			switch {
			case quiet:
				for _, c := range list {
					fmt.Println(c.ID())
				}
				return nil
			case format == "json":
				return listJSON(list)
			case format == "table":
				return listTable(list)
			}
			return fmt.Errorf("--format %q: table and json are known", format)
		},
	}
}

func listJSON(list []*runtime.Container) error {
	type entry struct {
		specs.State
		Created time.Time `json:"created"`
		Owner   string    `json:"owner"`
	}
	entries := []entry{}
	for _, c := range list {
		s, err := c.State()
		if err != nil {
			return err
		}
		entries = append(entries, entry{s, c.Created(), strconv.Itoa(c.Owner())})
	}
	return printJSON(entries)
}

func listTable(list []*runtime.Container) error {
	w := tabwriter.NewWriter(os.Stdout, 12, 1, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
	for _, c := range list {
		s, err := c.State()
		if err != nil {
			return err
		}
		fmt.Fprintln(w, strings.Join([]string{
			s.ID, strconv.Itoa(s.Pid), string(s.Status), s.Bundle, c.Created().Format(time.RFC3339), strconv.Itoa(c.Owner()),
		}, "\t"))
	}
	return w.Flush()
}
