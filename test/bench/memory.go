package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"loper.run/test/env"
)

// memory measures what stays beside idle containers: the proportional set size of monitors, one and ten of them.
func (b *bench) memory() error {
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
	if b.podman.missing == "" {
		if _, err := b.podman.must("pull", "-q", "--tls-verify=false", reference); err != nil {
			return err
		}
	}
	for _, n := range []int{1, 10} {
		for i := range n {
			name := fmt.Sprintf("memory-%d", i)
			if _, err := must(b.engine("run", "-d", "--name", name, "--network", "none", reference, "sleep", "100000")); err != nil {
				return err
			}
			defer must(b.engine("rm", "-f", name))
			if b.podman.missing == "" {
				if _, err := b.podman.must("run", "-d", "--name", name, "--network", "none", reference, "sleep", "100000"); err != nil {
					return err
				}
				defer b.podman.must("rm", "-f", "-t", "0", name)
			}
		}
		time.Sleep(2 * time.Second) // idle
		ours := proportional(filepath.Join(b.dir, "loper"), "monitor")
		theirs := proportional(b.podman.dir, "conmon")
		b.add(row{what: fmt.Sprintf("a monitor's memory (PSS) beside each of %d", n), ours: kilobytes(ours), theirs: kilobytes(theirs), peer: "conmon", ratio: fmt.Sprintf("%.2f", ours/theirs), target: "≤ 2.5 MB"})
		for i := range n {
			name := fmt.Sprintf("memory-%d", i)
			must(b.engine("rm", "-f", name))
			b.podman.must("rm", "-f", "-t", "0", name)
		}
	}
	return nil
}

// proportional is the mean PSS, in kB, of the processes whose command line has both words.
func proportional(words ...string) float64 {
	sum, count := 0.0, 0
	dirs, _ := filepath.Glob("/proc/[0-9]*")
next:
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		if dir == "/proc/"+strconv.Itoa(os.Getpid()) {
			continue
		}
		for _, w := range words {
			if !bytes.Contains(cmdline, []byte(w)) {
				continue next
			}
		}
		if kB := pss(dir); kB > 0 {
			sum += kB
			count++
		}
	}
	return sum / float64(max(count, 1))
}

func kilobytes(kB float64) string { return fmt.Sprintf("%.2f MB", kB/1024) }
