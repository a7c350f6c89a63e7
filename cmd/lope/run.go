package main

import (
	"os"

	"loper.run/runtime"

	"github.com/spf13/pflag"
)

func runCommand() command {
	var c creation
	var detach, keep bool
	return command{
		name: "run", args: "ID", short: "Create a container, start it and wait for its end",
		flags: func(f *pflag.FlagSet) {
			c.flags(f)
			f.BoolVarP(&detach, "detach", "d", false, "don't wait for its end")
			f.BoolVar(&keep, "keep", false, "don't delete the container at its end")
		},
		run: func(g *global, args []string) error {
			o, err := c.options(g, args)
			if err != nil {
				return err
			}
			o.Detached = detach
			o.Stdin, o.Stdout, o.Stderr = os.Stdin, os.Stdout, os.Stderr
			if detach || c.consoleSocket != "" {
				if err := c.console(o); err != nil {
					return err
				}
			}
			tty, err := foregroundTerminal(o.Spec.Process, &o.ConsoleSocket)
			if err != nil {
				return err
			}
			defer tty.close()
			if tty.receive != nil {
				o.Terminal = tty.take
			}
			if !detach {
				tty.listen()
			}
			made, err := runtime.Run(*o)
			if err != nil {
				return err
			}
			warn(made.Warnings())
			if err := c.wrote(made); err != nil || detach {
				return err
			}
			status, err := tty.follow(made.Signal, made.Wait)
			if !keep {
				warned := len(made.Warnings())
				if deleteErr := made.Delete(true); err == nil {
					err = deleteErr
				}
				warn(made.Warnings()[warned:])
			}
			if err != nil {
				return err
			}
			return exitOf(status)
		},
	}
}
