package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"loper.run/runtime"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// creation holds the flags that create and run share.
type creation struct {
	bundle, consoleSocket, pidFile string
	preserveFDs                    int
	noKeyring                      bool
}

func (c *creation) flags(f *pflag.FlagSet) {
	f.StringVarP(&c.bundle, "bundle", "b", ".", "directory of the bundle: config.json and the root file system")
	f.StringVar(&c.consoleSocket, "console-socket", "", "unix socket that takes the container's terminal")
	f.StringVar(&c.pidFile, "pid-file", "", "file that takes the process id")
	f.IntVar(&c.preserveFDs, "preserve-fds", 0, "how many descriptors from 3 on to give to the container")
	f.BoolVar(&c.noKeyring, "no-new-keyring", false, "keep the session keyring")
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
			o.Stdin, o.Stdout, o.Stderr = os.Stdin, os.Stdout, os.Stderr
			if err := c.console(o); err != nil {
				return err
			}
			made, err := runtime.Create(*o)
			if err != nil {
				return err
			}
			warn(made.Warnings())
			return c.wrote(made)
		},
	}
}

// options reads the bundle.
func (c *creation) options(g *global, args []string) (*runtime.Options, error) {
	id, err := one(args)
	if err != nil {
		return nil, err
	}
	if err := checkPreserved(c.preserveFDs); err != nil {
		return nil, err
	}
	bundle, err := filepath.Abs(c.bundle)
	if err != nil {
		return nil, err
	}
	spec, err := runtime.LoadSpec(bundle)
	if err != nil {
		return nil, err
	}
	if err := runtime.ProtectSelf(spec); err != nil {
		return nil, err
	}
	config, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, err
	}
	return &runtime.Options{Root: g.root, ID: id, Bundle: bundle, Spec: spec, Config: config, PreserveFDs: c.preserveFDs, NoKeyring: c.noKeyring}, nil
}

// checkPreserved makes sure that the descriptors to give away came from the
// caller: lope's own, which close at an execve, must not get into a container.
func checkPreserved(n int) error {
	if n < 0 {
		return fmt.Errorf("--preserve-fds %d: a number from 0 on is expected", n)
	}
	for fd := 3; fd < 3+n; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return fmt.Errorf("--preserve-fds %d: there is no descriptor %d", n, fd)
		}
	}
	return nil
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
	conn, err := dialConsole(c.consoleSocket)
	o.ConsoleSocket = conn
	return err
}

// wrote writes the process id where it was asked for; a container whose id
// nobody learns is removed again.
func (c *creation) wrote(made *runtime.Container) error {
	if c.pidFile == "" {
		return nil
	}
	if err := writePid(c.pidFile, made.Pid()); err != nil {
		return errors.Join(err, made.Delete(true))
	}
	return nil
}

// writePid replaces the file, so that no reader sees half a number.
func writePid(path string, pid int) error {
	dir, name := filepath.Split(path)
	f, err := os.CreateTemp(dir, "."+name+".")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(strconv.Itoa(pid)); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
