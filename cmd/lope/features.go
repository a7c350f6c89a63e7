package main

import (
	"loper.run/internal/version"
	"loper.run/runtime"
)

func featuresCommand() command {
	return command{
		name: "features", short: "Print what lope implements, as JSON",
		long: "The form is that of the runtime specification's features.md.",
		run: func(g *global, args []string) error {
			if err := none(args); err != nil {
				return err
			}
			f := runtime.Features()
			f.Annotations = map[string]string{
				"run.loper.lope.version": version.String(),
				"run.loper.lope.commit":  version.Commit(),
				// Engines look for this name.
				"org.opencontainers.runc.checkpoint.enabled": "true",
			}
			return printJSON(f)
		},
	}
}
