package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// A file's owner inside a container is its owner outside, although container root is not host root.
func TestBindOwners(t *testing.T) {
	e := asRoot(t).busybox()
	dir := e.directory()
	e.writeFile(filepath.Join(dir, "mine"), "by 1000", 0o600)
	os.Lchown(filepath.Join(dir, "mine"), 1000, 1000)
	e.writeFile(filepath.Join(dir, "roots"), "by root", 0o600)
	out := e.must("run", "--rm", "-v", dir+":/data", "busybox", "sh", "-c",
		"stat -c '%u %g %n' /data/mine /data/roots; cat /data/roots; echo new >/data/new; mkdir /data/sub; chown 1000:2000 /data/sub; mv /data/roots /data/moved")
	expect(t, "inside", out, "1000 1000 /data/mine\n0 0 /data/roots\nby root")
	for name, want := range map[string][2]int{"new": {0, 0}, "sub": {1000, 2000}, "moved": {0, 0}, "mine": {1000, 1000}} {
		if uid, gid := owner(t, filepath.Join(dir, name)); uid != want[0] || gid != want[1] {
			t.Errorf("%s outside: owner %d:%d, want %v", name, uid, gid, want)
		}
	}
	out = e.must("run", "--rm", "-u", "1000", "-v", dir+":/data", "busybox", "sh", "-c", "cat /data/mine; cat /data/moved 2>/dev/null || echo no")
	expect(t, "user 1000 inside", out, "by 1000no")
}

func TestBindAsUser(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		e := asUser(t, ranges).busybox()
		dir := e.directory()
		e.writeFile(filepath.Join(dir, "mine"), "mine", 0o600)
		expect(t, "inside", e.must("run", "--rm", "-v", dir+":/data", "busybox", "sh", "-c", "stat -c %u /data/mine; cat /data/mine; touch /data/new"), "0\nmine")
		uid, _ := owner(t, filepath.Join(dir, "new"))
		if uid != int(e.user.UID) {
			t.Errorf("a file made inside belongs to %d outside, want %d", uid, e.user.UID)
		}
	}
}

func TestBindFlags(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		dir := e.directory()
		e.writeFile(filepath.Join(dir, "file"), "content", 0o644)
		if e.run("run", "--rm", "-v", dir+":/data:ro", "busybox", "touch", "/data/x").code == 0 {
			t.Error("-v …:ro can be written")
		}
		if e.run("run", "--rm", "--mount", "type=bind,source="+dir+",target=/data,readonly", "busybox", "touch", "/data/x").code == 0 {
			t.Error("--mount readonly can be written")
		}
		expect(t, "one file", e.must("run", "--rm", "-v", dir+"/file:/etc/one", "busybox", "cat", "/etc/one"), "content")
		expect(t, "a new target", e.must("run", "--rm", "-v", dir+":/a/b/c", "busybox", "cat", "/a/b/c/file"), "content")
		missing := filepath.Join(dir, "made-by-v")
		e.must("run", "--rm", "-v", missing+":/x", "busybox", "true")
		if info, err := os.Stat(missing); err != nil || !info.IsDir() {
			t.Errorf("-v does not make the missing source: %v", err)
		}
		expect(t, "tmpfs", e.must("run", "--rm", "--mount", "type=tmpfs,target=/scratch,tmpfs-size=2m", "busybox", "sh", "-c", "df -m /scratch | tail -1 | tr -s ' ' | cut -d' ' -f2"), "2")
	})
}

// A link in the image must not turn a mount's target into a directory of the host.
func TestMountTargetIsALink(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		base, err := env.BusyboxFiles()
		if err != nil {
			t.Skip(err)
		}
		outside := e.directory()
		f := env.NewFaulty(t)
		files := append(base, env.File{Name: "link", Link: outside, Type: '2'}, env.File{Name: "up", Link: "../../../../../.." + outside, Type: '2'})
		reference := f.Put(env.NewImage(env.RunConfig{Env: []string{"PATH=/bin"}}, env.Gzipped(env.Tar(files...))), "links:1")
		dir := e.directory()
		for _, target := range []string{"/link", "/link/sub", "/up/sub"} {
			e.run("run", "--rm", "-v", dir+":"+target, reference, "touch", target+"/inside")
		}
		e.run("run", "--rm", "-w", "/link/work", reference, "true")
		if entries, _ := os.ReadDir(outside); len(entries) > 0 {
			t.Errorf("made on the host: %v", entries)
		}
	})
}

func TestNamedVolumes(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		out := e.must("run", "--rm", "-v", "things:/etc", "busybox", "sh", "-c", "cat /etc/passwd | wc -l; echo kept >/etc/new")
		expect(t, "a new volume is filled from the image", out, "2")
		expect(t, "volume ls", e.must("volume", "ls", "-q"), "things")
		expect(t, "what was written stays", e.must("run", "--rm", "-v", "things:/data", "busybox", "cat", "/data/new"), "kept")
		expect(t, "volume inspect", e.must("volume", "inspect", "--format", "{{.Name}}", "things"), "things")
		e.start("--name", "user", "-v", "things:/data:ro", "busybox", "sleep", "1000")
		e.mustFail(1, []string{"things", "in use"}, "volume", "rm", "things")
		e.must("rm", "-f", "user")
		expect(t, "volume rm", e.must("volume", "rm", "things"), "things")
		e.mustFail(1, []string{"things"}, "volume", "inspect", "things")
		e.must("run", "--rm", "-v", "/anonymous", "busybox", "touch", "/anonymous/x")
		expect(t, "anonymous volumes of run --rm", e.must("volume", "ls", "-q"), "")
	})
}

func TestVolumeOwnersAcrossContainers(t *testing.T) {
	e := asRoot(t).busybox()
	e.must("run", "--rm", "-v", "shared:/home", "busybox", "sh", "-c", "touch /home/by-root; touch /home/by-worker; chown worker /home/by-worker")
	// Another container has another range of ids, but sees the same owners.
	out := e.must("run", "--rm", "-v", "shared:/home", "busybox", "sh", "-c", "stat -c '%u %n' /home/*")
	expect(t, "owners", out, "0 /home/by-root\n1000 /home/by-worker\n1000 /home/worker")
	if !strings.Contains(e.must("volume", "inspect", "shared"), "Mountpoint") {
		t.Error("volume inspect does not say where it is")
	}
}
