package main

import (
	"loper.run/runtime"

	"github.com/spf13/pflag"
)

// restoring holds the flags of restore: of a container that is run and of the
// images that it comes from.
type restoring struct {
	running
	images
}

func restoreCommand() command {
	var r restoring
	return command{
		name: "restore", args: "ID", short: "Make a container of the images that checkpoint wrote, and wait for its end",
		long: "CRIU does the work. The bundle must be the one of the container that was checkpointed, or a copy.",
		flags: func(f *pflag.FlagSet) {
			r.running.flags(f)
			r.images.flags(f)
			f.StringVar(&r.criu.LSMProfile, "lsm-profile", "", "TYPE:NAME of the security module's profile to restore with")
			f.StringVar(&r.criu.LSMMountContext, "lsm-mount-context", "", "label of the mounts to restore with")
		},
		run: r.run,
	}
}

func (r *restoring) run(g *global, args []string) error {
	defer r.forget()
	if err := r.open(g, false); err != nil {
		return err
	}
	r.make = func(o *runtime.Options) (*runtime.Container, *notifier, error) {
		made, err := runtime.Restore(*o, r.criu)
		return made, nil, err
	}
	return r.running.run(g, args)
}
