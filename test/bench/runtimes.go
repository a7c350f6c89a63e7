package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"loper.run/test/env"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ociRuntime is one of the runtimes, with its state on the tmpfs.
type ociRuntime struct{ name, path, state string }

func (b *bench) ociRuntimes() []ociRuntime {
	list := []ociRuntime{{name: "lope", path: b.lope}, {name: "crun", path: "crun"}, {name: "runc", path: "runc"}}
	for i := range list {
		list[i].state = filepath.Join(b.dir, "state-"+list[i].name)
	}
	return list
}

func (r ociRuntime) argv(args ...string) []string {
	return append([]string{r.path, "--root", r.state}, args...)
}

// quietly runs the runtime's command with its streams on /dev/null.
func (r ociRuntime) quietly(args ...string) error {
	argv := r.argv(args...)
	if err := exec.Command(argv[0], argv[1:]...).Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

// create, start and delete a container, as an engine does.
func (r ociRuntime) life(bundle, id string) error {
	for _, args := range [][]string{{"create", "--bundle", bundle, id}, {"start", id}, {"delete", "--force", id}} {
		if err := r.quietly(args...); err != nil {
			return err
		}
	}
	return nil
}

// runtimes measures lope, crun and runc on the bundle that runc spec makes, with /bin/true, and on two that differ from it
// in one thing each.
func (b *bench) runtimes() error {
	plain, err := b.bundle("plain", func(*specs.Spec) error { return nil })
	if err != nil {
		return err
	}
	mapped, err := b.bundle("mapped", mapIDs)
	if err != nil {
		return err
	}
	filtered, err := b.bundle("filtered", filterCalls)
	if err != nil {
		return err
	}
	for _, bundle := range []struct{ what, dir string }{{"runc spec's bundle", plain}, {"with a user namespace", mapped}, {"with Docker's seccomp profile", filtered}} {
		var run, life []contender
		for _, r := range b.ociRuntimes() {
			run = append(run, contender{name: r.name, argv: r.argv("run", "--bundle", bundle.dir, "bench-"+r.name)})
			life = append(life, contender{name: r.name, run: func() error { return r.life(bundle.dir, "bench-"+r.name) }})
		}
		if err := b.against(b.n, "lope run, "+bundle.what, run, "≤ 0.80", "≤ 0.25"); err != nil {
			return err
		}
		if err := b.against(b.n, "lope create, start, delete, "+bundle.what, life, "≤ 0.80", "≤ 0.25"); err != nil {
			return err
		}
	}
	if err := b.many(plain); err != nil {
		return err
	}
	return b.execs()
}

// against compares lope with both peers.
func (b *bench) against(n int, what string, contenders []contender, crun, runc string) error {
	all, err := inTurns(n, contenders)
	if err != nil {
		return err
	}
	b.compare(what, all, "lope", "crun", crun)
	b.compare(what, all, "lope", "runc", runc)
	return nil
}

// many measures containers that follow each other at once, as a tight loop and eight at a time.
func (b *bench) many(bundle string) error {
	const count, width = 100, 8
	rounds := max(1, b.n/20)
	var loop, crowd []contender
	for _, r := range b.ociRuntimes() {
		run := func(i int) error {
			return r.quietly("run", "--bundle", bundle, fmt.Sprintf("bench-%s-%d", r.name, i))
		}
		loop = append(loop, contender{name: r.name, run: func() error {
			for i := range count {
				if err := run(i); err != nil {
					return err
				}
			}
			return nil
		}})
		crowd = append(crowd, contender{name: r.name, run: func() error { return inParallel(count, width, run) }})
	}
	if err := b.against(rounds, "100 × lope run, one after another", loop, "≤ 0.80", ""); err != nil {
		return err
	}
	return b.against(rounds, "100 × lope run, 8 at a time", crowd, "≤ 0.80", "")
}

// inParallel calls f(0) to f(count-1), width of them at a time.
func inParallel(count, width int, f func(int) error) error {
	var all sync.WaitGroup
	next, failed := make(chan int), make(chan error, count)
	for range width {
		all.Go(func() {
			for i := range next {
				failed <- f(i)
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	all.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// execs measures a process in a running container.
func (b *bench) execs() error {
	bundle, err := b.bundle("sleeping", func(s *specs.Spec) error {
		s.Process.Args = []string{"/bin/sleep", "100000"}
		return nil
	})
	if err != nil {
		return err
	}
	var contenders []contender
	for _, r := range b.ociRuntimes() {
		id := "bench-exec-" + r.name
		if err := r.quietly("run", "--detach", "--bundle", bundle, id); err != nil {
			return err
		}
		defer r.quietly("delete", "--force", id)
		contenders = append(contenders, contender{name: r.name, argv: r.argv("exec", id, "/bin/true")})
	}
	return b.against(b.n, "lope exec, /bin/true", contenders, "≤ 1", "")
}

// bundle makes the bundle of runc spec, with /bin/true of a static busybox, and changes it.
func (b *bench) bundle(name string, change func(*specs.Spec) error) (string, error) {
	dir := filepath.Join(b.dir, "bundle-"+name)
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return "", err
	}
	files, err := env.BusyboxFiles()
	if err != nil {
		return "", err
	}
	tar := exec.Command("tar", "-x", "-C", rootfs)
	tar.Stdin = strings.NewReader(string(env.Tar(files...)))
	if out, err := tar.CombinedOutput(); err != nil {
		return "", fmt.Errorf("tar: %w: %s", err, out)
	}
	if _, err := must([]string{"runc", "spec", "-b", dir}); err != nil {
		return "", err
	}
	config := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(config)
	if err != nil {
		return "", err
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return "", err
	}
	spec.Process.Args, spec.Process.Terminal = []string{"/bin/true"}, false
	if err := change(&spec); err != nil {
		return "", err
	}
	if data, err = json.Marshal(spec); err != nil {
		return "", err
	}
	return dir, os.WriteFile(config, data, 0o644)
}

// mapIDs gives the container a user namespace whose root is nobody outside.
func mapIDs(s *specs.Spec) error {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
	s.Linux.GIDMappings = s.Linux.UIDMappings
	return nil
}

// filterCalls gives it the seccomp profile that Docker gives to its containers.
func filterCalls(s *specs.Spec) (err error) {
	s.Linux.Seccomp, err = seccomp.GetDefaultProfile(s)
	return err
}
