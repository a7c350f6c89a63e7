package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Hooks (runtime-spec, "POSIX-platform Hooks") come in two kinds. Those of the
// runtime's namespaces are processes of the caller: prestart and createRuntime
// while the program waits before its pivot, poststart and poststop. Those of
// the container's namespaces are part of the program, which spawns them:
// createContainer before the pivot, startContainer after the gate.

// announceHooks asks the parent for the hooks that come before the pivot.
const announceHooks = "ready for the hooks"

// hookNull names /dev/null, a hook's standard output and error in a container.
const hookNull = "hook null"

// hookSlots are descriptors of the container's state, as hooks read it.
type hookSlots struct{ creating, created launch.Slot }

// prestart are the hooks that the specification deprecates and engines still use.
//
//lint:ignore SA1019 they have to be run for as long as there are any
func prestart(h specs.Hooks) []specs.Hook { return h.Prestart }

func hooksOf(spec *specs.Spec) specs.Hooks {
	if spec.Hooks == nil {
		return specs.Hooks{}
	}
	return *spec.Hooks
}

// beforePivot tells whether the program has to wait for hooks, or for what the
// hooks of the container need.
func beforePivot(spec *specs.Spec) bool {
	h := hooksOf(spec)
	return len(prestart(h))+len(h.CreateRuntime)+len(h.CreateContainer)+len(h.StartContainer) > 0
}

// hookKind is one of the kinds of hooks and those that a config.json has.
type hookKind struct {
	name string
	list []specs.Hook
}

// hookKinds are all kinds, in the order in which they run.
func hookKinds(h specs.Hooks) [6]hookKind {
	return [...]hookKind{
		{"prestart", prestart(h)}, {"createRuntime", h.CreateRuntime}, {"createContainer", h.CreateContainer},
		{"startContainer", h.StartContainer}, {"poststart", h.Poststart}, {"poststop", h.Poststop},
	}
}

// validateHooks checks what all hooks must have.
func validateHooks(spec *specs.Spec) error {
	for _, kind := range hookKinds(hooksOf(spec)) {
		for i, hook := range kind.list {
			field := fmt.Sprintf("hooks.%s[%d]", kind.name, i)
			if !filepath.IsAbs(hook.Path) {
				return badField(field+".path", "%q is not an absolute path", hook.Path)
			}
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				return badField(field+".timeout", "%d is not greater than 0", *hook.Timeout)
			}
		}
	}
	return nil
}

// hooksBeforePivot compiles the wait for the runtime's hooks, and the hooks
// that run in the container's namespaces but are files of the host.
func (c *compiler) hooksBeforePivot() {
	if !beforePivot(c.spec) {
		return
	}
	c.add(launch.Op{Call: launch.Announce, Text: announceHooks})
	given := c.p.Await("wait for the hooks", 2)
	c.hooks = hookSlots{given[0], given[1]}
	for i, h := range hooksOf(c.spec).CreateContainer {
		c.spawnHook(h, c.hooks.creating, fmt.Sprintf("hooks.createContainer[%d]", i))
	}
}

// hooksAtStart compiles the hooks that are files of the container.
func (c *compiler) hooksAtStart() {
	if c.set.exec {
		return
	}
	for i, h := range hooksOf(c.spec).StartContainer {
		c.spawnHook(h, c.hooks.created, fmt.Sprintf("hooks.startContainer[%d]", i))
	}
}

