package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestSubDoesNotFollowLinks leaves links where groups below a container's are looked for, in a tree of plain files: no
// kernel lets anybody make links among cgroups, and none has to.
func TestSubDoesNotFollowLinks(t *testing.T) {
	m := fakeV2(t, "pids")
	other := filepath.Join(m.root, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{other, m.path()} {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"out": "../other", "absolute": other, "self": "."} {
		if err := os.Symlink(target, filepath.Join(m.path(), name)); err != nil {
			t.Fatal(err)
		}
		sub, err := ParseSub([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		if j, err := m.Join(sub); err == nil {
			j.Close()
			t.Errorf("%s: Join follows a link", name)
		}
		if err := m.Add(1, sub); err == nil {
			t.Errorf("%s: Add follows a link", name)
		}
	}
	if err := os.Symlink("../other/cgroup.procs", filepath.Join(m.path(), "memory.high")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.path(), "cgroup.controllers"), []byte("memory pids\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.Set(&specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}}); err == nil {
		t.Error("a limit's file may be a link")
	}
	for _, dir := range []string{other, m.path()} {
		if got := content(t, dir, "cgroup.procs"); got != "" {
			t.Errorf("%s: somebody wrote %q", dir, got)
		}
	}
}

// What is no limit's name is refused by name, before anything is written.
func TestUnifiedNamesDoNotEscape(t *testing.T) {
	m := fakeV2(t, "cgroup memory pids nonsense")
	for _, name := range []string{"", ".", "..", "../memory.max", "sub/memory.max", "/sys/fs/cgroup/memory.max", "memory", "memory.", ".max", "memory.max\x00",
		"memory.max\n", "memory. max", "cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.subtree_control", "cgroup.type", "cgroup.events"} {
		if err := m.Set(&specs.LinuxResources{Unified: map[string]string{name: "1"}}); err == nil {
			t.Errorf("%q was taken for a limit", name)
		}
	}
	for _, file := range []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.events"} {
		if got := content(t, m.path(), file); got != "" {
			t.Errorf("%s has %q", file, got)
		}
	}
}
