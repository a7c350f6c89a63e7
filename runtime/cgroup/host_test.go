package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestLimitsOnHost(t *testing.T) {
	m := onHost(t, "/"+unique())
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Reservation: ptr(int64(32 << 20)), Swappiness: ptr(uint64(7))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(40000)), Period: ptr(uint64(50000)), Cpus: "0", Mems: "0"},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(20))},
	}
	if err := m.Create(r); err != nil {
		t.Fatal(err)
	}
	paths := m.Paths()
	for _, c := range []struct{ controller, file, want string }{
		{"memory", "memory.limit_in_bytes", "67108864"},
		{"memory", "memory.soft_limit_in_bytes", "33554432"},
		{"memory", "memory.swappiness", "7"},
		{"cpu", "cpu.shares", "512"},
		{"cpu", "cpu.cfs_quota_us", "40000"},
		{"cpu", "cpu.cfs_period_us", "50000"},
		{"cpuset", "cpuset.cpus", "0"},
		{"cpuset", "cpuset.mems", "0"},
		{"pids", "pids.max", "20"},
	} {
		if got := content(t, paths[c.controller], c.file); got != c.want {
			t.Errorf("%s is %s, want %s", c.file, got, c.want)
		}
	}
	again, err := Load(paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Raising and lowering a pair in either order, a period below what the old quota allows, and lifting.
	for _, s := range []struct {
		limit, swap, quota int64
		period             uint64
	}{{128 << 20, 256 << 20, 1000, 1000}, {1 << 30, 1 << 30, 900000, 1000000}, {16 << 20, 16 << 20, -1, 100000}, {-1, 0, 0, 0}} {
		r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &s.limit, Swap: &s.swap}, CPU: &specs.LinuxCPU{Quota: &s.quota, Period: &s.period}}
		if err := again.Set(r); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
		st, err := again.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if want := uint64(s.limit); s.limit > 0 && st.Memory.Limit != want || s.limit < 0 && st.Memory.Limit != NoLimit {
			t.Errorf("%+v: limit is %d", s, st.Memory.Limit)
		}
	}
	if got := content(t, paths["pids"], "pids.max"); got != "20" {
		t.Errorf("what was not in Set changed: pids.max %s", got)
	}
	if err := again.Destroy(); err != nil {
		t.Fatal(err)
	}
	missing(t, m)
	if err := again.Destroy(); err != nil {
		t.Errorf("the second Destroy: %v", err)
	}
	if frozen, err := again.Frozen(); frozen || err != nil {
		t.Errorf("gone, but frozen %v %v", frozen, err)
	}
	if pids, err := again.Pids(); len(pids) > 0 || err != nil {
		t.Errorf("gone, but has %v %v", pids, err)
	}
	if err := again.Kill(syscall.SIGTERM); err != nil {
		t.Errorf("nobody to signal: %v", err)
	}
}

