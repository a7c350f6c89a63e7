package main

import (
	"fmt"
	"strconv"
	"syscall"

	"github.com/moby/sys/signal"
	"github.com/spf13/pflag"
)

func killCommand() command {
	var all bool
	return command{
		name: "kill", args: "ID [SIGNAL]", short: "Send a signal, SIGTERM if none is named, to a container",
		long:  "SIGNAL is a number or a name, with or without SIG.",
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
