package runtime

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The attacks of published holes in the mount side of container runtimes, one
// test each. docs/security.md names them.

var attempts = flag.Int("attempts", 20, "how often an attack is tried that has to win a race")

// swapping exchanges two names in a directory, over and over, as a process of
// another container does that shares the directory. It returns how often.
func swapping(t *testing.T, dir, a, b string) (stop func() int) {
	t.Helper()
	at, err := os.Open(dir)
	must(t, err)
	end := make(chan struct{})
	var done sync.WaitGroup
	count := 0
	done.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				if unix.Renameat2(int(at.Fd()), a, int(at.Fd()), b, unix.RENAME_EXCHANGE) == nil {
					count++
				}
			}
		}
	})
	return sync.OnceValue(func() int {
		close(end)
		done.Wait()
		at.Close()
		return count
	})
}

// outside is a directory of the host's that no container may reach, and a test
// that it didn't.
func outsideOf(t *testing.T) (dir string, untouched func()) {
	t.Helper()
	dir = t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("the host's"), 0o644))
	return dir, func() {
		t.Helper()
		var names []string
		must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
			must(t, err)
			names = append(names, strings.TrimPrefix(path, dir)+info.Mode().String())
			return nil
		}))
		if want := []string{"drwxr-xr-x", "/dirdrwxr-xr-x", "/file-rw-r--r--"}; !slices.Equal(names, want) {
			t.Errorf("outside of the container there is %q", names)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(text) != "the host's" {
			t.Errorf("a file of the host's is %q, %v", text, err)
		}
	}
}

// A volume that is shared with a container which swaps a directory in it for a
// link, while a mount goes below that directory (CVE-2021-30465, also
// CVE-2019-19921 and CVE-2023-28642 by way of a volume).
func TestRaceInASharedVolume(t *testing.T) {
	outside, untouched := outsideOf(t)
	volume := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(volume, "dir/dir"), 0o755))
	for name, target := range map[string]string{"absolute": outside, "relative": strings.Repeat("../", 20) + outside, "proc": "/proc/self/root" + outside} {
		t.Run(name, func(t *testing.T) {
			link := filepath.Join(volume, name)
			must(t, os.Symlink(target, link))
			stop := swapping(t, volume, "dir", name)
			defer stop()
			before := mountTable(t, outside)
			started := 0
			for range *attempts {
				o := bundle(t, "true")
				o.Spec.Mounts = append(o.Spec.Mounts,
					specs.Mount{Destination: "/shared", Source: volume, Options: []string{"rbind"}},
					specs.Mount{Destination: "/shared/dir/dir", Type: "tmpfs", Options: []string{"tmpcopyup"}},
					specs.Mount{Destination: "/shared/dir/new", Type: "tmpfs"},
					specs.Mount{Destination: "/shared/dir/file", Source: "/etc/hostname", Options: []string{"bind"}})
				o.Spec.Linux.Devices = []specs.LinuxDevice{{Path: "/shared/dir/null", Type: "c", Major: 1, Minor: 3}}
				o.Spec.Linux.MaskedPaths = append(o.Spec.Linux.MaskedPaths, "/shared/dir/file")
				o.Detached = true
				if c, err := Run(o); err == nil {
					started++
					c.Wait()
					must(t, c.Delete(true))
				}
			}
			swaps := stop()
			t.Logf("%d of %d started, %d swaps", started, *attempts, swaps)
			if swaps < *attempts {
				t.Errorf("only %d swaps: no race", swaps)
			}
			untouched()
			if after := mountTable(t, outside); !slices.Equal(before, after) {
				t.Errorf("the host's mounts were\n%s\nand are\n%s", before, after)
			}
		})
	}
}

// A container swaps the place of a mount that comes to it while it runs.
func TestRaceOfAddedMounts(t *testing.T) {
	outside, untouched := outsideOf(t)
	c, o := sleeping(t, nil)
	root := o.Spec.Root.Path
	must(t, os.MkdirAll(filepath.Join(root, "dir/dir"), 0o755))
	must(t, os.Symlink(strings.Repeat("../", 20)+outside, filepath.Join(root, "link")))
	stop := swapping(t, root, "dir", "link")
	defer stop()
	before := mountTable(t, outside)
	added, removed := 0, 0
	for range *attempts {
		list := []specs.Mount{{Destination: "/dir/dir", Type: "tmpfs"}, {Destination: "/dir/new/x", Source: "/etc/hostname", Options: []string{"bind"}}}
		if c.AddMounts(list) == nil {
			added++
		}
		if c.RemoveMounts(list) == nil {
			removed++
		}
	}
	swaps := stop()
	t.Logf("%d of %d added, %d removed, %d swaps", added, *attempts, removed, swaps)
	if swaps < *attempts || added == 0 {
		t.Error("no race")
	}
	untouched()
	if after := mountTable(t, outside); !slices.Equal(before, after) {
		t.Errorf("the host's mounts were\n%s\nand are\n%s", before, after)
	}
}

