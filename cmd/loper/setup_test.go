package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"loper.run/internal/userns"
	testenv "loper.run/test/env"
)

// images is a registry in this process that has busybox:latest and
// busybox:other, and the reason why there is none.
var images = sync.OnceValues(func() (addr string, err error) {
	busybox, err := testenv.Busybox()
	if err != nil {
		return "", err
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	r := &testenv.Registry{Addr: strings.TrimPrefix(server.URL, "http://")}
	if _, err := r.Push(busybox, "busybox:latest"); err != nil {
		return "", err
	}
	other := *busybox
	return r.Addr, push(r, &other)
})

// push pushes a second image, whose configuration differs.
func push(r *testenv.Registry, busybox *testenv.Image) error {
	config := testenv.RunConfig{
		Cmd: []string{"sh"}, Env: []string{"PATH=/bin", "COLOUR=blue"}, WorkingDir: "/tmp",
		Labels: map[string]string{"kind": "other"}, Volumes: map[string]struct{}{"/data": {}},
	}
	_, err := r.Push(testenv.NewImage(config, busybox.Layers...), "busybox:other")
	return err
}

// setup gives each script an engine of its own, which is emptied at the end.
func setup(e *testscript.Env) error {
	root, runroot := filepath.Join(e.WorkDir, "root"), filepath.Join(e.WorkDir, "run")
	for name, value := range map[string]string{
		"HOME": e.WorkDir, "XDG_RUNTIME_DIR": e.WorkDir, "LOPER_ROOT": root, "LOPER_RUNROOT": runroot, "TZ": "UTC",
	} {
		e.Setenv(name, value)
	}
	if addr, err := images(); err == nil {
		e.Setenv("REGISTRY", addr)
		e.Setenv("busybox", addr+"/busybox:latest")
		e.Setenv("other", addr+"/busybox:other")
	}
	e.Defer(func() {
		loper := func(args ...string) string {
			program, err := os.Executable()
			if err != nil {
				return ""
			}
			cmd := exec.Command(program, args...)
			cmd.Args[0] = "loper"
			cmd.Env = append(os.Environ(), "LOPER_ROOT="+root, "LOPER_RUNROOT="+runroot)
			out, _ := cmd.Output()
			return string(out)
		}
		for _, id := range strings.Fields(loper("ps", "-aq")) {
			loper("rm", "-fv", id)
		}
		loper("network", "prune", "-f")
		if left := loper("ps", "-aq"); left != "" {
			fmt.Fprintln(os.Stderr, "containers that could not be removed:", left)
		}
	})
	return nil
}

// condition knows [registry]: images can be pulled; [static]: this binary was
// built with CGO_ENABLED=0, as the programs are; [root]: cgroups can be made;
// [ids]: a container has more ids than one.
func condition(name string) (bool, error) {
	switch name {
	case "ids":
		uids, _, err := userns.Mappings()
		return os.Geteuid() == 0 || err == nil && len(uids) > 1, nil
	case "root":
		return os.Geteuid() == 0, nil
	case "static":
		return isStatic(), nil
	case "registry":
		_, err := images()
		return err == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// exits is a script's command: exits CODE PROGRAM [ARG...] runs a program that
// must end with the code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// eventually is a script's command: eventually PATTERN PROGRAM [ARG...] runs a
// program again and again until its output matches.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: eventually PATTERN PROGRAM [ARG...]")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for range 200 {
		if ts.Exec(args[1], args[2:]...) == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	ts.Fatalf("no match for %q", args[0])
}

// isStatic reports whether this binary runs without a loader: as the program
// of the image hello, and of --init, it is alone in its container.
func isStatic() bool {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Section(".interp") == nil
}
