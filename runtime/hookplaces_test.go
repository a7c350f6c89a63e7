package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Each kind of hook runs in the namespaces and the directory that are its own,
// and reads the container's id of the first process as it sees it.
func TestWhereHooksRun(t *testing.T) {
	var host string
	for _, ns := range []string{"mnt", "pid", "net", "uts"} {
		link, err := os.Readlink("/proc/self/ns/" + ns)
		must(t, err)
		host += link + " "
	}
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprint("own ids ", own), func(t *testing.T) {
			o := bundle(t, "sleep", "60")
			if own {
				ownIDs(t, &o)
			}
			inside := filepath.Join(o.Bundle, "inside")
			must(t, os.Mkdir(inside, 0o777))
			must(t, os.Chmod(inside, 0o777))
			o.Spec.Process.Cwd = "/bin"
			o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/inside", Source: inside, Type: "bind", Options: []string{"bind"}})
			report := func(name, dir string) []specs.Hook {
				script := "{ cat; echo; pwd; echo $(for ns in mnt pid net uts; do busybox readlink /proc/self/ns/$ns; done); umask; echo $1; env | busybox grep -v -E '^(PWD|SHLVL|_|OLDPWD|PATH)='; } > " + dir + "/" + name
				return []specs.Hook{{Path: "/bin/busybox", Args: []string{"sh", "-c", script, "sh", "an argument"}, Env: []string{"A=b c"}}}
			}
			o.Spec.Hooks = &specs.Hooks{
				//lint:ignore SA1019 others still use them
				Prestart:        report("prestart", o.Bundle),
				CreateRuntime:   report("createRuntime", o.Bundle),
				CreateContainer: report("createContainer", inside),
				StartContainer:  report("startContainer", "/inside"),
				Poststart:       report("poststart", o.Bundle),
				Poststop:        report("poststop", o.Bundle),
			}
			if own { // its root may not write below the bundle, but for /inside
				o.Spec.Hooks.CreateContainer = nil
			}
			o.Config = encode(t, o.Spec)
			o.Detached = true
			c, err := Create(o)
			must(t, err)
			defer c.Delete(true)
			must(t, c.Start())
			pid, theirs := c.Pid(), ""
			for _, ns := range []string{"mnt", "pid", "net", "uts"} {
				link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
				must(t, err)
				theirs += link + " "
			}
			must(t, c.Kill(unix.SIGKILL, false))
			c.Wait()
			must(t, c.Delete(false))
			bundleDir := o.Bundle
			for _, want := range []struct {
				name, file, cwd, namespaces string
				status                      specs.ContainerState
				pid                         int
			}{
				{"prestart", o.Bundle, bundleDir, host, specs.StateCreated, pid},
				{"createRuntime", o.Bundle, bundleDir, host, specs.StateCreating, pid},
				{"createContainer", inside, o.Spec.Root.Path, theirs, specs.StateCreating, 1},
				{"startContainer", inside, "/bin", theirs, specs.StateCreated, 1},
				{"poststart", o.Bundle, bundleDir, host, specs.StateRunning, pid},
				{"poststop", o.Bundle, bundleDir, host, specs.StateStopped, 0},
			} {
				if own && want.name == "createContainer" {
					continue
				}
				lines := strings.Split(strings.TrimSpace(string(readAll(t, filepath.Join(want.file, want.name)))), "\n")
				if len(lines) != 6 {
					t.Errorf("%s says %q", want.name, lines)
					continue
				}
				var s specs.State
				must(t, json.Unmarshal([]byte(lines[0]), &s))
				if s.Pid != want.pid || s.Status != want.status || s.ID != o.ID || s.Bundle != o.Bundle || s.Version != specs.Version {
					t.Errorf("%s: state %+v", want.name, s)
				}
				if lines[1] != want.cwd && want.name != "createContainer" || lines[2]+" " != want.namespaces || lines[3] != "0022" || lines[4] != "an argument" || lines[5] != "A=b c" {
					t.Errorf("%s: %q, want %q in %q", want.name, lines[1:], want.namespaces, want.cwd)
				}
			}
		})
	}
}

// A hook that fails at the start destroys the container, as far as it came,
// and the hooks for its end run.
func TestHooksThatFailAtTheStart(t *testing.T) {
	before := hostState(t)
	fails := []specs.Hook{{Path: "/bin/false"}}
	for name, hooks := range map[string]specs.Hooks{"startContainer": {StartContainer: fails}, "poststart": {Poststart: fails}} {
		t.Run(name, func(t *testing.T) {
			o := bundle(t, "sleep", "60")
			must(t, os.Symlink("busybox", filepath.Join(o.Spec.Root.Path, "bin/false")))
			log := filepath.Join(o.Bundle, "log")
			hooks.Poststop = []specs.Hook{{Path: "/bin/false"}, hook("poststop", log)}
			o.Spec.Hooks = &hooks
			o.Config = encode(t, o.Spec)
			o.Detached = true
			made, err := Create(o)
			must(t, err)
			c, err := Load(o.Root, o.ID)
			must(t, err)
			err = c.Start()
			if err == nil || !strings.Contains(err.Error(), "hooks."+name+"[0]") || strings.Contains(err.Error(), "could not") {
				t.Errorf("error %v", err)
			}
			made.Wait()
			made.Release()
			if got := string(readAll(t, log)); !strings.Contains(got, "poststop") || !strings.Contains(got, `"status":"stopped"`) {
				t.Errorf("the hook for the end says %q", got)
			}
			if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "hooks.poststop[0]: the hook /bin/false failed") {
				t.Errorf("warnings %q", w)
			}
			if _, err := Load(o.Root, o.ID); !os.IsNotExist(err) && !strings.Contains(fmt.Sprint(err), "not exist") {
				t.Errorf("the container is there: %v", err)
			}
		})
	}
	if after := hostState(t); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// Hooks run one after the other, and none after one that failed; those for the
// end run all.
func TestOrderOfHooksThatFail(t *testing.T) {
	o := bundle(t, "sleep", "60")
	log := filepath.Join(o.Bundle, "log")
	bad := specs.Hook{Path: "/bin/false"}
	o.Spec.Hooks = &specs.Hooks{
		CreateRuntime:   []specs.Hook{hook("one", log), bad, hook("two", log)},
		CreateContainer: []specs.Hook{hook("three", log)},
		Poststart:       []specs.Hook{hook("four", log)},
		Poststop:        []specs.Hook{bad, hook("five", log), bad, hook("six", log)},
	}
	o.Config = encode(t, o.Spec)
	o.Detached = true
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "hooks.createRuntime[1]: the hook /bin/false failed") {
		t.Errorf("error %v", err)
	}
	var names []string
	for i, line := range strings.Split(strings.TrimSpace(string(readAll(t, log))), "\n") {
		if i%2 == 0 {
			names = append(names, line)
		}
	}
	if got := strings.Join(names, ","); got != "one env,five env,six env" {
		t.Errorf("hooks %s", got)
	}
}

// A container whose start failed is a stopped one as soon as start says so.
func TestFailedStartIsStopped(t *testing.T) {
	for range 20 {
		o := bundle(t, "true")
		o.Spec.Process = nil
		o.Config = encode(t, o.Spec)
		made, err := Create(o)
		must(t, err)
		c, err := Load(o.Root, o.ID)
		must(t, err)
		if err := c.Start(); err == nil || !strings.Contains(err.Error(), "the container has no process") {
			t.Errorf("error %v", err)
		}
		if s := c.Status(); s != specs.StateStopped {
			t.Errorf("status %s", s)
		}
		made.Wait()
		made.Release()
		must(t, c.Delete(false))
	}
}
