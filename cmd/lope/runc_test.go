package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// peer is a runc that runs the same bundle, in another cgroup.
type peer struct {
	*box
	root, bundle string
}

func newPeer(t *testing.T, b *box) *peer {
	t.Helper()
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("needs the program runc, to compare with")
	}
	dir := t.TempDir()
	p := &peer{b, filepath.Join(dir, "runc"), filepath.Join(dir, "bundle")}
	b.must(os.Mkdir(p.bundle, 0o755))
	spec, root, linux := *b.spec, *b.spec.Root, *b.spec.Linux
	spec.Root, spec.Linux = &root, &linux
	root.Path = filepath.Join(b.bundle, root.Path)
	linux.CgroupsPath += "-runc"
	data, err := json.Marshal(&spec)
	b.must(err)
	b.must(os.WriteFile(filepath.Join(p.bundle, "config.json"), data, 0o600))
	t.Cleanup(func() {
		for _, id := range strings.Fields(p.runc("list", "-q").out) {
			p.runc("delete", "--force", id)
		}
	})
	return p
}

func (p *peer) runc(args ...string) result {
	p.t.Helper()
	cmd := exec.Command("runc", append([]string{"--root", p.root}, args...)...)
	cmd.Dir = p.bundle
	cmd.WaitDelay = 20 * time.Second
	return p.finish(cmd)
}

// running runs the bundle with both.
func (p *peer) running(t *testing.T) {
	t.Helper()
	for _, r := range []result{p.runc("run", "-d", "peer"), p.lope("run", "-d", "peer")} {
		if r.code != 0 {
			t.Fatalf("%+v", r)
		}
	}
}

// both runs a command with each and gives runc's result and lope's.
func (p *peer) both(args ...string) (theirs, ours result) {
	p.t.Helper()
	return p.runc(args...), p.lope(args...)
}

// keys are the names in a JSON text, in order, with how deep they stand.
func keys(t *testing.T, text string) (all []string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	var walk func(path string)
	walk = func(path string) {
		token, err := d.Token()
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		switch token {
		case json.Delim('{'):
			for d.More() {
				key, _ := d.Token()
				name := path + "." + key.(string)
				all = append(all, name)
				walk(name)
			}
			d.Token()
		case json.Delim('['):
			for d.More() {
				walk(path + "[]")
			}
			d.Token()
		}
	}
	walk("")
	return all
}

// What is printed of a container has runc's fields and columns, in its order,
// in every state, and the exit statuses are runc's.
func TestSameAsRunc(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "1000")
	b.spec.Annotations = map[string]string{"a": "b"}
	b.write()
	p := newPeer(t, b)
	// What differs from run to run.
	blank := func(text string) string {
		text = strings.NewReplacer(p.bundle, "BUNDLE", b.bundle, "BUNDLE").Replace(text)
		for _, r := range [][2]string{
			{`\d+-\d+-\d+T[\d:.]+Z`, "TIME"}, {`"pid": ?[1-9]\d*`, `"pid": PID`}, {`"ociVersion": ?"[^"]*"`, `"ociVersion": V`},
			{`"owner": ?"[^"]*"`, `"owner": WHO`}, {`peer +[1-9]\d*`, "peer PID"}, {`BUNDLE +`, "BUNDLE "}, {`sleep +\d+`, "sleep PID"}, {" +", " "}, {`root$`, "WHO"}, {`^null$`, "[]"},
		} {
			text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
		}
		return strings.TrimSpace(text)
	}
	same := func(args ...string) {
		t.Helper()
		theirs, ours := p.both(args...)
		if theirs.code != ours.code || blank(theirs.out) != blank(ours.out) {
			t.Errorf("%q: runc\n%+v\nlope\n%+v", args, theirs, ours)
		}
		if (theirs.err == "") != (ours.err == "") {
			t.Errorf("%q: runc says %q, lope %q", args, theirs.err, ours.err)
		}
	}
	look := func() {
		t.Helper()
		same("state", "peer")
		same("list")
		same("list", "-f", "json")
		same("list", "--quiet")
	}
	for _, r := range []result{p.runc("create", "peer"), b.lope("create", "peer")} {
		if r.code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	look()
	same("start", "peer")
	look()
	same("start", "peer")
	same("create", "peer")
	same("resume", "peer")
	same("pause", "peer")
	look()
	same("exec", "peer", "true")
	same("delete", "peer")
	same("resume", "peer")
	same("exec", "peer", "sh", "-c", "exit 7")
	same("exec", "peer", "sh", "-c", "kill -9 $$")
	same("exec", "--cwd", "/proc", "--env", "A=b", "--user", "1000:1001", "--additional-gids", "5", "peer", "sh", "-c", "pwd; echo $A; id -u; id -g; id -G")
	same("kill", "peer", "NOTHING")
	same("kill", "peer", "0")
	same("ps", "peer", "-o", "comm,pid")
	same("ps", "-f", "xml", "peer")
	same("kill", "peer", "KILL")
	eventually(t, "both ended", func() bool {
		theirs, ours := p.both("state", "peer")
		return strings.Contains(theirs.out, "stopped") && strings.Contains(ours.out, "stopped")
	})
	look()
	same("kill", "peer", "KILL")
	same("kill", "--all", "peer", "KILL")
	same("exec", "peer", "true")
	same("pause", "peer")
	same("resume", "peer")
	same("start", "peer")
	same("events", "--stats", "peer")
	same("update", "--memory", "100m", "peer")
	same("delete", "peer")
	same("delete", "peer")
	same("delete", "--force", "peer")
	for _, command := range []string{"state", "start", "kill", "pause", "resume", "ps", "update", "events", "delete"} {
		same(command, "peer")
		same(command, "../peer")
	}
	same("run", "--bundle", "/nowhere", "peer")
}

