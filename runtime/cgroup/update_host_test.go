package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func memory(limit, swap int64) *specs.LinuxResources {
	return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &swap}}
}

// TestUpdateOnHost raises and lowers limits that contradict each other on the way, whatever the order.
func TestUpdateOnHost(t *testing.T) {
	m := onHost(t, "/"+unique())
	g := m.find("memory")
	if g == nil {
		t.Skip("needs the v1 memory controller")
	}
	if _, err := os.Stat(filepath.Join(g.root, "memory.memsw.limit_in_bytes")); err != nil {
		t.Skip("this kernel lacks swap accounting: ", err)
	}
	if err := m.Create(memory(64<<20, 96<<20)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limit, swap int64
		want        string
	}{
		{128 << 20, 256 << 20, "134217728 268435456"}, // the new limit is above the old one with swap
		{32 << 20, 48 << 20, "33554432 50331648"},     // the new one with swap is below the old limit
		{32 << 20, 32 << 20, "33554432 33554432"},
		{0, 64 << 20, "33554432 67108864"},
		{16 << 20, 0, "16777216 67108864"},
		{0, -1, "16777216 9223372036854771712"},
		{256 << 20, 0, "268435456 9223372036854771712"},
		{64 << 20, 64 << 20, "67108864 67108864"},
		{-1, 0, "9223372036854771712 9223372036854771712"},
	} {
		if err := m.Set(memory(c.limit, c.swap)); err != nil {
			t.Errorf("%d, %d: %v", c.limit, c.swap, err)
		}
		if got := content(t, g.path(), "memory.limit_in_bytes") + " " + content(t, g.path(), "memory.memsw.limit_in_bytes"); got != c.want {
			t.Errorf("%d, %d: %s, want %s", c.limit, c.swap, got, c.want)
		}
	}
}

// TestFailedUpdateChangesNothing sets limits of which the kernel takes some, on the real hierarchies of this machine.
func TestFailedUpdateChangesNothing(t *testing.T) {
	m := onHost(t, "/"+unique())
	quota, period, tasks := int64(50000), uint64(100000), int64(100)
	r := memory(64<<20, 64<<20)
	r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period, Shares: ptr[uint64](512)}
	r.Pids = &specs.LinuxPids{Limit: &tasks}
	if err := m.Create(r); err != nil {
		t.Fatal(err)
	}
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	if got := p.do("mem 40"); got != "<nil>" {
		t.Fatal(got)
	}
	refuses(t, m, m.current, []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares", "pids.max"},
		map[string]func(*specs.LinuxResources){
			"less memory than is in use": func(r *specs.LinuxResources) { r.Memory.Limit, r.Memory.Swap = ptr[int64](4<<20), ptr[int64](4<<20) },
			"a quota too small":          func(r *specs.LinuxResources) { r.CPU = &specs.LinuxCPU{Quota: ptr[int64](1)} },
			"too many tasks":             func(r *specs.LinuxResources) { r.Pids = &specs.LinuxPids{Limit: ptr[int64](1 << 50)} },
			"devices of no kind":         func(r *specs.LinuxResources) { r.Devices = []specs.LinuxDeviceCgroup{{Type: "x"}} },
			"unified":                    func(r *specs.LinuxResources) { r.Unified = map[string]string{"memory.max": "1"} },
		})
	if got := p.do("open /dev/null"); got != "<nil>" {
		t.Errorf("/dev/null: %s", got)
	}
	if got := p.do("open /dev/kmsg"); !strings.Contains(got, "not permitted") {
		t.Errorf("/dev/kmsg: %s", got)
	}
}

// refuses has m refuse limits that are good but for one change, and looks that the files are as before.
func refuses(t *testing.T, m Manager, current func(string) string, files []string, changes map[string]func(*specs.LinuxResources)) {
	t.Helper()
	now := func() map[string]string {
		all := map[string]string{}
		for _, f := range files {
			all[f] = current(f)
		}
		return all
	}
	before := now()
	for name, change := range changes {
		r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](80 << 20), Swap: ptr[int64](90 << 20), Reservation: ptr[int64](1 << 20)},
			CPU: &specs.LinuxCPU{Shares: ptr[uint64](77), Period: ptr[uint64](50000)}, Pids: &specs.LinuxPids{Limit: ptr[int64](77)}}
		change(r)
		err := m.Set(r)
		var limit *LimitError
		if !errors.As(err, &limit) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(before, now()); d != "" {
			t.Errorf("%s changed (- before, + after):\n%s", name, d)
		}
	}
}

// TestWatchOOM is told of a kill by the kernel, of the next one, and of the end of the group.
func TestWatchOOM(t *testing.T) {
	m := onHost(t, "/"+unique())
	if m.find("memory") == nil {
		t.Skip("needs the v1 memory controller")
	}
	if err := m.Create(memory(16<<20, 16<<20)); err != nil {
		t.Fatal(err)
	}
	watched(t, m, m.Destroy)
}

