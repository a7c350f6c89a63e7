package main

import (
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

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
		if left := loper("ps", "-aq"); left != "" {
			fmt.Fprintln(os.Stderr, "containers that could not be removed:", left)
		}
	})
	return nil
}

// condition knows [container]: containers can be run here, and [registry]:
// images can be pulled.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "registry":
		_, err := images()
		return err == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}
