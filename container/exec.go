package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"loper.run/runtime"
)

// ExecSettings is a further process of a running container.
type ExecSettings struct {
	Command     []string
	Env         []string // NAME=value, added to the container's
	User        string   // "": the container's
	WorkingDir  string   // "": the container's
	Terminal    bool
	OpenStdin   bool
	Privileged  bool // with all capabilities of the container's namespaces
	Detach      bool // do not wait for it
	PreserveFDs int  // descriptors from 3 on that it keeps

	// Stdin, Stdout and Stderr are the process's own, or with Terminal where
	// its terminal is shown; nil: /dev/null.
	Stdin, Stdout, Stderr *os.File
}

// Exec runs a process in the container and returns its exit code: 128 and the
// signal when one ended it. When it could not be run, the error says why and
// the code is 127 (not there), 126 (cannot be executed) or 125. The process is
// a child of the caller.
func (c *Container) Exec(ctx context.Context, s ExecSettings) (int, error) {
	st, err := c.Status()
	if err != nil {
		return 125, err
	}
	switch st.State {
	case Running:
	case Paused:
		return 125, fmt.Errorf("container %s is paused: unpause it first", c.Name)
	default:
		return 125, fmt.Errorf("%w: %s", ErrNotRunning, c.Name)
	}
	rc, err := c.loadRuntime()
	if err != nil {
		return 125, err
	}
	o := runtime.ExecOptions{Detached: s.Detach, PreserveFDs: s.PreserveFDs}
	if o.Process, err = c.execProcess(s, st.Pid); err != nil {
		return 125, err
	}
	if s.Terminal && !s.Detach {
		return execTerminal(ctx, rc, o, s)
	}
	o.Process.Terminal = false
	if !s.Detach {
		o.Stdout, o.Stderr = s.Stdout, s.Stderr
		if s.OpenStdin {
			o.Stdin = s.Stdin
		}
	}
	p, err := rc.Exec(o)
	if err != nil {
		return runtime.ExitCode(err), err
	}
	if s.Detach {
		// Should the caller live longer: the container cannot end before all of
		// its processes were waited for.
		go p.Wait()
		return 0, nil
	}
	return waitExec(ctx, p)
}

// waitExec waits for the process; when the caller gives up it runs on.
func waitExec(ctx context.Context, p *runtime.Process) (int, error) {
	type result struct {
		status syscall.WaitStatus
		err    error
	}
	done := make(chan result, 1)
	go func() {
		ws, err := p.Wait()
		done <- result{ws, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return 125, r.err
		}
		return exitStatus(r.status), nil
	case <-ctx.Done():
		return 125, context.Cause(ctx)
	}
}

// ProtectSelf is for the beginning of a command that calls Exec. In a container
// whose ids could write this program's file it may start the program anew; see
// runtime.ProtectSelf.
func (c *Container) ProtectSelf() error {
	spec, err := runtime.LoadSpec(c.Dir())
	if err != nil {
		return nil // without a config.json there is nothing to execute in: Exec says so
	}
	return runtime.ProtectSelf(spec)
}

// execProcess is the container's own process changed by the settings.
func (c *Container) execProcess(s ExecSettings, pid int) (*specs.Process, error) {
	if len(s.Command) == 0 {
		return nil, errors.New("no command")
	}
	for _, arg := range s.Command {
		if strings.ContainsRune(arg, 0) {
			return nil, fmt.Errorf("argument %q has a zero byte", arg)
		}
	}
	spec, err := runtime.LoadSpec(c.Dir())
	if err != nil {
		return nil, err
	}
	p := spec.Process
	if p == nil || p.Capabilities == nil || spec.Linux == nil {
		return nil, fmt.Errorf("container %s: %s has no process", c.Name, configFile)
	}
	p.Args, p.Terminal, p.ConsoleSize, p.OOMScoreAdj = s.Command, s.Terminal, nil, nil
	if s.WorkingDir != "" {
		if !path.IsAbs(s.WorkingDir) || strings.ContainsRune(s.WorkingDir, 0) {
			return nil, fmt.Errorf("working directory %q is not an absolute path", s.WorkingDir)
		}
		p.Cwd = path.Clean(s.WorkingDir)
	}
	if s.User != "" {
		if err := c.execUser(p, s.User, pid, spec.Linux); err != nil {
			return nil, err
		}
	}
	if s.Terminal && !hasEnv(p.Env, "TERM") {
		p.Env = append(p.Env, "TERM=xterm")
	}
	for _, v := range s.Env {
		if strings.Contains(v, "=") {
			if err := checkEnv(v); err != nil {
				return nil, fmt.Errorf("environment: %w", err)
			}
		}
	}
	p.Env = setEnv(p.Env, s.Env)
	caps := p.Capabilities.Bounding
	if s.Privileged {
		var err error
		if caps, err = allCaps(len(spec.Linux.UIDMappings) > 0); err != nil {
			return nil, err
		}
	}
	p.Capabilities = &specs.LinuxCapabilities{Bounding: caps}
	if p.User.UID == 0 || s.Privileged {
		p.Capabilities.Effective, p.Capabilities.Permitted = caps, caps
	}
	return p, nil
}

// execUser makes the process another user's, by the accounts in the root of
// the container as it is now.
func (c *Container) execUser(p *specs.Process, user string, pid int, linux *specs.Linux) error {
	a, err := processAccounts(pid)
	if err != nil {
		return err
	}
	u, home, err := lookUpUser(user, c.Settings.GroupAdd, a)
	if err != nil {
		return err
	}
	if err := fit(&u, c.Settings.GroupAdd, linux.UIDMappings, linux.GIDMappings); err != nil {
		return err
	}
	u.Umask = p.User.Umask
	p.User = u
	// Only a HOME that somebody chose is kept for another user.
	if !hasEnv(c.Image.Env, "HOME") && !hasEnv(c.Settings.Env, "HOME") {
		p.Env = setEnv(p.Env, []string{"HOME=" + home})
	}
	return nil
}
