package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"loper.run/test/env"
)

// seccomp measures what a system call takes under the filters that the runtimes make of Docker's profile, crun and runc with
// libseccomp. For calls that a filter allows whatever their arguments the kernel does not run it; for the others it does.
func (b *bench) seccomp() error {
	filtered, err := b.bundle("calls", filterCalls)
	if err != nil {
		return err
	}
	program := filepath.Join(filtered, "rootfs/bin/true") // what the bundle runs
	if err := os.Remove(program); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", program, "./test/bench/calls")
	build.Dir, build.Env = env.Source(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	took := map[string]map[string][]float64{} // by call and runtime
	var order []string
	for round := range max(3, b.n/10) {
		runtimes := b.ociRuntimes()
		for i := range runtimes {
			r := runtimes[(i+round)%len(runtimes)]
			out, err := must(r.argv("run", "--bundle", filtered, "bench-"+r.name))
			if err != nil {
				return err
			}
			for line := range strings.Lines(out) {
				var name string
				var ns float64
				if _, err := fmt.Sscan(line, &name, &ns); err != nil {
					return fmt.Errorf("%s: %q: %w", r.name, out, err)
				}
				if took[name] == nil {
					took[name] = map[string][]float64{}
					order = append(order, name)
				}
				took[name][r.name] = append(took[name][r.name], ns)
			}
		}
	}
	for _, name := range order {
		ours := took[name]["lope"]
		for _, peer := range []string{"crun", "runc"} {
			theirs := took[name][peer]
			b.add(row{what: "one " + name + " call under Docker's profile", ours: nanoseconds(ours), theirs: nanoseconds(theirs), peer: peer, target: "≤ 1",
				ratio: fmt.Sprintf("%.2f", median(ours)/median(theirs)), best: fmt.Sprintf("%.2f", slices.Min(ours)/slices.Min(theirs))})
		}
	}
	return nil
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

func nanoseconds(v []float64) string { return fmt.Sprintf("%.0f ns", median(v)) }
