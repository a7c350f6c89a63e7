package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"loper.run/runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// execution holds the flags of exec.
type execution struct {
	started
	processFile, cwd, user string
	apparmor, label        string
	cgroup                 []string
	env, caps              []string
	gids                   []uint
	tty, detach, paused    bool
	noNewPrivs             *pflag.Flag
}

func execCommand() command {
	var e execution
	return command{
		name: "exec", args: "ID COMMAND [ARG...]", short: "Run one more process in a running container",
		long: "The exit status is that of the process, 127 if its program isn't there, 126 if it can't be executed, and 255 if anything else keeps it from running. A file given with --process says all of the process; the other flags that do are then left aside.",
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&e.processFile, "process", "p", "", "file with a process as in config.json")
			f.StringVar(&e.cwd, "cwd", "", "working directory")
			f.StringVarP(&e.user, "user", "u", "", "user id, or user and group id as UID:GID")
			f.StringArrayVarP(&e.env, "env", "e", nil, "variable of the environment, NAME=VALUE")
			f.StringSliceVarP(&e.caps, "cap", "c", nil, "capability to add")
			f.UintSliceVarP(&e.gids, "additional-gids", "g", nil, "additional group ids")
			f.BoolVarP(&e.tty, "tty", "t", false, "give it a terminal")
			f.BoolVarP(&e.detach, "detach", "d", false, "don't wait for its end")
			f.StringVar(&e.apparmor, "apparmor", "", "AppArmor profile")
			f.StringVar(&e.label, "process-label", "", "SELinux label")
			f.Bool("no-new-privs", false, "keep it from gaining privileges by its execve, or (=false) let it")
			e.noNewPrivs = f.Lookup("no-new-privs")
			f.StringArrayVar(&e.cgroup, "cgroup", nil, "cgroup below the container's: a path, or on cgroup v1 CONTROLLER:PATH")
			f.BoolVar(&e.paused, "ignore-paused", false, "allow it in a paused container")
			e.started.flags(f)
		},
		stopAtArgs: true,
		run: func(g *global, args []string) error {
			err := e.run(g, args)
			var code exitCode
			if err == nil || errors.As(err, &code) || runtime.ExitCode(err) != 125 {
				return err
			}
			return failure{err, 255} // 1 could be the process's own
		},
	}
}

func (e *execution) run(g *global, args []string) error {
	if len(args) == 0 {
		return errors.New("a container id is expected")
	}
	preserve, err := e.preserved(0)
	if err != nil {
		return err
	}
	c, err := load(g, args[:1])
	if err != nil {
		return err
	}
	spec, err := c.Spec()
	if err != nil {
		return err
	}
	if err := runtime.ProtectSelf(spec); err != nil {
		return err
	}
	p, err := e.process(c, args[1:])
	if err != nil {
		return err
	}
	o := runtime.ExecOptions{Process: p, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Detached: e.detach, PreserveFDs: preserve, Cgroup: e.cgroup, Paused: e.paused, Trace: g.trace()}
	switch {
	case p.Terminal && e.detach && e.consoleSocket == "":
		return errors.New("a terminal for a detached process needs --console-socket")
	case !p.Terminal && e.consoleSocket != "":
		return errors.New("--console-socket needs --tty")
	}
	if e.consoleSocket != "" {
		if o.ConsoleSocket, err = dialSocket("console", e.consoleSocket); err != nil {
			return err
		}
	}
	tty, err := foregroundTerminal(p, &o.ConsoleSocket)
	if err != nil {
		return err
	}
	defer tty.close()
	if tty.receive != nil {
		o.Terminal = tty.take
	}
	if !e.detach {
		tty.listen()
		o.Before = tty.listening
	}
	started, err := c.Exec(o)
	if err != nil {
		return err
	}
	defer started.Close()
	g.warn(started.Warnings())
	if err := e.publish(started.Pid(), "setns"); err != nil {
		_ = started.Signal(unix.SIGKILL) // or it has ended by itself
		_, waitErr := started.Wait()
		return errors.Join(err, waitErr)
	}
	if e.detach {
		return nil
	}
	status, err := tty.follow(started.Signal, started.Wait)
	if err != nil {
		return err
	}
	return exitOf(status)
}

// process is the one of the file, or the container's own with other arguments.
func (e *execution) process(c *runtime.Container, command []string) (*specs.Process, error) {
	if e.processFile != "" {
		return runtime.LoadProcess(e.processFile)
	}
	if len(command) == 0 {
		return nil, errors.New("a command, or --process with a file, is expected")
	}
	spec, err := c.Spec()
	if err != nil {
		return nil, err
	}
	p := *spec.Process
	p.Args, p.Terminal, p.ConsoleSize = command, e.tty, nil
	p.Env = append(append([]string(nil), p.Env...), e.env...)
	if e.cwd != "" {
		p.Cwd = e.cwd
	}
	for _, g := range e.gids {
		p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(g))
	}
	if e.user != "" {
		if err := parseUser(e.user, &p.User); err != nil {
			return nil, err
		}
	}
	if len(e.caps) > 0 {
		p.Capabilities = withCapabilities(p.Capabilities, e.caps)
	}
	if e.apparmor != "" {
		p.ApparmorProfile = e.apparmor
	}
	if e.label != "" {
		p.SelinuxLabel = e.label
	}
	if e.noNewPrivs.Changed {
		p.NoNewPrivileges = e.noNewPrivs.Value.String() == "true"
	}
	return &p, nil
}

func withCapabilities(old *specs.LinuxCapabilities, names []string) *specs.LinuxCapabilities {
	all := specs.LinuxCapabilities{}
	if old != nil {
		all = *old
	}
	add := func(list []string) []string { return append(append([]string(nil), list...), names...) }
	all.Bounding, all.Effective, all.Permitted = add(all.Bounding), add(all.Effective), add(all.Permitted)
	// What the container does not let its programs inherit, one more process
	// must not either (CVE-2022-29162).
	ambient := all.Ambient
	for _, name := range names {
		if slices.Contains(all.Inheritable, name) {
			ambient = append(slices.Clone(ambient), name)
		}
	}
	all.Ambient = ambient
	return &all
}

// parseUser takes numbers only: names belong to the container's files.
func parseUser(text string, u *specs.User) error {
	uid, gid, both := strings.Cut(text, ":")
	n, err := strconv.ParseUint(uid, 10, 32)
	if err != nil || n == 1<<32-1 {
		return fmt.Errorf("--user %q: a number below 4294967295 is expected", text)
	}
	u.UID = uint32(n)
	if both {
		if n, err = strconv.ParseUint(gid, 10, 32); err != nil || n == 1<<32-1 {
			return fmt.Errorf("--user %q: a number below 4294967295 is expected behind the colon", text)
		}
		u.GID = uint32(n)
	}
	return nil
}