// spawnHook compiles a process that becomes the hook, and the wait for its
// success. An alarm ends one that takes too long.
func (c *compiler) spawnHook(h specs.Hook, state launch.Slot, field string) {
	pid, status := c.p.NewSlot(), c.p.NewBuffer()
	text := "run the hook " + h.Path
	at := c.p.Add(launch.Op{Call: launch.Spawn, Result: pid, Text: text, Field: field})
	c.add(launch.Op{Call: launch.Lseek, Args: []launch.Arg{launch.Result(state), launch.Int(0), launch.Int(unix.SEEK_SET)}, Text: text, Field: field})
	for i, from := range []launch.Arg{launch.Result(state), launch.Input(hookNull), launch.Input(hookNull)} {
		c.add(launch.Op{Call: launch.Dup3, Args: []launch.Arg{from, launch.Int(i), launch.Int(0)}, Text: text, Field: field})
	}
	c.add(launch.Op{
		Call: launch.CloseRange, Args: []launch.Arg{launch.Int(3), launch.Int(^uint32(0)), launch.Flags(unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC")},
		Text: text, Field: field,
	})
	if h.Timeout != nil {
		c.add(launch.Op{
			Call: launch.Setitimer, Args: []launch.Arg{launch.Int(int(unix.ITIMER_REAL)), launch.Words(launch.Int(0), launch.Int(0), launch.Int(*h.Timeout), launch.Int(0)), launch.Int(0)},
			Text: text, Field: field + ".timeout",
		})
	}
	c.add(launch.Op{
		Call: launch.Execve, Args: []launch.Arg{launch.String(h.Path), launch.Strings(hookArgs(h)), launch.Strings(h.Env)},
		Text: text, Field: field,
	})
	c.p.Ops[at].Skip = len(c.p.Ops) - at - 1
	c.add(
		launch.Op{Call: launch.Wait4, Args: []launch.Arg{launch.Result(pid), status, launch.Int(0), launch.Int(0)}, Text: text, Field: field},
		launch.Op{
			Call: launch.Check, Args: []launch.Arg{status, launch.Int(0), launch.Int(int(unix.ECANCELED)), launch.Int(uint64(1<<32 - 1)), launch.Int(0)},
			Text: text + ", which failed or took too long", Field: field,
		},
	)
}

// hookArgs are the hook's arguments; the first is its name.
func hookArgs(h specs.Hook) []string {
	if len(h.Args) == 0 {
		return []string{h.Path}
	}
	return h.Args
}

// hooks runs the hooks before the pivot and gives the program what its own
// ones need.
func (s *starting) hooks(p *launch.Process) error {
	s.container.state.Pid = p.Pid()
	// Prestart hooks once belonged to the start; they still hear of a created
	// container.
	state, createdState := s.container.hookState(specs.StateCreating), s.container.hookState(specs.StateCreated)
	h := hooksOf(s.spec)
	if err := runHooks("prestart", prestart(h), createdState); err != nil {
		return err
	}
	if err := runHooks("createRuntime", h.CreateRuntime, state); err != nil {
		return err
	}
	creating, err := memory(state)
	if err != nil {
		return err
	}
	defer creating.Close()
	created, err := memory(createdState)
	if err != nil {
		return err
	}
	defer created.Close()
	return p.Send(creating, created)
}

// hookState is what a hook reads on its standard input.
func (c *Container) hookState(status specs.ContainerState) []byte {
	data, _ := json.Marshal(c.ociState(status)) // strings and numbers: can't fail
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
func runHooks(kind string, hooks []specs.Hook, state []byte) error {
	for i, h := range hooks {
		if err := runHook(h, state); err != nil {
			return badField(fmt.Sprintf("hooks.%s[%d]", kind, i), "%w", err)
		}
	}
	return nil
}

// maxHookOutput bounds what is kept of a failed hook's words.
const maxHookOutput = 1 << 10

func runHook(h specs.Hook, state []byte) error {
	ctx, cancel := context.Background(), func() {}
	if h.Timeout != nil {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
	}
	defer cancel()
	in, err := memory(state)
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
	err = cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("the hook %s took longer than %d s", h.Path, *h.Timeout)
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
	return runHooks("poststart", hooksOf(spec).Poststart, c.hookState(specs.StateRunning))
}

// poststop runs the hooks of a container that is gone. One that fails keeps no
// other from running.
func (c *Container) poststop(spec *specs.Spec) {
	hooks := hooksOf(spec).Poststop
	if len(hooks) == 0 {
		return
	}
	state := c.hookState(specs.StateStopped)
	for i := range hooks {
		if err := runHook(hooks[i], state); err != nil {
			c.warnings = append(c.warnings, fmt.Sprintf("hooks.poststop[%d]: %v", i, err))
		}
	}
}
