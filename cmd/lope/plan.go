package main

import (
	"fmt"
	"path/filepath"

	"loper.run/runtime"

	"github.com/spf13/pflag"
)

func planCommand() command {
	var format string
	return command{
		name: "plan", args: "BUNDLE", short: "Print the system calls that would run a bundle",
		flags: func(f *pflag.FlagSet) { f.StringVar(&format, "format", "text", "text or json") },
		run: func(g *global, args []string) error {
			bundle := "."
			if len(args) == 1 {
				bundle = args[0]
			} else if len(args) > 1 {
				return fmt.Errorf("one bundle is expected, not %d", len(args))
			}
			bundle, err := filepath.Abs(bundle)
			if err != nil {
				return err
			}
			spec, err := runtime.LoadSpec(bundle)
			if err != nil {
				return err
			}
			program, err := runtime.Plan(runtime.Options{Bundle: bundle, Spec: spec})
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return printJSON(program)
			case "text":
				fmt.Print(program)
				return nil
			}
			return fmt.Errorf("--format %q: text and json are known", format)
		},
	}
}
