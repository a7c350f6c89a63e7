package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"syscall"
	"time"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hooks runs the hooks before the pivot and gives the program what its own
// ones need.
func (s *starting) hooks(p *launch.Process) error {
	s.container.state.Pid = p.Pid()
	// Prestart hooks once belonged to the start; they still hear of a created
	// container.
	h := hooksOf(s.spec)
	if err := s.container.runHooks("prestart", prestart(h), specs.StateCreated); err != nil {
		return err
	}
	if err := s.container.runHooks("createRuntime", h.CreateRuntime, specs.StateCreating); err != nil {
		return err
	}
	inside, err := pidInside(p.Pid())
	if err != nil {
		return err
	}
	creating, err := memory(s.container.hookState(specs.StateCreating, inside))
	if err != nil {
		return err
	}
	defer creating.Close()
	created, err := memory(s.container.hookState(specs.StateCreated, inside))
	if err != nil {
		return err
	}
	defer created.Close()
	return p.Send(creating, created)
}

// hookState is what a hook reads on its standard input. In it the first process
// has the id that the hook sees.
func (c *Container) hookState(status specs.ContainerState, pid int) []byte {
	s := c.ociState(status)
	if s.Pid != 0 {
		s.Pid = pid
	}
	data, _ := json.Marshal(s) // strings and numbers: can't fail
	return data
}

// memory is a file that lies nowhere, at its beginning.
func memory(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("hook", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "hook")
	_, err = f.Write(content)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// runHooks runs hooks of the runtime's namespaces, one after the other, until
// one fails.
func (c *Container) runHooks(kind string, hooks []specs.Hook, status specs.ContainerState) error {
	for i, h := range hooks {
		if err := c.runHook(h, status, 0); err != nil {
			return badField(fmt.Sprintf("hooks.%s[%d]", kind, i), "%w", err)
		}
	}
	return nil
}

// maxHookOutput bounds what is kept of a failed hook's words.
const maxHookOutput = 1 << 10

// runHook runs a hook in the bundle, if that is still there. One without a
// timeout has as long as limit says, for ever if that is 0.
func (c *Container) runHook(h specs.Hook, status specs.ContainerState, limit time.Duration) error {
	if h.Timeout != nil {
		limit = time.Duration(*h.Timeout) * time.Second
	}
	ctx, cancel := context.Background(), func() {}
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	in, err := memory(c.hookState(status, c.state.Pid))
	if err != nil {
		return err
	}
	defer in.Close()
	said, err := memory(nil)
	if err != nil {
		return err
	}
	defer said.Close()
	cmd := exec.CommandContext(ctx, h.Path)
	cmd.Args, cmd.Env = hookArgs(h), append([]string{}, h.Env...) // an empty list is no reason to take the caller's
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, said, said
	if st, err := os.Stat(c.state.Bundle); err == nil && st.IsDir() {
		cmd.Dir = c.state.Bundle
	}
	// A runtime that is killed takes its hook with it. What the kernel watches is
	// the thread that started the hook.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	err = cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("the hook %s took longer than %v", h.Path, limit)
	}
	words := make([]byte, maxHookOutput)
	n, _ := said.ReadAt(words, 0)
	if text := strings.Join(strings.Fields(string(words[:n])), " "); text != "" {
		return fmt.Errorf("the hook %s failed: %w: %s", h.Path, err, text)
	}
	return fmt.Errorf("the hook %s failed: %w", h.Path, err)
}

// poststart runs the hooks of a container whose program runs. One that fails
// ends the container.
func (c *Container) poststart(spec *specs.Spec) error {
	if len(hooksOf(spec).Poststart) == 0 {
		return nil
	}
	return c.runHooks("poststart", hooksOf(spec).Poststart, specs.StateRunning)
}

// poststop runs the hooks of a container that is gone. One that fails keeps no
// other from running. The limit is for hooks without a timeout.
func (c *Container) poststop(spec *specs.Spec, limit time.Duration) {
	hooks := hooksOf(spec).Poststop
	if len(hooks) == 0 {
		return
	}
	for i := range hooks {
		if err := c.runHook(hooks[i], specs.StateStopped, limit); err != nil {
			c.warnings = append(c.warnings, fmt.Sprintf("hooks.poststop[%d]: %v", i, err))
		}
	}
}