// A root file system whose /proc is swapped while a container starts: each
// procfs that the container has is masked (CVE-2023-27561, CVE-2019-19921).
func TestRaceOfProc(t *testing.T) {
	o := bundle(t, "sleep", "60")
	root := o.Spec.Root.Path
	must(t, os.MkdirAll(filepath.Join(root, "proc"), 0o755))
	must(t, os.MkdirAll(filepath.Join(root, "other/keys"), 0o755))
	must(t, os.MkdirAll(filepath.Join(root, "other/sys"), 0o755))
	stop := swapping(t, root, "proc", "other")
	defer stop()
	started := 0
	for i := range *attempts {
		o := o
		o.ID = fmt.Sprint(o.ID, i)
		o.Detached = true
		c, err := Run(o)
		if err != nil {
			continue
		}
		started++
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", c.Pid()))
		must(t, err)
		// Only the ids are sure: the paths change while the table is read.
		var procfs string
		covered := map[string]string{} // name → parent
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line)
			if f[3] == "/" && strings.Contains(line, " - proc proc ") {
				procfs = f[0]
			}
			covered[filepath.Base(f[4])] = f[1]
		}
		for _, name := range []string{"keys", "timer_list", "sys"} {
			if procfs == "" || covered[name] != procfs {
				t.Errorf("%s is not covered:\n%s", name, table)
			}
		}
		must(t, c.Kill(unix.SIGKILL, true))
		c.Wait()
		must(t, c.Delete(true))
	}
	if swaps := stop(); swaps < *attempts || started == 0 {
		t.Errorf("%d swaps, %d started", swaps, started)
	}
}

// An image whose /proc, /sys or /dev is a link (CVE-2019-19921, CVE-2026-41579):
// what has to be masked stays where the masks are, and nothing reaches the
// host.
func TestImageWithLinksForDirectories(t *testing.T) {
	both(t, func(t *testing.T, own bool) {
		for _, name := range []string{"proc", "sys", "dev"} {
			for _, to := range []string{"absolute", "relative", "inside", "nothing", "itself"} {
				t.Run(name+" "+to, func(t *testing.T) {
					outside, untouched := outsideOf(t)
					o := bundle(t, "sh", "-c", "cat /proc/keys; echo started")
					root := o.Spec.Root.Path
					must(t, os.MkdirAll(filepath.Join(root, "elsewhere"), 0o755))
					target := map[string]string{"absolute": outside, "relative": strings.Repeat("../", 20) + outside, "inside": "elsewhere", "nothing": "/no/where", "itself": name}[to]
					must(t, os.Symlink(target, filepath.Join(root, name)))
					if own {
						mappedUser(&o)
						mappedRoot(t, &o)
					}
					o.Detached = true
					c, err := Run(o)
					if err == nil {
						c.Wait()
						must(t, c.Delete(true))
					}
					if (name != "dev" || to == "itself") && (err == nil || !strings.Contains(err.Error(), "find /"+name+" in the container: too many levels of symbolic links")) {
						t.Errorf("error %v", err)
					}
					if name == "dev" && to != "itself" && err != nil {
						t.Error(err)
					}
					untouched()
				})
			}
		}
	})
}

// What covers a masked file is the host's /dev/null and nothing that the
// container's /dev has under that name, whoever swaps it (CVE-2025-31133).
func TestFakeNullInASharedDev(t *testing.T) {
	dev := t.TempDir()
	must(t, unix.Mknod(filepath.Join(dev, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, os.Symlink("/proc/sys/kernel/core_pattern", filepath.Join(dev, "other")))
	stop := swapping(t, dev, "null", "other")
	defer stop()
	started := 0
	for range *attempts {
		o := bundle(t, "sh", "-c", "stat -c %t:%T /proc/keys /proc/timer_list; busybox wc -c </proc/keys; echo x 2>&1 >/proc/sys/kernel/core_pattern | head -c1")
		o.Spec.Mounts = slices.DeleteFunc(o.Spec.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/dev") })
		o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/dev", Source: dev, Options: []string{"bind"}})
		out, _ := capture(t, o)
		if !strings.HasPrefix(out, "1:3\n1:3\n0\n") {
			t.Fatalf("output %q", out)
		}
		started++
	}
	if swaps := stop(); swaps < *attempts || started == 0 {
		t.Errorf("%d swaps, %d started", swaps, started)
	}
}

// A container's terminal goes to /dev/console and to nothing that a link there
// names (CVE-2025-52565).
func TestConsoleIsALink(t *testing.T) {
	outside, untouched := outsideOf(t)
	for _, target := range []string{"/proc/sys/kernel/core_pattern", filepath.Join(outside, "file"), "../../../.." + outside + "/new"} {
		o := bundle(t, "true")
		dev := t.TempDir()
		must(t, os.Symlink(target, filepath.Join(dev, "console")))
		for _, dir := range []string{"pts", "shm", "mqueue"} {
			must(t, os.Mkdir(filepath.Join(dev, dir), 0o755))
		}
		for i, m := range o.Spec.Mounts {
			if m.Destination == "/dev" {
				o.Spec.Mounts[i] = specs.Mount{Destination: "/dev", Source: dev, Options: []string{"bind"}}
			}
		}
		o.Spec.Process.Terminal = true
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		ours := os.NewFile(uintptr(pair[1]), "console")
		o.ConsoleSocket = os.NewFile(uintptr(pair[0]), "console")
		o.Detached = true
		if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "find /dev/console in the container: too many levels of symbolic links (config.json: process.terminal)") {
			t.Errorf("%s: error %v", target, err)
		}
		o.ConsoleSocket.Close()
		ours.Close()
	}
	untouched()
}

// Sysctls are written to the kernel, whatever lies at /proc (CVE-2025-52881).
func TestSysctlsWithAFakeProc(t *testing.T) {
	outside, untouched := outsideOf(t)
	o := bundle(t, "sh", "-c", "cat /real/sys/net/ipv4/ip_unprivileged_port_start; cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
	fake := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(fake, "sys/net/ipv4"), 0o755))
	must(t, os.WriteFile(filepath.Join(fake, "sys/net/ipv4/ip_unprivileged_port_start"), []byte("fake\n"), 0o644))
	must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(fake, "sys/net/ipv4/ip_forward")))
	must(t, os.Symlink(filepath.Join(outside, "dir"), filepath.Join(fake, "self")))
	for i, m := range o.Spec.Mounts {
		if m.Destination == "/proc" {
			o.Spec.Mounts[i] = specs.Mount{Destination: "/proc", Source: fake, Options: []string{"bind"}}
		}
	}
	o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/real", Type: "proc"})
	o.Spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "77", "net.ipv4.ip_forward": "1"}
	if out, _ := capture(t, o); out != "77\nfake\n" {
		t.Errorf("output %q", out)
	}
	untouched()
}

