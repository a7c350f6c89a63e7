package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// limits measures how little memory is enough: what create takes at its peak, with all its processes and what the kernel keeps
// for them, and the smallest memory limit in which a container starts.
func (b *bench) limits() error {
	if err := b.peaks(); err != nil {
		return err
	}
	return b.smallest()
}

// peaks runs each create in a memory cgroup of its own. The program's pages are in the page cache by then: the first round is
// not counted.
func (b *bench) peaks() error {
	bundle, err := b.bundle("peak", func(*specs.Spec) error { return nil })
	if err != nil {
		return err
	}
	parent, peakFile, err := memoryGroup()
	if err != nil {
		return err
	}
	took := map[string][]float64{}
	for round := range max(5, b.n/6) {
		for _, r := range b.ociRuntimes() {
			peak, err := r.peak(bundle, parent, peakFile)
			if err != nil {
				return err
			}
			if round > 0 {
				took[r.name] = append(took[r.name], peak)
			}
		}
	}
	for _, goal := range []struct{ peer, target string }{{"crun", ""}, {"runc", "≤ 0.33"}} {
		ours, theirs := took["lope"], took[goal.peer]
		b.add(row{what: "peak memory of lope create, all processes", ours: kilobytes(median(ours)), theirs: kilobytes(median(theirs)), peer: goal.peer, target: goal.target,
			ratio: fmt.Sprintf("%.2f", median(ours)/median(theirs)), best: fmt.Sprintf("%.2f", slices.Min(ours)/slices.Min(theirs))})
	}
	return nil
}

// memoryGroup finds this process's group of the memory controller, below which it may make others, and the name of the file
// that tells a group's peak.
func memoryGroup() (dir, peakFile string, err error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(data)) {
		controllers, path, _ := strings.Cut(strings.TrimSpace(line[strings.IndexByte(line, ':')+1:]), ":")
		if slices.Contains(strings.Split(controllers, ","), "memory") {
			return filepath.Join("/sys/fs/cgroup/memory", path), "memory.max_usage_in_bytes", nil
		}
	}
	const root = "/sys/fs/cgroup" // a group with processes of its own can't have groups with limits
	if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+memory"), 0); err != nil {
		return "", "", fmt.Errorf("no memory controller: %w", err)
	}
	return root, "memory.peak", nil
}

// peak is the most memory that create uses, in kB.
func (r ociRuntime) peak(bundle, parent, file string) (float64, error) {
	group, err := os.MkdirTemp(parent, "loper-bench-")
	if err != nil {
		return 0, err
	}
	defer removeGroup(group)
	id := "bench-peak-" + r.name
	defer r.quietly("delete", "--force", id)
	create := exec.Command("sh", append([]string{"-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, group}, r.argv("create", "--bundle", bundle, id)...)...)
	if err := create.Run(); err != nil {
		return 0, fmt.Errorf("%s create: %w", r.name, err)
	}
	data, err := os.ReadFile(filepath.Join(group, file))
	if err != nil {
		return 0, err
	}
	peak, err := strconv.ParseFloat(strings.TrimSpace(string(data)), 64)
	return peak / 1024, err
}

// removeGroup removes a group, and what a runtime left in it; processes that have just ended keep it for a moment.
func removeGroup(group string) {
	for range 50 {
		if inner, err := filepath.Glob(group + "/*/"); err == nil {
			for _, dir := range inner {
				os.Remove(dir)
			}
		}
		if os.Remove(group) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// smallest looks for the limit by halving, in steps of 32 KiB.
func (b *bench) smallest() error {
	const step, most, mark = 32 << 10, 16 << 20, 424242
	limit := int64(mark)
	bundle, err := b.bundle("limit", func(s *specs.Spec) error {
		if s.Linux.Resources == nil {
			s.Linux.Resources = &specs.LinuxResources{}
		}
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
		return nil
	})
	if err != nil {
		return err
	}
	config := filepath.Join(bundle, "config.json")
	marked, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	found := map[string]float64{}
	for _, r := range b.ociRuntimes() {
		failing, starting := 0, most/step
		for starting-failing > 1 {
			middle := (failing + starting) / 2
			if err := os.WriteFile(config, bytes.ReplaceAll(marked, []byte(strconv.Itoa(mark)), []byte(strconv.Itoa(middle*step))), 0o600); err != nil {
				return err
			}
			id := fmt.Sprintf("bench-limit-%s-%d", r.name, middle)
			if r.quietly("run", "--bundle", bundle, id) == nil {
				starting = middle
			} else {
				failing = middle
			}
			_ = r.quietly("delete", "--force", id) // what a start that failed left; usually nothing
		}
		found[r.name] = float64(starting*step) / 1024
	}
	for _, peer := range []string{"crun", "runc"} {
		b.add(row{what: "smallest memory limit in which a container starts", ours: kilobytes(found["lope"]), theirs: kilobytes(found[peer]), peer: peer, target: "≤ 1 MB",
			ratio: fmt.Sprintf("%.2f", found["lope"]/found[peer])})
	}
	return nil
}
