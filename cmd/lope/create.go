package main

import (
	"errors"
	"os"
	"path/filepath"

	"loper.run/runtime"

	"github.com/spf13/pflag"
)

// creation holds the flags that create and run share.
type creation struct {
	started
	bundle                          string
	noKeyring, noPivot, noSubreaper bool
}

func (c *creation) flags(f *pflag.FlagSet) {
	f.StringVarP(&c.bundle, "bundle", "b", ".", "directory of the bundle: config.json and the root file system")
	c.started.flags(f)
	f.BoolVar(&c.noPivot, "no-pivot", false, "change to the root file system without pivot_root, which a ramdisk can't; the host's root stays beneath")
	f.BoolVar(&c.noKeyring, "no-new-keyring", false, "keep the session keyring")
	f.BoolVar(&c.noSubreaper, "no-subreaper", false, "don't become the parent of processes that lose theirs, which only one in the foreground does")
}

func createCommand() command {
	var c creation
	return command{
		name: "create", args: "ID", short: "Create a container and stop before its program",
		flags: c.flags,
		run: func(g *global, args []string) error {
			o, err := c.options(g, args)
			if err != nil {
				return err
			}
			o.Detached = true
			if err := c.console(o); err != nil {
				return err
			}
			made, err := runtime.Create(*o)
			if err != nil {
				return err
			}
			g.warn(made.Warnings())
			return c.publish(made)
		},
	}
}

// options reads the bundle.
func (c *creation) options(g *global, args []string) (*runtime.Options, error) {
	id, err := one(args)
	if err != nil {
		return nil, err
	}
	bundle, err := filepath.Abs(c.bundle)
	if err != nil {
		return nil, err
	}
	config, err := runtime.ReadConfig(bundle)
	if err != nil {
		return nil, err
	}
	spec, err := runtime.ParseSpec(config)
	if err != nil {
		return nil, err
	}
	if err := runtime.ProtectSelf(spec); err != nil {
		return nil, err
	}
	o := &runtime.Options{
		Root: g.root, ID: id, Bundle: bundle, Spec: spec, Config: config, NoKeyring: c.noKeyring, NoPivot: c.noPivot, Trace: g.trace(),
		SystemdCgroup: g.systemdCgroup, NoCgroup: g.cgroupManager == "disabled", Rootless: g.rootlessCgroup,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	if o.PreserveFDs, err = c.preserved(activated(spec)); err != nil {
		return nil, err
	}
	o.Notify = spec.Process != nil && os.Getenv("NOTIFY_SOCKET") != ""
	return o, nil
}

// console connects to the socket that takes the terminal.
func (c *creation) console(o *runtime.Options) error {
	terminal := o.Spec.Process != nil && o.Spec.Process.Terminal
	switch {
	case terminal && c.consoleSocket == "":
		return errors.New("process.terminal in config.json needs --console-socket")
	case !terminal && c.consoleSocket != "":
		return errors.New("--console-socket needs process.terminal in config.json")
	case !terminal:
		return nil
	}
	conn, err := dialSocket("console", c.consoleSocket)
	o.ConsoleSocket = conn
	return err
}

// publish tells of the container where that was asked for; one that nobody
// learns of is removed again.
func (c *creation) publish(made *runtime.Container) error {
	if err := c.started.publish(made.Pid(), "standard"); err != nil {
		return errors.Join(err, made.Delete(true))
	}
	return nil
}
