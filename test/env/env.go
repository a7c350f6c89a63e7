// Package env is what the end to end tests and the benchmarks stand on: the programs built once, real images made
// without a network, real registries on loopback, a user without rights, a terminal, and a picture of the host to compare
// before and after.
package env

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Need skips the test unless all programs are installed.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs the program %s", p)
		}
	}
}

// NeedRoot skips the test unless it runs as root.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// Source is the directory of the module loper.run, also for the module inside of it.
func Source() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) || !exists(filepath.Join(dir, "test", "env")) {
		parent := filepath.Dir(dir)
		if parent == dir {
			panic("no module loper.run above the working directory")
		}
		dir = parent
	}
	return dir
}

// Build builds loper and lope as make does, into dir.
func Build(dir string) error {
	cmd := exec.Command("make", "-s", "-C", Source(), "build")
	// make's own -o stays out of bin/, which a developer may be using.
	cmd.Args = append(cmd.Args, "BUILD_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	return nil
}

// cacheDir is where images that take long to make are kept between runs.
var cacheDir = sync.OnceValues(func() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".cache")
	}
	dir := filepath.Join(base, "loper-test")
	return dir, os.MkdirAll(dir, 0o755)
})

// Cache is a directory of that name which is kept between runs.
func Cache(name string) (string, error) {
	base, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, name)
	return dir, os.MkdirAll(dir, 0o755)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// output is a command's standard output without surrounding space; the error holds what it said.
func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if ee, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(ee.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}
