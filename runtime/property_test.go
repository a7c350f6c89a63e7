package runtime

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var (
	propertyTime = flag.Duration("property", 4*time.Second, "how long random mounts are tried")
	propertySeed = flag.Uint64("seed", 1, "what they, and other random tests, begin with; 0: something new")
)

// hostMounts are the mount tables that no container may change: of the
// namespace that stands for the host's, and of one above whose mounts it
// receives, if it is a slave.
type hostMounts struct {
	t     *testing.T
	above int // a process there, or 0
}

// table lists the mounts, without those of other programs below the usual
// places: they go when their directories do.
func (h hostMounts) table() []string {
	h.t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(h.t, err)
	if h.above != 0 {
		more, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", h.above))
		must(h.t, err)
		text = append(text, more...)
	}
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
		fields := strings.Fields(line)
		return len(fields) > 4 && !strings.Contains(line, "TestHostMountsNeverChange") &&
			slices.ContainsFunc([]string{"/tmp/", "/run/", "/var/"}, func(dir string) bool { return strings.HasPrefix(fields[4], dir) })
	})
}

// inOwnMounts starts the test again in a mount namespace in which all is shared,
// private or the slave of another, whose process's id it is given.
var inOwnMounts = map[string]string{
	"shared":  `exec unshare -m --propagation private sh -c 'mount --make-rshared / && LOPER_TEST_ABOVE=0 exec "$@"' sh "$@"`,
	"private": `exec unshare -m --propagation private env LOPER_TEST_ABOVE=0 "$@"`,
	"slave":   `exec unshare -m --propagation private sh -c 'mount --make-rshared / && LOPER_TEST_ABOVE=$$ unshare -m --propagation slave "$@"' sh "$@"`,
}

// Whatever a container mounts, from wherever, mapped or not, whether it starts
// or fails at any operation or is killed on the way: the host's mounts are the
// same after it as before it, and while it runs.
func TestHostMountsNeverChange(t *testing.T) {
	bundle(t) // skips where it can't be
	if text := os.Getenv("LOPER_TEST_ABOVE"); text != "" {
		above, err := strconv.Atoi(text)
		must(t, err)
		hostMountsNeverChange(t, hostMounts{t, above})
		return
	}
	for kind, script := range inOwnMounts {
		t.Run(kind, func(t *testing.T) {
			seed := *propertySeed
			if seed == 0 {
				seed = uint64(time.Now().UnixNano())
			}
			cmd := command(t, "sh", "-c", script, "sh", os.Args[0], "-test.run=^TestHostMountsNeverChange$", "-test.v",
				"-seed", fmt.Sprint(seed), "-property", (*propertyTime / 3).String())
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestHostMountsNeverChange") {
				t.Errorf("-seed %d: %v\n%s", seed, err, out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Logf("-seed %d: %s", seed, lines[max(0, len(lines)-3)])
		})
	}
}

func hostMountsNeverChange(t *testing.T, h hostMounts) {
	pick := rand.New(rand.NewPCG(*propertySeed, 0))
	base := propertySources(t)
	ran, failed := 0, 0
	// A slow machine tries as many as it takes for one to run.
	for end := time.Now().Add(*propertyTime); time.Now().Before(end) || ran == 0 && failed < 50; {
		o := randomContainer(t, pick, base, ran+failed)
		if randomRun(t, pick, h, o) {
			ran++
		} else {
			failed++
		}
		if t.Failed() {
			t.Fatalf("root %s, %q, %d namespaces, %+v", o.Spec.Root.Path, o.Spec.Linux.RootfsPropagation, len(o.Spec.Linux.Namespaces), o.Spec.Mounts[7:])
		}
	}
	if ran == 0 {
		t.Error("none ran")
	}
	if list, err := os.ReadDir(filepath.Join(base, "outside")); err != nil || len(list) != 0 {
		t.Errorf("outside of all roots there is %v, %v", list, err)
	}
	t.Logf("%d containers ran, %d failed", ran, failed)
}

// randomRun starts a container, perhaps so that it fails, and compares the
// host's mounts.
func randomRun(t *testing.T, pick *rand.Rand, h hostMounts, o Options) bool {
	t.Helper()
	before := h.table()
	restore := func() {}
	stop := make(chan struct{})
	defer close(stop)
	switch pick.IntN(6) {
	case 0: // some operation, of the child's or the parent's, gets no descriptor
		fds, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		var old unix.Rlimit
		must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
		low := old
		low.Cur = uint64(len(fds) + 3 + pick.IntN(60))
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
		restore = func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }
	case 1: // the child is killed
		go killChildren(h.above, time.Duration(pick.IntN(15000))*time.Microsecond, stop)
	}
	c, err := Run(o)
	restore()
	if after := h.table(); !slices.Equal(before, after) {
		t.Errorf("error %v; the host's mounts:\n%s", err, cmp.Diff(before, after))
	}
	if err != nil {
		t.Log(err)
		if list, _ := os.ReadDir(o.Root); len(list) != 0 {
			// Without descriptors a group can't be removed. It stays on record.
			if !errors.Is(err, unix.EMFILE) && !strings.Contains(err.Error(), unix.EMFILE.Error()) {
				t.Errorf("%v; left in the state directory: %v", err, list)
			}
			c, err := Load(o.Root, o.ID)
			must(t, err)
			must(t, c.Delete(true))
		}
		return false
	}
	c.Wait()
	must(t, c.Delete(true))
	if after := h.table(); !slices.Equal(before, after) {
		t.Errorf("after its end the host's mounts:\n%s", cmp.Diff(before, after))
	}
	return true
}

