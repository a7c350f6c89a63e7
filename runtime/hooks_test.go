package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hook is one that appends its name and its state to a file.
func hook(name, to string) specs.Hook {
	return specs.Hook{Path: "/bin/busybox", Args: []string{"sh", "-c", fmt.Sprintf("{ echo %s $HOOK; cat; echo; } >> %s", name, to)}, Env: []string{"PATH=/bin", "HOOK=env"}}
}

func TestHooks(t *testing.T) {
	o := bundle(t, "sh", "-c", "cat /log; sleep 60")
	log, inside := filepath.Join(o.Bundle, "log"), filepath.Join(o.Spec.Root.Path, "log")
	must(t, os.WriteFile(inside, nil, 0o666))
	o.Spec.Annotations = map[string]string{"a": "b"}
	o.Spec.Root.Readonly = true // but not yet when the hooks before the pivot run
	o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/log", Source: inside, Type: "bind", Options: []string{"bind"}})
	seconds := 10
	startHook := hook("startContainer", "/log")
	startHook.Timeout = &seconds
	o.Spec.Hooks = &specs.Hooks{
		//lint:ignore SA1019 others still use them
		Prestart:      []specs.Hook{hook("prestart", log)},
		CreateRuntime: []specs.Hook{hook("createRuntime", log), hook("createRuntime2", log)},
		// It is a file of the host in the container's namespaces: the host's paths, the container's host name.
		CreateContainer: []specs.Hook{{Path: "/bin/busybox", Args: []string{"sh", "-c", fmt.Sprintf("{ echo createContainer $(hostname); cat; echo; } >> %s; touch %s/by-hook", log, o.Spec.Root.Path)}}},
		StartContainer:  []specs.Hook{startHook, hook("startContainer2", "/log")},
		Poststart:       []specs.Hook{hook("poststart", log)},
		Poststop:        []specs.Hook{{Path: "/bin/false"}, hook("poststop", log)},
	}
	o.Config = encode(t, o.Spec)
	o.Detached = true
	read := func(path string) (names, states []string) {
		data, err := os.ReadFile(path)
		must(t, err)
		for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			if i%2 == 0 {
				names = append(names, line)
				continue
			}
			var s specs.State
			if err := json.Unmarshal([]byte(line), &s); err != nil || s.ID != o.ID || s.Bundle != o.Bundle || s.Annotations["a"] != "b" || s.Version == "" {
				t.Errorf("state %q: %v", line, err)
			}
			states = append(states, fmt.Sprintf("%s %v", s.Status, s.Pid > 0))
		}
		return names, states
	}
	check := func(path, wantNames, wantStates string) {
		t.Helper()
		names, states := read(path)
		if got := strings.Join(names, ","); got != wantNames {
			t.Errorf("hooks %s, want %s", got, wantNames)
		}
		if got := strings.Join(states, ","); got != wantStates {
			t.Errorf("states %s, want %s", got, wantStates)
		}
	}
	c, err := Create(o)
	must(t, err)
	defer c.Delete(true)
	check(log, "prestart env,createRuntime env,createRuntime2 env,createContainer lope", "created true,creating true,creating true,creating true")
	must(t, c.Start())
	check(log, "prestart env,createRuntime env,createRuntime2 env,createContainer lope,poststart env", "created true,creating true,creating true,creating true,running true")
	check(inside, "startContainer env,startContainer2 env", "created true,created true")
	if _, err := os.Stat(filepath.Join(o.Spec.Root.Path, "by-hook")); err != nil {
		t.Error(err)
	}
	must(t, c.Kill(unix.SIGKILL, false))
	c.Wait()
	must(t, c.Delete(false))
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "hooks.poststop[0]: the hook /bin/false failed: exit status 1") {
		t.Errorf("warnings %q", w)
	}
	names, states := read(log)
	if names[len(names)-1] != "poststop env" || states[len(states)-1] != "stopped false" {
		t.Errorf("at the end: %q, %q", names, states)
	}
}

// A hook that fails or hangs ends the container, and names itself.
func TestFailingHooks(t *testing.T) {
	before := hostState(t)
	second := 1
	fails := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo too; echo bad >&2; exit 3"}}}
	hangs := []specs.Hook{{Path: "/bin/busybox", Args: []string{"sleep", "60"}, Timeout: &second}}
	missing := []specs.Hook{{Path: "/does/not/exist"}}
	for want, hooks := range map[string]*specs.Hooks{
		"hooks.createRuntime[0]: the hook /bin/sh failed: exit status 3: too bad":           {CreateRuntime: fails},
		"hooks.createRuntime[0]: the hook /bin/busybox took longer than 1s":                 {CreateRuntime: hangs},
		"hooks.createRuntime[0]: the hook /does/not/exist failed":                           {CreateRuntime: missing},
		"run the hook /bin/sh, which failed or took too long: operation canceled":           {CreateContainer: fails},
		"run the hook /bin/busybox, which failed or took too long: operation canceled":      {CreateContainer: hangs},
		"run the hook /does/not/exist: no such file or directory":                           {CreateContainer: missing},
		"run the hook /bin/busybox, which failed or took too long: operation canceled (con": {StartContainer: hangs},
		"hooks.startContainer[0]":                                {StartContainer: fails},
		"hooks.poststart[0]: the hook /bin/sh failed":            {Poststart: fails},
		`hooks.poststop[0].path: "x" is not an absolute path`:    {Poststop: []specs.Hook{{Path: "x"}}},
		"hooks.poststop[0].timeout: 0 is not greater than 0":     {Poststop: []specs.Hook{{Path: "/x", Timeout: new(int)}}},
		"hooks.createRuntime[0]: the hook /bin/false failed: ex": {CreateRuntime: []specs.Hook{{Path: "/bin/false"}}},
	} {
		o := bundle(t, "sleep", "60")
		o.Spec.Hooks = hooks
		o.Config = encode(t, o.Spec)
		o.Detached = true
		begun := time.Now()
		c, err := Run(o)
		if err == nil {
			c.Delete(true)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want %q", err, want)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: took %v", want, took)
		}
		if entries, _ := os.ReadDir(o.Root); len(entries) != 0 {
			t.Errorf("%s: %v is left in the state directory", want, entries)
		}
	}
	if after := hostState(t); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}
