package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"loper.run/test/env"
)

//go:embed run
var runScript []byte

// job is what goes into the machine: test programs with their testdata, and the script that runs them.
type job struct{ dir string }

func newJob(names []string) (*job, error) {
	dir, err := os.MkdirTemp("", "loper-vm-")
	if err != nil {
		return nil, err
	}
	j := &job{dir}
	if err := j.fill(names); err != nil {
		j.remove()
		return nil, err
	}
	return j, nil
}

func (j *job) remove() { os.RemoveAll(j.dir) }

func (j *job) tree() string { return filepath.Join(j.dir, "job") }
func (j *job) disk() string { return filepath.Join(j.dir, "job.tar") }

// fill builds the test programs. What they read of the source comes along: testdata, docs and go.mod.
func (j *job) fill(names []string) error {
	begun := time.Now()
	for _, name := range names {
		source, target := filepath.Join(env.Source(), name), filepath.Join(j.tree(), name)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(source, "testdata")); !errors.Is(err, fs.ErrNotExist) {
			if err := os.CopyFS(filepath.Join(target, "testdata"), os.DirFS(filepath.Join(source, "testdata"))); err != nil {
				return err
			}
		}
		build := exec.Command("go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(target, "package.test"), "./"+name)
		build.Dir = env.Source()
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build the tests of %s: %w", name, err)
		}
	}
	progress("built %d test programs in %.0f s", len(names), time.Since(begun).Seconds())
	if err := os.Chmod(j.dir, 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(j.tree(), "docs"), os.DirFS(filepath.Join(env.Source(), "docs"))); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(env.Source(), "go.mod"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(j.tree(), "go.mod"), mod, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(j.tree(), "run"), runScript, 0o644)
}

// pack writes the list of what to run on a machine, and the disk. Where there is a login session, an ordinary user runs
// everything too.
func (j *job) pack(m machine, names, flags []string) error {
	var list strings.Builder
	users := []string{"root"}
	if m.systemd {
		users = append(users, "user")
	}
	for _, who := range users {
		for _, name := range names {
			args := flags
			if run := only[name]; run != "" && !slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "-test.run=") }) {
				args = append(slices.Clip(flags), "-test.run="+run)
			}
			fmt.Fprintln(&list, who, name, strings.Join(args, " "))
		}
	}
	if err := os.WriteFile(filepath.Join(j.tree(), "list"), []byte(list.String()), 0o644); err != nil {
		return err
	}
	out, err := exec.Command("tar", "--create", "--file", j.disk(), "--owner=0", "--group=0", "--directory", j.tree(), ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	return nil
}