// killChildren kills what this process started, but one.
func killChildren(but int, after time.Duration, stop chan struct{}) {
	select {
	case <-stop:
		return
	case <-time.After(after):
	}
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, pid := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(pid); err == nil && n != but {
				unix.Kill(n, unix.SIGKILL)
			}
		}
	}
}

// propertySources are mounts of all kinds of propagation, one below another.
func propertySources(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	for d := base; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755))
	}
	must(t, os.Mkdir(filepath.Join(base, "outside"), 0o755))
	for name, flag := range map[string]uintptr{"shared": unix.MS_SHARED, "private": unix.MS_PRIVATE, "unbindable": unix.MS_UNBINDABLE, "plain": 0} {
		top := filepath.Join(base, name)
		must(t, os.Mkdir(top, 0o755))
		must(t, unix.Mount("tmpfs", top, "tmpfs", 0, "mode=755"))
		t.Cleanup(func() { unix.Unmount(top, unix.MNT_DETACH) })
		if flag != 0 {
			must(t, unix.Mount("", top, "", flag, ""))
		}
		for _, sub := range []string{"a", "b", "b/c"} {
			must(t, os.MkdirAll(filepath.Join(top, sub), 0o755))
			must(t, unix.Mount("tmpfs", filepath.Join(top, sub), "tmpfs", 0, "mode=755"))
		}
		must(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o644))
	}
	return base
}

