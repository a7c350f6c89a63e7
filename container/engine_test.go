package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/container/monitor"
	"loper.run/container/reaper"
	"loper.run/image"
	"loper.run/image/layer"
	"loper.run/image/overlay"
	"loper.run/image/pack"
	"loper.run/internal/userns"
	"loper.run/network"
	"loper.run/test/env"
)

func TestMain(m *testing.M) {
	layer.Workers()
	pack.Workers()
	overlay.Workers()
	Workers()
	layer.Workers()
	pack.Workers()
	overlay.Workers()
	userns.Main()
	if len(os.Args) == 3 && os.Args[1] == "monitor" {
		os.Exit(monitor.Main(os.Args[2]))
	}
	if len(os.Args) > 2 && os.Args[1] == "init" {
		os.Exit(reaper.Main(os.Args[2:], os.Stderr))
	}
	if args := os.Args; len(args) > 5 && args[1] == "--root" && args[5] == "rm" {
		os.Exit(removeMain(args[2], args[4], args[len(args)-1]))
	}
	if dir := os.Getenv("LOPER_TEST_STAGE"); dir != "" {
		stageMain(dir)
	}
	os.Exit(m.Run())
}

// removeMain is what a monitor runs for a --rm container.
func removeMain(root, runRoot, id string) int {
	e, err := Open(root, runRoot)
	if err != nil {
		return 1
	}
	c, err := e.Find(id)
	if errors.Is(err, ErrNotFound) {
		return 0
	}
	if err == nil {
		err = c.Remove(RemoveOptions{Force: true, Volumes: true})
	}
	if err != nil {
		os.WriteFile(filepath.Join(root, "rm-error"), []byte(err.Error()), 0o600)
		return 1
	}
	return 0
}

type testEngine struct {
	*Engine
	t   *testing.T
	img *image.Image
	ids []string // of all containers made
}

// newEngine is an engine of its own with a busybox image. Tests that start
// containers need root.
func newEngine(t *testing.T) *testEngine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: containers with their own range of ids")
	}
	dir := t.TempDir()
	e, err := Open(filepath.Join(dir, "root"), filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	e.DefaultNetwork = network.None
	busybox, err := env.Busybox()
	if err != nil {
		t.Skip(err)
	}
	name := env.NewFaulty(t).Put(busybox, "busybox:1")
	img, err := e.Images.Pull(t.Context(), name, image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	te := &testEngine{Engine: e, t: t, img: img}
	t.Cleanup(te.removeAll)
	return te
}

func (e *testEngine) removeAll() {
	list, err := e.List()
	if err != nil {
		e.t.Error(err)
	}
	for _, c := range list {
		if err := c.Remove(RemoveOptions{Force: true, Volumes: true}); err != nil {
			e.t.Error(err)
		}
	}
	for _, dir := range []string{containerDir, nameDir, idRangeDir} {
		if left, _ := filepath.Glob(e.path(dir, "*")); len(left) > 0 {
			e.t.Errorf("left behind: %v", left)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(e.RunRoot, "*", "*")); len(left) > 0 {
		e.t.Errorf("left behind: %v", left)
	}
	if text, err := os.ReadFile(e.path("rm-error")); err == nil {
		e.t.Errorf("removal after the end: %s", text)
	}
}

func (e *testEngine) create(s Settings) *Container {
	e.t.Helper()
	c, err := e.Create(context.Background(), s, e.img)
	if err != nil {
		e.t.Fatal(err)
	}
	e.ids = append(e.ids, c.ID)
	return c
}

func (e *testEngine) start(s Settings) *Container {
	e.t.Helper()
	c := e.create(s)
	if err := c.Start(StartOptions{}); err != nil {
		e.t.Fatal(err)
	}
	return c
}

// run runs a shell script to its end and returns its output and exit code.
func (e *testEngine) run(s Settings, script string) (string, int) {
	e.t.Helper()
	s.Command = []string{"sh", "-c", script}
	c := e.start(s)
	return e.output(c), e.wait(c)
}

func (e *testEngine) wait(c *Container) int {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 20*time.Second)
	defer cancel()
	code, err := c.Wait(ctx)
	if err != nil {
		e.t.Fatal(err)
	}
	return code
}

func (e *testEngine) output(c *Container) string {
	e.t.Helper()
	e.wait(c)
	data, err := os.ReadFile(c.LogPath())
	if err != nil {
		e.t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		if f := strings.SplitN(line, " ", 4); len(f) == 4 {
			text := f[3]
			if f[2] == "P" {
				text = strings.TrimSuffix(text, "\n")
			}
			out.WriteString(text)
		}
	}
	return out.String()
}

func (e *testEngine) status(c *Container) Status {
	e.t.Helper()
	st, err := c.Status()
	if err != nil {
		e.t.Fatal(err)
	}
	return st
}
