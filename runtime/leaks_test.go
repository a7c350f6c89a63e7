package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// No process of a container begins in a directory that it could not have
// reached by itself: one of the runtime's own descriptors, by its name in
// /proc or by a link to that in the image (CVE-2024-21626).
func TestWorkingDirectoryCannotBeADescriptor(t *testing.T) {
	held, err := os.Open("/") // what a runtime's caller might leave open
	must(t, err)
	defer held.Close()
	must(t, os.Chdir("/"))
	c := running(t, func(o *Options) {
		for fd := range 24 {
			must(t, os.Symlink(fmt.Sprintf("/proc/self/fd/%d", fd), filepath.Join(o.Spec.Root.Path, fmt.Sprint("link", fd))))
		}
	})
	var dirs []string
	for fd := range 24 {
		dirs = append(dirs, fmt.Sprintf("/proc/self/fd/%d", fd), fmt.Sprintf("/proc/1/fd/%d", fd), fmt.Sprintf("/proc/thread-self/fd/%d/..", fd), fmt.Sprint("/link", fd))
	}
	dirs = append(dirs, "/proc/self/cwd", "/proc/self/root", "/proc/1/cwd", "/proc/self/task/1/cwd")
	for _, dir := range dirs {
		p := specs.Process{Args: []string{"true"}, Cwd: dir, Env: []string{"PATH=/bin"}}
		process, err := c.Exec(ExecOptions{Process: &p})
		if err == nil {
			process.Signal(unix.SIGKILL)
			process.Wait()
			t.Fatalf("exec took %s as the working directory", dir)
		}
		if !strings.Contains(err.Error(), "(config.json: process.cwd)") {
			t.Errorf("%s: error %v", dir, err)
		}
	}
	for fd := 3; fd < 24; fd++ {
		o := bundle(t, "true")
		o.ID, o.Spec.Linux.CgroupsPath = o.ID+"-run", o.Spec.Linux.CgroupsPath+"-run"
		o.Spec.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", fd)
		o.Detached = true
		c, err := Run(o)
		if err == nil {
			c.Delete(true)
			t.Fatalf("run took descriptor %d as the working directory", fd)
		}
		if !strings.Contains(err.Error(), "(config.json: process.cwd)") {
			t.Errorf("run with descriptor %d: error %v", fd, err)
		}
	}
}

// A program and a hook in the container have the standard streams and the
// descriptors that were given to them, and no other.
func TestDescriptorsOfTheRuntimeAreClosed(t *testing.T) {
	// Descriptors that a careless caller leaves open.
	for _, path := range []string{"/", "/etc", "/proc/self/ns/mnt"} {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		must(t, err)
		defer unix.Close(fd)
	}
	// The shell opens nothing for this.
	list := []string{"sh", "-c", "exec >&2; fd=0; while test $fd -lt 80; do if test -e /proc/$$/fd/$fd; then echo $fd; fi; fd=$((fd+1)); done"}
	want := []string{"0", "1", "2"}
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprint("own ids ", own), func(t *testing.T) {
			change := func(o *Options) {
				if own {
					ownIDs(t, o)
				}
			}
			if got := strings.Fields(sh(t, change, list[2])); !slices.Equal(got, want) {
				t.Errorf("the program has %q", got)
			}
			c := running(t, func(o *Options) {
				change(o)
				must(t, os.WriteFile(filepath.Join(o.Bundle, "hook"), nil, 0o666))
				must(t, os.Chmod(filepath.Join(o.Bundle, "hook"), 0o666))
				o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/hook", Source: filepath.Join(o.Bundle, "hook"), Type: "bind", Options: []string{"bind"}})
				script := strings.Replace(list[2], ">&2", ">/hook", 1)
				o.Spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/busybox", Args: []string{"sh", "-c", script}}}}
			})
			if got := strings.Fields(string(readAll(t, filepath.Join(c.Bundle(), "hook")))); !slices.Equal(got, want) {
				t.Errorf("the hook has %q", got)
			}
			r, w, err := os.Pipe()
			must(t, err)
			defer r.Close()
			p := specs.Process{Args: list, Cwd: "/", Env: []string{"PATH=/bin"}}
			process, err := c.Exec(ExecOptions{Process: &p, Stderr: w})
			must(t, err)
			w.Close()
			var got []string
			for line := readLine(t, r); line != ""; line = readLine(t, r) {
				got = append(got, line)
			}
			process.Wait()
			process.Close()
			if got := strings.Fields(strings.Join(got, "\n")); !slices.Equal(got, want) {
				t.Errorf("exec has %q", got)
			}
		})
	}
}
