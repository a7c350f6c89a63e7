package main

import (
	"errors"
	"fmt"
	"os"

	"loper.run/runtime"

	"github.com/spf13/pflag"
)

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
			if err != nil && (c == nil || !force) {
				return err
			}
			err = c.Delete(force) // by force also one whose record is damaged
			g.warn(c.Warnings())
			return err
		},
	}
}
