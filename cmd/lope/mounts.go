package main

import (
	"errors"
	"fmt"

	"loper.run/runtime"
)

func mountsCommand() command {
	return command{
		name: "mounts", args: "add|remove ID FILE", short: "Add mounts to a running container, or remove some",
		long: "FILE is JSON with a list of mounts as in config.json, or an object with such a list as \"mounts\". To remove one, its destination is enough.",
		run: func(g *global, args []string) error {
			if len(args) != 3 {
				return errors.New("'add' or 'remove', a container id and a file are expected")
			}
			change := (*runtime.Container).AddMounts
			switch args[0] {
			case "add":
			case "remove":
				change = (*runtime.Container).RemoveMounts
			default:
				return fmt.Errorf("mounts can be added and removed, but not %q", args[0])
			}
			c, err := load(g, args[1:2])
			if err != nil {
				return err
			}
			mounts, err := runtime.LoadMounts(args[2])
			if err != nil {
				return err
			}
			return change(c, mounts)
		},
	}
}
