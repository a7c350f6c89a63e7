package main

import (
	"errors"

	"loper.run/runtime"

	"github.com/spf13/pflag"
)

// running holds the flags of run and restore.
type running struct {
	creation
	detach, keep bool
	// make makes the container and starts its program.
	make func(*runtime.Options) (*runtime.Container, *notifier, error)
}

func runCommand() command {
	r := running{make: makeRunning}
	return command{
		name: "run", args: "ID", short: "Create a container, start it and wait for its end",
		long:  "The exit status is that of the container's program, or 128 and the number of the signal that ended it.",
		flags: r.flags,
		run:   r.run,
	}
}

func (r *running) flags(f *pflag.FlagSet) {
	r.creation.flags(f)
	f.BoolVarP(&r.detach, "detach", "d", false, "don't wait for its end")
	f.BoolVar(&r.keep, "keep", false, "don't delete the container at its end")
}

func (r *running) run(g *global, args []string) error {
	o, err := r.options(g, args)
	if err != nil {
		return err
	}
	o.Detached = r.detach
	if r.detach || r.consoleSocket != "" {
		if err := r.console(o); err != nil {
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
	var orphans *orphans
	if !r.detach {
		tty.listen()
		o.Before = func() error {
			tty.listening()
			return nil
		}
		if !r.noSubreaper {
			orphans = adoptOrphans(o.Spec)
		}
	}
	made, notify, err := r.make(o)
	if err != nil {
		return err
	}
	defer notify.close()
	g.warn(made.Warnings())
	if err := r.publish(made); err != nil {
		return err
	}
	if r.detach {
		return notify.forward(made, true)
	}
	go notify.forward(made, false)
	orphans.reap(made.Pid())
	status, err := tty.follow(made.Signal, made.Wait)
	orphans.stop()
	if !r.keep {
		warned := len(made.Warnings())
		if deleteErr := made.Delete(true); err == nil {
			err = deleteErr
		}
		g.warn(made.Warnings()[warned:])
	}
	if err != nil {
		return err
	}
	return exitOf(status)
}

// makeRunning makes a container and starts its program. One that tells when it
// is ready needs its socket in between.
func makeRunning(o *runtime.Options) (*runtime.Container, *notifier, error) {
	if !o.Notify {
		made, err := runtime.Run(*o)
		return made, nil, err
	}
	made, err := runtime.Create(*o)
	if err != nil {
		return nil, nil, err
	}
	notify, err := listenNotify(made)
	if err == nil {
		err = made.Start()
	}
	if err != nil {
		notify.close()
		return nil, nil, errors.Join(err, made.Delete(true))
	}
	return made, notify, nil
}