// What a container's root leaves on the host's disk is never the host's root's:
// without an id map of the mount it belongs to an id of the container's own
// range, with one to an id of that map and to no other.
func TestFilesOnTheHostAreNotTheHostRoots(t *testing.T) {
	o := bundle(t, "sh", "-c", `for d in plain mapped; do cd /$d; cp /bin/busybox suid 2>&1 && chmod 4755 suid && stat -c "$d %u %a" suid; chown 70000 suid 2>&1 | grep -c Invalid; stat -c '%u' foreign; chmod 777 foreign 2>/dev/null || echo refused; done; id -u`)
	for _, name := range []string{"cp", "chmod", "chown"} {
		must(t, os.Symlink("busybox", filepath.Join(o.Spec.Root.Path, "bin", name)))
	}
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID"}
	o.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	mappedUser(&o)
	mappedRoot(t, &o)
	base := o.Spec.Linux.UIDMappings[0].HostID
	volumes := t.TempDir()
	for d := volumes; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755))
	}
	for _, name := range []string{"plain", "mapped"} {
		dir := filepath.Join(volumes, name)
		must(t, os.Mkdir(dir, 0o777))
		must(t, os.Chmod(dir, 0o777))
		must(t, os.WriteFile(filepath.Join(dir, "foreign"), nil, 0o600)) // root's, which neither maps
	}
	must(t, os.Chown(filepath.Join(volumes, "mapped"), 500000, 500000))
	mapping := []specs.LinuxIDMapping{{ContainerID: 500000, HostID: base, Size: 65536}} // 500000 on disk is root inside
	o.Spec.Mounts = append(o.Spec.Mounts,
		specs.Mount{Destination: "/plain", Source: filepath.Join(volumes, "plain"), Options: []string{"bind"}},
		specs.Mount{Destination: "/mapped", Source: filepath.Join(volumes, "mapped"), Options: []string{"bind", "idmap"}, UIDMappings: mapping, GIDMappings: mapping})
	out, _ := capture(t, o)
	if want := "plain 0 4755\n1\n65534\nrefused\nmapped 0 4755\n1\n65534\nrefused\n0\n"; out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	for name, want := range map[string]uint32{"plain/suid": base, "mapped/suid": 500000, "plain/foreign": 0, "mapped/foreign": 0} {
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(volumes, name), &st))
		if st.Uid != want || want == 0 && st.Mode&0o777 != 0o600 {
			t.Errorf("%s: owner %d, mode %o, want owner %d", name, st.Uid, st.Mode, want)
		}
	}
}

// A bind mount ends at its root.
func TestAboveABind(t *testing.T) {
	both(t, func(t *testing.T, own bool) {
		outside, untouched := outsideOf(t)
		o := bundle(t, "sh", "-c", "cd /data/dir && ls ../.. | grep -c bin; cat ../file ../../file /data/../file 2>&1 | grep -c 'No such file'; cd ..; pwd; echo x 2>/dev/null >../../file")
		o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/data/dir", Source: filepath.Join(outside, "dir"), Options: []string{"rbind"}})
		if own {
			mappedUser(&o)
			mappedRoot(t, &o)
		}
		if out, _ := capture(t, o); out != "1\n3\n/data\n" {
			t.Errorf("output %q", out)
		}
		untouched()
	})
}
