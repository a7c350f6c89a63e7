package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// everyman is an ordinary user with a bundle of his own.
type everyman struct {
	*box
	user          *env.User
	lope, runtime string
}

func newEveryman(t *testing.T, ranges bool) *everyman {
	t.Helper()
	u := env.Ordinary(t, ranges)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox of Debian's busybox-static: ", err)
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "lope-rootless-") // where he can go
	if err != nil {
		t.Fatal(err)
	}
	e := &everyman{user: u, lope: filepath.Join(dir, "lope"), runtime: filepath.Join(dir, "run")}
	e.box = &box{t: t, root: filepath.Join(e.runtime, "lope"), bundle: filepath.Join(dir, "bundle")}
	t.Cleanup(func() {
		for _, id := range strings.Fields(e.do("list", "-q").out) {
			e.do("delete", "--force", id)
		}
		os.RemoveAll(dir)
	})
	bin := filepath.Join(e.bundle, "rootfs", "bin")
	e.must(os.MkdirAll(bin, 0o755))
	e.must(os.Mkdir(e.runtime, 0o700))
	e.must(os.WriteFile(e.lope, binary, 0o755))
	e.must(os.WriteFile(filepath.Join(bin, "busybox"), busybox, 0o755))
	for _, name := range []string{"sh", "sleep", "id", "true", "cat", "mount", "hostname"} {
		e.must(os.Symlink("busybox", filepath.Join(bin, name)))
	}
	e.must(os.Chmod(dir, 0o755))
	e.must(filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error { return errors.Join(err, u.Own(path)) }))
	return e
}

// do runs lope as the user, with the state where it belongs for him.
func (e *everyman) do(args ...string) result {
	e.t.Helper()
	cmd := exec.Command(e.lope, args...)
	e.user.Command(cmd)
	cmd.Env = []string{"LOPE_TEST_MAIN=1", "PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + e.runtime}
	cmd.Dir = e.bundle
	cmd.WaitDelay = 20 * time.Second
	return e.finish(cmd)
}

func (e *everyman) want(code int, says string, args ...string) result {
	e.t.Helper()
	r := e.do(args...)
	if r.code != code || !strings.Contains(r.out+r.err, says) {
		e.t.Errorf("lope %q: %+v, want status %d and %q", args, r, code, says)
	}
	return r
}

// rangeIn maps the ids from 1 on to the user's first subordinate ones.
func (e *everyman) rangeIn(file string) specs.LinuxIDMapping {
	e.t.Helper()
	data, err := os.ReadFile(file)
	e.must(err)
	for line := range strings.Lines(string(data)) {
		if fields := strings.Split(strings.TrimSpace(line), ":"); len(fields) == 3 && fields[0] == e.user.Name {
			first, err := strconv.ParseUint(fields[1], 10, 32)
			e.must(err)
			size, err := strconv.ParseUint(fields[2], 10, 32)
			e.must(err)
			return specs.LinuxIDMapping{ContainerID: 1, HostID: uint32(first), Size: uint32(size)}
		}
	}
	e.t.Fatalf("%s has no range of %s", file, e.user.Name)
	return specs.LinuxIDMapping{}
}

// configure makes the config.json that 'lope spec --rootless' wrote the test's.
func (e *everyman) configure(change func(*specs.Spec), program ...string) {
	e.t.Helper()
	path := filepath.Join(e.bundle, "config.json")
	data, err := os.ReadFile(path)
	e.must(err)
	var s specs.Spec
	e.must(json.Unmarshal(data, &s))
	s.Process.Terminal, s.Process.Args = false, program
	change(&s)
	data, err = json.Marshal(&s)
	e.must(err)
	e.must(os.WriteFile(path, data, 0o644))
}

// A user without any rights runs a container's whole life.
func TestRootless(t *testing.T) {
	for name, ranges := range map[string]bool{"with ranges": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			e := newEveryman(t, ranges)
			e.want(0, "", "spec", "--rootless")
			e.configure(func(*specs.Spec) {}, "sh", "-c", "id -u; cat /proc/self/uid_map; hostname; mount -t tmpfs x /mnt || echo no")
			r := e.want(0, "0\n", "run", "c")
			if !strings.Contains(r.out, "lope\n") || !strings.Contains(r.out, "no\n") {
				t.Errorf("said %q", r.out)
			}
			e.configure(func(*specs.Spec) {}, "sleep", "1000")
			e.want(0, "", "create", "c")
			e.want(0, `"created"`, "state", "c")
			e.want(0, "", "start", "c")
			e.want(0, e.user.Name, "list")
			e.want(7, "0", "exec", "c", "sh", "-c", "id -u; exit 7")
			e.want(0, "", "exec", "-d", "c", "sleep", "2000")
			e.want(0, "sleep 1000", "ps", "c")
			e.want(0, "sleep 2000", "ps", "c")
			e.want(1, "no cgroup", "pause", "c")
			e.want(1, "no cgroup", "update", "--memory", "10m", "c")
			e.want(1, "stop it first", "delete", "c")
			e.want(0, "", "kill", "c", "KILL")
			eventually(t, "it has stopped", func() bool { return strings.Contains(e.do("state", "c").out, `"stopped"`) })
			e.want(0, "", "delete", "c")
			e.want(0, "", "run", "-d", "c")
			e.want(0, "", "delete", "--force", "c")

			if ranges {
				e.configure(func(s *specs.Spec) {
					s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: e.user.UID, Size: 1}, e.rangeIn("/etc/subuid")}
					s.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: e.user.GID, Size: 1}, e.rangeIn("/etc/subgid")}
					s.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5}}
				}, "sh", "-c", "id -u; id -g; id -G")
				e.want(0, "1000\n1001\n1001 5\n", "run", "c")
			}
			// A limit that he can't set is an error, not a wish.
			limit := int64(1 << 26)
			e.configure(func(s *specs.Spec) {
				s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
			}, "true")
			e.want(1, "linux.resources.memory", "run", "c")
			if entries, _ := os.ReadDir(e.root); len(entries) > 0 {
				t.Errorf("state is left: %v", entries)
			}
		})
	}
}

// runc's example for ordinary users runs as it is.
func TestRootlessConfigOfRunc(t *testing.T) {
	e := newEveryman(t, false)
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("needs the program runc, to compare with")
	}
	cmd := exec.Command("runc", "spec", "--rootless")
	e.user.Command(cmd)
	cmd.Dir = e.bundle
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	e.configure(func(*specs.Spec) {}, "id", "-u")
	e.want(0, "0\n", "run", "c")
}
