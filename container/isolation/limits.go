package isolation

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/docker/go-units"
)

// limits reads what the cgroup allows, as far as it can be seen from here.
func limits() []row {
	g := groups()
	rows := []row{
		{"memory", bytesLimit(g.read("memory", "memory.max", "memory.limit_in_bytes"))},
		{"processes", countLimit(g.read("pids", "pids.max", "pids.max"))},
		{"cpu", g.cpu()},
	}
	return rows
}

// controllers maps each controller to the directories that may hold the files
// of this process's group; "" is version 2.
type controllers map[string][]string

func groups() controllers {
	g := make(controllers)
	body, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(body)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		// Without a cgroup namespace the path is the host's, and the
		// container's mount begins at its own group.
		for name := range strings.SplitSeq(f[1], ",") {
			base := "/sys/fs/cgroup"
			if name != "" {
				base = path.Join(base, name)
			}
			g[name] = []string{path.Join(base, f[2]), base}
		}
	}
	return g
}

// read returns the file of a controller, "" when it can't be seen.
func (g controllers) read(controller, v2, v1 string) string {
	try := func(dirs []string, file string) string {
		for _, dir := range dirs {
			if body, err := os.ReadFile(path.Join(dir, file)); err == nil {
				return strings.TrimSpace(string(body))
			}
		}
		return ""
	}
	if dirs, ok := g[controller]; ok {
		return try(dirs, v1)
	}
	return try(g[""], v2)
}

func (g controllers) cpu() string {
	quota, period := "", ""
	if _, v1 := g["cpu"]; v1 {
		quota, period = g.read("cpu", "", "cpu.cfs_quota_us"), g.read("cpu", "", "cpu.cfs_period_us")
	} else if f := strings.Fields(g.read("cpu", "cpu.max", "")); len(f) == 2 {
		quota, period = f[0], f[1]
	}
	if quota == "" {
		return "limit not visible"
	}
	q, err := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err != nil || err2 != nil || q <= 0 || p <= 0 {
		return "no limit"
	}
	return fmt.Sprintf("at most %.2g", q/p)
}

func bytesLimit(s string) string {
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case s == "":
		return "limit not visible"
	case err != nil || n >= 1<<60: // version 1 has no word for it but a huge number
		return "no limit"
	}
	return "at most " + units.BytesSize(float64(n))
}

func countLimit(s string) string {
	switch {
	case s == "":
		return "limit not visible"
	case s == "max":
		return "no limit"
	}
	return "at most " + s
}
