package main

import (
	"fmt"
	"os"
	"strings"

	"loper.run/test/env"
)

// version measures a whole process that does next to nothing.
func (b *bench) version() error {
	all, err := inTurns(b.n, []contender{
		{name: "/bin/true", argv: []string{"/bin/true"}},
		{name: "loper", argv: []string{b.loper, "version"}},
		{name: "lope", argv: []string{b.lope, "--version"}},
		{name: "crun --version", argv: []string{"crun", "--version"}},
		{name: "podman --version", argv: []string{"podman", "--version"}, skip: b.podman.missing},
	})
	if err != nil {
		return err
	}
	for _, r := range []struct{ program, peer, target string }{{"loper", "podman --version", "≤ 3 ms"}, {"lope", "crun --version", "≤ 1.5 ms"}} {
		more := all[r.program].median() - all["/bin/true"].median()
		theirs := all[r.peer].median() - all["/bin/true"].median()
		best := all[r.program].least() - all["/bin/true"].least()
		b.add(row{what: r.program + " version, above /bin/true", ours: milliseconds(more), theirs: milliseconds(theirs), peer: r.peer, target: r.target, best: milliseconds(best)})
	}
	file, err := os.Stat(b.lope)
	if err != nil {
		return err
	}
	b.add(row{what: "lope's file", ours: fmt.Sprintf("%.2f MB", float64(file.Size())/1e6), target: "≤ 6 MB"})
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