func TestMissingControllerOnHost(t *testing.T) {
	m := onHost(t, "/"+unique())
	if m.find("hugetlb") != nil {
		t.Skip("needs a machine without the hugetlb controller")
	}
	err := m.Create(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 1}}})
	if want := "linux.resources.hugepageLimits[0]: the hugetlb controller is not mounted on this machine"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	missing(t, m)
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	parent := unique()
	m := here(t, "/"+parent+"/deep/box")
	before := openFiles(t)
	err := m.Create(&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "9999"}})
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Field != "linux.resources.cpu.cpus" {
		t.Errorf("%v", err)
	}
	for _, dir := range m.Paths() {
		top, _, _ := strings.Cut(dir, "/deep")
		if _, err := os.Lstat(top); err == nil {
			t.Errorf("%s is left", top)
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

func TestNoDescriptorLeaks(t *testing.T) {
	cycle := func() {
		m := here(t, "/"+unique())
		if err := m.Create(noDevices); err != nil {
			t.Fatal(err)
		}
		j, err := m.Join(nil)
		if err != nil {
			t.Fatal(err)
		}
		j.Close()
		if err := m.Freeze(); err != nil {
			t.Fatal(err)
		}
		_, _ = m.Stats()
		_, _ = m.Pids()
		_ = m.Thaw()
		_ = m.Kill(syscall.SIGTERM)
		if err := m.Destroy(); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	before := openFiles(t)
	cycle()
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestMissingCpusetIsFilled(t *testing.T) {
	m := onHost(t, "/"+unique()+"/a/b")
	parent := m.find("cpuset")
	if parent == nil {
		t.Skip("needs the v1 cpuset controller")
	}
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTop(m) })
	all := content(t, parent.root, "cpuset.cpus")
	for dir := parent.path(); dir != parent.root; dir = filepath.Dir(dir) {
		if got := content(t, dir, "cpuset.cpus"); got != all {
			t.Errorf("%s: %q, want %q", dir, got, all)
		}
	}
}

// removeTop removes the groups above that a test made.
func removeTop(m *v1) {
	_ = m.Destroy()
	for _, g := range m.groups {
		g.rel, _, _ = strings.Cut(g.rel, "/")
		_ = g.remove(time.Now().Add(time.Second))
	}
}

func TestRelativePath(t *testing.T) {
	name := unique()
	m := here(t, name)
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	own, err := ownGroups()
	if err != nil {
		t.Fatal(err)
	}
	above := own // v2 hands nothing down from a group with processes in it
	if Detect() == V2 {
		above = map[string]string{"": filepath.Dir("/" + own[""])}
	}
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.Process.Pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for c, path := range parseOwn(string(b)) {
		if _, ok := m.Paths()[c]; ok && path != filepath.Join("/", above[c], name) {
			t.Errorf("%q: %s, want %s below %s", c, path, name, above[c])
		}
	}
}

func TestUsedGroupIsRefused(t *testing.T) {
	path := "/" + unique()
	m := here(t, path)
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	second, _ := New(path, Detect())
	if err := second.Create(nil); err != nil {
		t.Errorf("an empty group: %v", err)
	}
	if err := m.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := second.Create(nil); err == nil || !strings.Contains(err.Error(), "is frozen") {
		t.Errorf("a frozen group: %v", err)
	}
	_ = m.Thaw()
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	if err := second.Create(nil); err == nil || !strings.Contains(err.Error(), "has processes already") {
		t.Errorf("a used group: %v", err)
	}
	if pids, _ := m.Pids(); !slices.Equal(pids, []int{p.Process.Pid}) {
		t.Errorf("the refused Create took the group: %v", pids)
	}
}

func TestAddOfNobody(t *testing.T) {
	m := here(t, "/"+unique())
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Add(1<<30, nil); err == nil {
		t.Error("a process that does not exist was added")
	}
}

// TestJoin gives the descriptors to a process that then moves itself, as the launcher's child does.
func TestJoin(t *testing.T) {
	name := unique()
	m := here(t, "/"+name)
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	j, err := m.Join(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	_, got := join(t, j)
	for controller := range m.Paths() {
		if got[controller] != "/"+name {
			t.Errorf("%q: in %s, want /%s", controller, got[controller], name)
		}
	}
}

func TestFreezeAndKill(t *testing.T) {
	for _, mode := range []string{"hybrid", "v1 alone", "v2"} {
		t.Run(mode, func(t *testing.T) {
			var m Manager
			switch mode {
			case "v2":
				m = unified(t)
			default:
				h := onHost(t, "/"+unique())
				if i := slices.IndexFunc(h.groups, member.unified); mode == "v1 alone" && i >= 0 {
					h.groups = slices.Delete(h.groups, i, i+1)
				}
				m = h
			}
			if err := m.Create(nil); err != nil {
				t.Fatal(err)
			}
			p := start(t)
			if err := m.Add(p.Process.Pid, nil); err != nil {
				t.Fatal(err)
			}
			if a := p.do("fork 5"); a != "<nil>" {
				t.Fatal(a)
			}
			if pids, err := m.Pids(); err != nil || len(pids) != 6 {
				t.Errorf("%d processes, want 6 (%v)", len(pids), err)
			}
			if err := m.Freeze(); err != nil {
				t.Fatal(err)
			}
			if frozen, err := m.Frozen(); !frozen || err != nil {
				t.Errorf("frozen %v %v", frozen, err)
			}
			answered := make(chan string, 1)
			go func() { answered <- p.do("spin 0") }()
			select {
			case <-answered:
				t.Error("a frozen process answers")
			case <-time.After(50 * time.Millisecond):
			}
			// A signal reaches the frozen but does not wake them.
			if err := m.Kill(syscall.SIGWINCH); err != nil {
				t.Error(err)
			}
			if frozen, _ := m.Frozen(); !frozen {
				t.Error("a signal thawed the group")
			}
			if err := m.Thaw(); err != nil {
				t.Fatal(err)
			}
			if frozen, err := m.Frozen(); frozen || err != nil {
				t.Errorf("thawed, but frozen %v %v", frozen, err)
			}
			if a := <-answered; a != "<nil>" {
				t.Errorf("after thaw: %q", a)
			}
			if err := m.Freeze(); err != nil {
				t.Fatal(err)
			}
			if err := m.Kill(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			if a := p.do("spin 0"); a != "" {
				t.Errorf("alive after SIGKILL: %q", a)
			}
			if err := m.Destroy(); err != nil { // waits for the forked ones to be gone
				t.Error(err)
			}
			missing(t, m)
		})
	}
}

// The killed need CPU time to end, more than a hard quota gives them in time.
func TestKillLiftsTheQuota(t *testing.T) {
	var m Manager
	var file, want string
	if Detect() == V2 {
		var err error
		if m, err = New(unique(), V2); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Destroy() })
		file, want = "cpu.max", "max 1000000"
	} else {
		m, file, want = onHost(t, "/"+unique()), "cpu.cfs_quota_us", "-1"
	}
	if err := m.Create(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(2000)), Period: ptr(uint64(1000000))}}); err != nil {
		t.Fatal(err)
	}
	dir := m.Paths()["cpu"]
	if Detect() == V2 {
		dir = m.Paths()[""]
	}
	p := start(t)
	if a := p.do("fork 20"); a != "<nil>" {
		t.Fatal(a)
	}
	pids, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.Process.Pid))
	if err != nil {
		t.Skip("needs /proc/PID/task/TID/children: ", err)
	}
	for _, word := range append(strings.Fields(string(pids)), fmt.Sprint(p.Process.Pid)) {
		pid, _ := strconv.Atoi(word)
		if err := m.Add(pid, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Kill(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if got := content(t, dir, file); got != want {
		t.Errorf("%s is %q, want %q", file, got, want)
	}
	if err := m.Destroy(); err != nil {
		t.Error(err)
	}
}

func TestKillOutrunsForks(t *testing.T) {
	m := here(t, "/"+unique())
	if m, ok := m.(*v1); ok {
		if i := slices.IndexFunc(m.groups, member.unified); i >= 0 {
			m.groups = slices.Delete(m.groups, i, i+1) // the harder way, without cgroup.kill
		}
	}
	if err := m.Create(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(300))}}); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-c", "read x; f() { sleep 100 & sleep 0.001; f & f; }; f")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.Add(c.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	_, _ = in.Write([]byte("go\n"))
	time.Sleep(100 * time.Millisecond)
	if err := m.Kill(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = c.Wait()
	if err := m.Destroy(); err != nil {
		t.Error(err)
	}
}