// watched has m's limit of 16 MiB exceeded twice, and end called with nobody in m.
func watched(t *testing.T, m Manager, end func() error) {
	t.Helper()
	keeper := start(t)
	if err := m.Add(keeper.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	w, err := m.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	told := make(chan error)
	go func() {
		for {
			err := w.Wait()
			told <- err
			if err != nil {
				return
			}
		}
	}()
	next := func() error {
		select {
		case err := <-told:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("nothing was told within 20 s")
			return nil
		}
	}
	for range 2 {
		p := start(t)
		if err := m.Add(p.Process.Pid, nil); err != nil {
			t.Fatal(err)
		}
		if got := p.do("mem 64"); got != "" {
			t.Errorf("a process above the limit lives: %s", got)
		}
		if err := next(); err != nil {
			t.Errorf("of a kill: %v", err)
		}
	}
	if err := m.Kill(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = keeper.Wait()
	if err := end(); err != nil {
		t.Error(err)
	}
	for err = next(); err == nil; { // the same kill, told twice
		err = next()
	}
	if err != io.EOF {
		t.Errorf("of the end: %v", err)
	}
}

// Closing a watch ends the wait in another goroutine.
func TestWatchOOMIsClosed(t *testing.T) {
	m := onHost(t, "/"+unique())
	if m.find("memory") == nil {
		t.Skip("needs the v1 memory controller")
	}
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	w, err := m.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- w.Wait() }()
	time.Sleep(20 * time.Millisecond)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("Wait = %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Wait goes on after Close")
	}
}

// TestJoinBelow puts processes into groups below the container's, and nowhere else.
func TestJoinBelow(t *testing.T) {
	m := onHost(t, "/"+unique())
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"memory", "cpu", "pids"} {
		if g := m.find(c); g == nil {
			t.Skip("needs the v1 controller ", c)
		} else if err := os.MkdirAll(filepath.Join(g.path(), "a/b"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := ParseSub([]string{"memory,pids:/a/b/", "cpu:a"})
	if err != nil {
		t.Fatal(err)
	}
	j, err := m.Join(sub)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	_, in := join(t, j)
	p := start(t)
	if err := m.Add(p.Process.Pid, sub); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []map[string]string{in, parseOwn(string(b))} {
		for c, below := range map[string]string{"memory": "/a/b", "pids": "/a/b", "cpu": "/a", "devices": ""} {
			if g := m.find(c); g != nil && !strings.HasSuffix(own[c], g.rel+below) {
				t.Errorf("%s: the process is in %s, not in %s%s", c, own[c], g.rel, below)
			}
		}
	}
	for _, sub := range []Sub{{"": "none"}, {"memory": "a/none"}, {"nonsense": "a"}} {
		if j, err := m.Join(sub); err == nil {
			j.Close()
			t.Errorf("Join(%v) is no error", sub)
		}
		if err := m.Add(p.Process.Pid, sub); err == nil {
			t.Errorf("Add(%v) is no error", sub)
		}
	}
}

func TestParseSub(t *testing.T) {
	for _, c := range []struct {
		args []string
		want Sub
	}{
		{nil, nil}, {[]string{"a"}, Sub{"": "a"}}, {[]string{"/"}, Sub{"": ""}}, {[]string{"/a//b"}, Sub{"": "a//b"}},
		{[]string{"cpu,memory:a/b", "pids:/c"}, Sub{"cpu": "a/b", "memory": "a/b", "pids": "c"}},
	} {
		if got, err := ParseSub(c.args); err != nil || !cmp.Equal(got, c.want) {
			t.Errorf("%q: %v, %v, want %v", c.args, got, err, c.want)
		}
	}
	for _, args := range [][]string{{".."}, {"../x"}, {"/a/../../x"}, {"cpu:../x"}, {"a\nb"}, {"a", "b"}, {":a"}, {"cpu:a", "cpu:b"}, {"cpu,:a"}, {"cpu,cpu:a"}} {
		if got, err := ParseSub(args); err == nil {
			t.Errorf("%q: %v, want an error", args, got)
		}
	}
}

// Device rules of which the group above allows some are taken back with the limits of the same update.
func TestFailedDevicesAreTakenBack(t *testing.T) {
	above := onHost(t, "/"+unique())
	g := above.find("devices")
	if g == nil {
		t.Skip("needs the v1 devices controller")
	}
	if err := above.Create(noDevices); err != nil {
		t.Fatal(err)
	}
	m := onHost(t, "/"+g.rel+"/below")
	if err := m.Create(noDevices); err != nil {
		t.Fatal(err)
	}
	before, shares := m.current("devices.list"), m.current("cpu.shares")
	misc := ptr[int64](10)
	err := m.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr[uint64](99)}, Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"},
		{Allow: true, Type: "c", Major: ptr[int64](1), Minor: ptr[int64](3), Access: "r"}, {Allow: true, Type: "c", Major: misc, Minor: ptr[int64](229), Access: "r"}}})
	if err == nil || !strings.Contains(err.Error(), "the group above does not allow it") {
		t.Errorf("a device that the group above denies: %v", err)
	}
	if got := m.current("devices.list"); got != before {
		t.Errorf("devices were\n%s\nand are\n%s", before, got)
	}
	if got := m.current("cpu.shares"); got != shares {
		t.Errorf("shares were %s, and are %s", shares, got)
	}
}