// The numbers of 'events --stats' stand where runc has them.
func TestEventsAsRunc(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "1000")
	p := newPeer(t, b)
	p.running(t)
	theirs, ours := p.both("events", "--stats", "peer")
	all := keys(t, ours.out)
	for _, name := range keys(t, theirs.out) {
		// The last ones are there when they aren't 0.
		if !slices.Contains(all, name) && !strings.Contains(name, "blkio") && !strings.Contains(name, "swapcached") && name != ".data.memory.cache" {
			t.Errorf("runc has %s", name)
		}
	}
	var e struct {
		Type, ID string
		Data     struct {
			Memory struct{ Usage struct{ Limit, Usage uint64 } }
			Pids   struct{ Current uint64 }
		}
	}
	b.must(json.Unmarshal([]byte(ours.out), &e))
	if e.Type != "stats" || e.ID != "peer" || e.Data.Pids.Current != 1 || e.Data.Memory.Usage.Usage == 0 || e.Data.Memory.Usage.Limit < 1<<62 {
		t.Errorf("events --stats: %s", ours.out)
	}
}

// The limits that update sets are those that runc sets by the same flags.
func TestUpdateAsRunc(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "1000")
	p := newPeer(t, b)
	p.running(t)
	// limits reads the files of the container's cgroups.
	limits := func(pid string) string {
		t.Helper()
		groups, err := os.ReadFile("/proc/" + pid + "/cgroup")
		b.must(err)
		var all []string
		for line := range strings.Lines(string(groups)) {
			parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
			for _, file := range []string{
				"memory.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us",
				"cpuset.cpus", "cpuset.mems", "pids.max", "memory.max", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight",
			} {
				if data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(parts[1], "name="), parts[2], file)); err == nil {
					all = append(all, file+"="+strings.TrimSpace(string(data)))
				}
			}
		}
		slices.Sort(all)
		return strings.Join(all, "\n")
	}
	pidOf := func(r result) string {
		var s struct{ Pid int }
		b.must(json.Unmarshal([]byte(r.out), &s))
		return strconv.Itoa(s.Pid)
	}
	theirs, ours := p.both("state", "peer")
	before := limits(pidOf(ours))
	file := filepath.Join(t.TempDir(), "resources.json")
	b.must(os.WriteFile(file, []byte(`{"memory": {"limit": 67108864}, "cpu": {"shares": 300}, "pids": {"limit": 44}}`), 0o600))
	for _, args := range [][]string{
		{"--memory", "100m"}, {"--memory", "64MiB", "--memory-swap", "128M"}, {"--memory-reservation", "32m"}, {"--memory", "-1", "--memory-swap", "-1"}, {"--memory", "200m"}, {"--memory", "-1"},
		{"--cpu-quota", "50000", "--cpu-period", "100000"}, {"--cpu-share", "512"}, {"--cpuset-cpus", "0", "--cpuset-mems", "0"},
		{"--pids-limit", "17"}, {"--pids-limit", "-1"}, {"--memory", "96MB", "--pids-limit", "100", "--cpu-share", "100"}, {"--resources", file},
		// What is refused.
		{"--memory", "much"}, {"--memory", "4k"}, {"--cpu-quota", "x"}, {"--cpuset-cpus", "4000"}, {"--resources", "/nowhere"}, {"--cpu-period", "-1"}, {"--nothing"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			theirResult, ourResult := p.both(append(append([]string{"update"}, args...), "peer")...)
			if theirResult.code != ourResult.code {
				t.Errorf("runc %+v\nlope %+v", theirResult, ourResult)
			}
			if a, b := limits(pidOf(theirs)), limits(pidOf(ours)); a != b {
				t.Errorf("runc\n%s\nlope\n%s", a, b)
			}
		})
	}
	if limits(pidOf(ours)) == before {
		t.Error("nothing was changed")
	}
}