func TestTermReachesAll(t *testing.T) {
	m := here(t, "/"+unique())
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	p.do("fork 3")
	if err := m.Kill(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	answer := "none"
	for range 500 { // Go's own handler of the signal may need a moment
		if answer = p.do("spin 10"); answer == "" {
			break
		}
	}
	if answer != "" {
		t.Errorf("alive after SIGTERM: %q", answer)
	}
	if err := m.Destroy(); err != nil {
		t.Error(err)
	}
}

func TestDestroyRemovesGroupsBelow(t *testing.T) {
	m := here(t, "/"+unique())
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	for _, dir := range m.Paths() {
		if err := os.MkdirAll(filepath.Join(dir, "x/y/z"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	below := m.Paths()["pids"] + "/x/y"
	if Detect() == V2 {
		below = m.Paths()[""] + "/x/y"
	}
	p := start(t)
	if err := os.WriteFile(below+"/cgroup.procs", []byte(strconv.Itoa(p.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	if err := m.Destroy(); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("Destroy of a used group: %v", err)
	}
	done := make(chan error)
	go func() { done <- m.Destroy() }()
	time.Sleep(30 * time.Millisecond)
	_ = p.Process.Kill()
	if err := <-done; err != nil {
		t.Error(err)
	}
	missing(t, m)
}

func TestStatsOnHost(t *testing.T) {
	m := onHost(t, "/"+unique())
	if err := m.Create(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(40 << 20))}, Pids: &specs.LinuxPids{Limit: ptr(int64(99))},
		CPU: &specs.LinuxCPU{Quota: ptr(int64(5000)), Period: ptr(uint64(50000))}}); err != nil {
		t.Fatal(err)
	}
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	p.do("mem 8")
	p.do("spin 150")
	s, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.CPU.Total < 5e6 || s.CPU.Throttled == 0 || s.CPU.ThrottledTime == 0 || s.CPU.Periods < s.CPU.Throttled {
		t.Errorf("cpu: %+v", s.CPU)
	}
	if s.Memory.Usage < 8<<20 || s.Memory.Usage > 40<<20 || s.Memory.Limit != 40<<20 || s.Memory.Peak < s.Memory.Usage || s.Memory.Anon < 7<<20 || s.Memory.WorkingSet > s.Memory.Usage {
		t.Errorf("memory: %+v", s.Memory)
	}
	if s.Pids.Current == 0 || s.Pids.Limit != 99 || s.OOMKills != 0 {
		t.Errorf("pids: %+v, oom kills %d", s.Pids, s.OOMKills)
	}
	if a := p.do("mem 100"); a != "" {
		t.Errorf("100 MiB fit in 40: %q", a)
	}
	if n, err := m.OOMKills(); n != 1 || err != nil {
		t.Errorf("oom kills %d, %v", n, err)
	}
}

func TestPidsLimitHolds(t *testing.T) {
	m := here(t, "/"+unique())
	if err := m.Create(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(0))}}); err != nil {
		t.Fatal(err)
	}
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	if a := p.do("fork 1"); !strings.Contains(a, "temporarily unavailable") {
		t.Errorf("fork with a limit of 0: %q", a)
	}
}

