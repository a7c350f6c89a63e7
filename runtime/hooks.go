package runtime

import (
	"fmt"
	"path/filepath"

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
		c.spawnHook(h, true, c.hooks.creating, fmt.Sprintf("hooks.createContainer[%d]", i))
	}
}

// hooksAtStart compiles the hooks that are files of the container.
func (c *compiler) hooksAtStart() {
	if c.set.exec {
		return
	}
	for i, h := range hooksOf(c.spec).StartContainer {
		c.spawnHook(h, false, c.hooks.created, fmt.Sprintf("hooks.startContainer[%d]", i))
	}
}

// spawnHook compiles a process that becomes the hook, and the wait for its
// success. An alarm ends one that takes too long. One that is a file of the
// host begins in the root file system, as one of the container does in the
// program's working directory.
func (c *compiler) spawnHook(h specs.Hook, outside bool, state launch.Slot, field string) {
	pid, status := c.p.NewSlot(), c.p.NewBuffer()
	text := "run the hook " + h.Path
	at := c.p.Add(launch.Op{Call: launch.Spawn, Result: pid, Text: text, Field: field})
	if outside {
		c.add(
			launch.Op{Call: launch.Fchdir, Args: []launch.Arg{launch.Result(c.root)}, Text: text, Field: field},
			launch.Op{Call: launch.Umask, Args: []launch.Arg{launch.Int(0o022)}, Text: text, Field: field},
		)
	}
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