// randomContainer is a container with random mounts that mounts more by itself
// where its mounts are its own.
func randomContainer(t *testing.T, pick *rand.Rand, base string, n int) Options {
	t.Helper()
	o := bundle(t, "true")
	o.ID = fmt.Sprint(o.ID, n)
	o.Detached = true
	root := o.Spec.Root.Path
	must(t, os.Symlink(filepath.Join(base, "outside"), filepath.Join(root, "out")))
	must(t, os.Symlink("../../../../.."+filepath.Join(base, "outside"), filepath.Join(root, "up")))
	caps := []string{"CAP_SYS_ADMIN"}
	o.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	script := []string{"mkdir -p /mnt", "mount -t tmpfs none /mnt"}
	must(t, os.Symlink("busybox", filepath.Join(root, "bin/mkdir")))
	must(t, os.Symlink("busybox", filepath.Join(root, "bin/umount")))
	own := pick.IntN(2) == 0
	var withHost []string // what the container mounts below these is to appear on the host
	for i := range 1 + pick.IntN(6) {
		m, shared := randomMount(pick, base, i)
		o.Spec.Mounts = append(o.Spec.Mounts, m)
		if shared && !own {
			withHost = append(withHost, clean(m.Destination))
		} else if !slices.ContainsFunc(withHost, func(dest string) bool { return within(clean(m.Destination), dest) }) {
			script = append(script, "mount -t tmpfs none "+m.Destination, "mount -t tmpfs none "+m.Destination+"/a", "umount "+m.Destination+"/b/c", "umount -l "+m.Destination,
				"mount --make-rshared /", "mount -o remount,bind,ro "+m.Destination)
		}
	}
	o.Spec.Process.Args = []string{"sh", "-c", strings.Join(script, " 2>/dev/null; ") + " 2>/dev/null; true"}
	propagations := []string{"", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}
	o.Spec.Linux.RootfsPropagation = propagations[pick.IntN(len(propagations))]
	if pick.IntN(2) == 0 {
		o.Spec.Linux.MaskedPaths = append(o.Spec.Linux.MaskedPaths, "/m0/a", "/m1/file")
		o.Spec.Linux.ReadonlyPaths = append(o.Spec.Linux.ReadonlyPaths, "/m0", "/m2/b")
	}
	if pick.IntN(3) == 0 { // the root file system lies on one of the mounts
		there := filepath.Join(base, []string{"shared", "private", "plain"}[pick.IntN(3)], fmt.Sprint("root", n))
		must(t, os.CopyFS(there, os.DirFS(root)))
		t.Cleanup(func() { os.RemoveAll(there) })
		o.Spec.Root.Path = there
	}
	if own {
		mappedUser(&o)
		mappedRoot(t, &o)
	}
	return o
}

// randomMount is a mount, and whether it is shared with the host by intention.
func randomMount(pick *rand.Rand, base string, i int) (specs.Mount, bool) {
	m := specs.Mount{Destination: fmt.Sprint("/m", i)}
	switch pick.IntN(6) {
	case 0:
		m.Destination = fmt.Sprintf("/m%d/a", pick.IntN(i+1))
	case 1:
		m.Destination = fmt.Sprintf("/out/m%d", i)
	case 2:
		m.Destination = fmt.Sprintf("up/../m%d/b/new", pick.IntN(i+1))
	}
	all := MountOptions()
	for range pick.IntN(4) {
		if o := all[pick.IntN(len(all))]; !strings.HasSuffix(o, "bind") && o != "idmap" && o != "ridmap" {
			m.Options = append(m.Options, o)
		}
	}
	switch pick.IntN(5) {
	case 0:
		m.Type = []string{"tmpfs", "tmpfs", "proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2"}[pick.IntN(8)]
	default:
		source := filepath.Join(base, []string{"shared", "private", "unbindable", "plain"}[pick.IntN(4)])
		m.Source = []string{source, filepath.Join(source, "b"), filepath.Join(source, "file"), base, "/proc", "/sys"}[pick.IntN(6)]
		m.Options = append(m.Options, []string{"bind", "rbind"}[pick.IntN(2)])
		switch pick.IntN(6) {
		case 0:
			m.Options = append(m.Options, "idmap")
		case 1:
			mapping := []specs.LinuxIDMapping{{HostID: uint32(100000 * pick.IntN(3)), Size: 1000}}
			m.UIDMappings, m.GIDMappings = mapping, mapping
			m.Options = append(m.Options, "ridmap")
		}
	}
	return m, slices.ContainsFunc(m.Options, func(o string) bool { return strings.HasSuffix(o, "shared") })
}