// TestHostileGroups puts links and files where groups are expected, as a process with access to a part of the
// hierarchy could, in a directory tree of its own (cgroup file systems have no links).
func TestHostileGroups(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	victim := filepath.Join(outside, "box")
	if err := os.Mkdir(victim, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"cgroup.procs", "cgroup.kill", "cgroup.freeze", "memory.max"} {
		if err := os.WriteFile(filepath.Join(victim, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(root, "a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(root, "leaf")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "box"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(victim, "cgroup.procs"), filepath.Join(root, "box", "cgroup.procs")); err != nil {
		t.Fatal(err)
	}
	for _, rel := range []string{"a/box", "leaf", "file", "../" + filepath.Base(outside) + "/box", "/etc", "box"} {
		m := &v2{group: group{root, rel}}
		for name, err := range map[string]error{"Create": m.Create(nil), "Add": m.Add(1, nil), "Freeze": m.Freeze(),
			"Kill": m.write("cgroup.kill", "1"), "Set": m.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(1))}})} {
			if err == nil {
				t.Errorf("%s of %s worked", name, rel)
			}
		}
		if rel != "box" {
			_ = m.Destroy()
		}
	}
	for _, f := range []string{"cgroup.procs", "cgroup.kill", "cgroup.freeze", "memory.max"} {
		if got := content(t, victim, f); got != "" {
			t.Errorf("%s outside was written: %q", f, got)
		}
	}
}

func TestDelegate(t *testing.T) {
	m := unified(t)
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Delegate(12345); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{"": 12345, "cgroup.procs": 12345, "cgroup.subtree_control": 12345, "cgroup.freeze": 0, "cgroup.kill": 0} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(m.path(), name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Uid != want {
			t.Errorf("%s belongs to %d, want %d", name, st.Uid, want)
		}
	}
}

func TestFD(t *testing.T) {
	m := unified(t)
	if m.FD() != -1 {
		t.Error("a descriptor of no group")
	}
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("cat", "/proc/self/cgroup")
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: m.FD()}
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := parseOwn(string(out))[""]; got != "/"+m.rel {
		t.Errorf("born in %s", got)
	}
}

func TestDetect(t *testing.T) {
	if got := detect(t.TempDir()); got != None {
		t.Errorf("an empty directory is %v", got)
	}
	m, err := New("/x", None)
	if err != nil || m.FD() != -1 || len(m.Paths()) != 0 {
		t.Errorf("%v %v", m, err)
	}
	again, err := Load(m.Paths(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Freeze(); !errors.Is(err, ErrNoGroup) {
		t.Errorf("%v", err)
	}
}
