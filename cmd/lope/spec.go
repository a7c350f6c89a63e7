package main

import (
	"errors"
	"os"
	"path/filepath"

	"loper.run/runtime"

	"github.com/spf13/pflag"
)

func specCommand() command {
	var bundle string
	var rootless bool
	return command{
		name: "spec", short: "Write a config.json to begin with",
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&bundle, "bundle", "b", ".", "directory that takes it")
			f.BoolVar(&rootless, "rootless", false, "for an ordinary user")
		},
		run: func(g *global, args []string) error {
			if len(args) > 0 {
				return errors.New("no arguments are expected")
			}
			f, err := os.OpenFile(filepath.Join(bundle, "config.json"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return err
			}
			defer f.Close()
			data, err := runtime.Example(rootless)
			if err != nil {
				return err
			}
			_, err = f.Write(data)
			return err
		},
	}
}
