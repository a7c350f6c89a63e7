package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"loper.run/test/env"
)

// version measures a whole process that does next to nothing.
func (b *bench) version() error {
	all, err := inTurns(b.n, []contender{
		{name: "/bin/true", argv: []string{"/bin/true"}},
		{name: "loper", argv: []string{b.loper, "version"}},
		{name: "lope", argv: []string{b.lope, "--version"}},
		{name: "podman --version", argv: []string{"podman", "--version"}, skip: b.podman.missing},
	})
	if err != nil {
		return err
	}
	for _, program := range []string{"loper", "lope"} {
		more := all[program].median() - all["/bin/true"].median()
		theirs := all["podman --version"].median() - all["/bin/true"].median()
		best := all[program].least() - all["/bin/true"].least()
		b.add(row{what: program + " version, above /bin/true", ours: milliseconds(more), theirs: milliseconds(theirs), peer: "podman --version", target: "≤ 3 ms", best: milliseconds(best)})
	}
	return nil
}

// runtimes measures lope, crun and runc on the bundle that runc spec makes, with /bin/true.
func (b *bench) runtimes() error {
	bundle := filepath.Join(b.dir, "bundle")
	rootfs := filepath.Join(bundle, "rootfs")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return err
	}
	files, err := env.BusyboxFiles()
	if err != nil {
		return err
	}
	tar := exec.Command("tar", "-x", "-C", rootfs)
	tar.Stdin = strings.NewReader(string(env.Tar(files...)))
	if out, err := tar.CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	if _, err := must([]string{"runc", "spec", "-b", bundle}); err != nil {
		return err
	}
	config := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal(data, &spec); err != nil {
		return err
	}
	process := spec["process"].(map[string]any)
	process["args"], process["terminal"] = []string{"/bin/true"}, false
	if data, err = json.Marshal(spec); err != nil {
		return err
	}
	if err := os.WriteFile(config, data, 0o644); err != nil {
		return err
	}
	state := filepath.Join(b.dir, "state-")
	all, err := inTurns(b.n, []contender{
		{name: "lope", argv: []string{b.lope, "--root", state + "lope", "run", "--bundle", bundle, "bench-lope"}},
		{name: "crun", argv: []string{"crun", "--root", state + "crun", "run", "--bundle", bundle, "bench-crun"}},
		{name: "runc", argv: []string{"runc", "--root", state + "runc", "run", "--bundle", bundle, "bench-runc"}},
	})
	if err != nil {
		return err
	}
	b.compare("lope run, runc spec's bundle, /bin/true", all, "lope", "crun", "≤ 0.90")
	b.compare("lope run, runc spec's bundle, /bin/true", all, "lope", "runc", "")
	return nil
}

// engines measures the commands of loper and of podman on the same image, with one container running.
func (b *bench) engines() error {
	if b.podman.missing != "" {
		return fmt.Errorf("podman: %s", b.podman.missing)
	}
	img, err := env.Busybox()
	if err != nil {
		return err
	}
	reference, err := b.registry.Push(img, "busybox:latest")
	if err != nil {
		return err
	}
	if _, err := must(b.engine("pull", "-q", reference)); err != nil {
		return err
	}
	if _, err := b.podman.must("pull", "-q", "--tls-verify=false", reference); err != nil {
		return err
	}
	run := []contender{
		{name: "loper", argv: b.engine("run", "--rm", "--network", "none", reference, "true")},
		b.podman.contender("run", "--rm", "--network", "none", reference, "true"),
		{name: "podman with runc", argv: b.podman.argv("runc", "run", "--rm", "--network", "none", reference, "true"), environ: b.podman.environ},
	}
	all, err := inTurns(b.n/2, run)
	if err != nil {
		return err
	}
	b.compare("loper run --rm --network none IMAGE true", all, "loper", "podman with crun", "≤ 0.125")
	b.compare("loper run --rm --network none IMAGE true", all, "loper", "podman with runc", "")

	script := []string{"sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; done; exec sleep 100000"}
	if _, err := must(b.engine(append([]string{"run", "-d", "--name", "bench", "--network", "none", reference}, script...)...)); err != nil {
		return err
	}
	defer must(b.engine("rm", "-f", "bench"))
	if _, err := b.podman.must(append([]string{"run", "-d", "--name", "bench", "--network", "none", reference}, script...)...); err != nil {
		return err
	}
	defer b.podman.must("rm", "-f", "-t", "0", "bench")
	for _, args := range [][]string{{"exec", "bench", "true"}, {"ps"}, {"images"}, {"inspect", "bench"}, {"logs", "bench"}} {
		all, err := inTurns(b.n/2, []contender{{name: "loper", argv: b.engine(args...)}, b.podman.contender(args...)})
		if err != nil {
			return err
		}
		b.compare("loper "+strings.Replace(strings.Join(args, " "), "bench", "CONTAINER", 1), all, "loper", "podman with crun", "≤ 0.167")
	}
	return nil
}
