package runtime

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loper.run/internal/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// As an ordinary user, with the ids of /etc/subuid and with a single one,
// mounts are what the options say, as far as a user namespace may.
func TestRootlessMounts(t *testing.T) {
	if dirs := os.Getenv("LOPER_TEST_ROOTLESS_MOUNTS"); dirs != "" {
		list := strings.Split(dirs, ":")
		var parent *os.File
		if list[3] != "" {
			uids, gids, err := userns.Mappings()
			must(t, err)
			parent, err = userNamespace(uids, gids)
			must(t, err)
		}
		rootlessMounts(t, list[0], list[1], list[2], parent)
		return
	}
	ids := map[string]string{"single id": "65533"}
	if u, err := user.Lookup("loper-test"); err == nil {
		ids["subordinate ids"] = u.Uid
	}
	for name, uid := range ids {
		t.Run(name, func(t *testing.T) {
			o := bundle(t, "true")
			if _, err := exec.LookPath("setpriv"); err != nil {
				t.Skip("needs setpriv of Debian's util-linux: ", err)
			}
			plain, strict := sources(t)
			before := mountTable(t, filepath.Dir(plain))
			copied := filepath.Join(o.Bundle, "test")
			binary, err := os.ReadFile(os.Args[0])
			must(t, err)
			must(t, os.WriteFile(copied, binary, 0o755))
			must(t, exec.Command("chown", "-R", uid+":"+uid, o.Bundle).Run())
			run := func(nested string) ([]byte, error) {
				cmd := command(t, "setpriv", "--reuid="+uid, "--regid="+uid, "--clear-groups", copied, "-test.run=^TestRootlessMounts$", "-test.v")
				cmd.Env = append(os.Environ(), "LOPER_TEST_ROOTLESS_MOUNTS="+o.Bundle+":"+plain+":"+strict+":"+nested, "TMPDIR="+o.Bundle, "HOME="+o.Bundle)
				cmd.Dir = o.Bundle
				return cmd.CombinedOutput()
			}
			out, err := run("")
			if strings.Contains(string(out), "user namespaces may be off") {
				t.Skip("needs user namespaces for ordinary users")
			}
			if err != nil || !strings.Contains(string(out), "--- PASS: TestRootlessMounts") {
				t.Errorf("%v: %s", err, out)
			}
			if out, err := run("nested"); err != nil {
				t.Errorf("in a user namespace of the user's: %v: %s", err, out)
			}
			if after := mountTable(t, filepath.Dir(plain)); !slices.Equal(before, after) {
				t.Errorf("the host's mounts were\n%s\nand are\n%s", before, after)
			}
		})
	}
}

func rootlessMounts(t *testing.T, dir, plain, strict string, parent *os.File) {
	number := 0
	options := func(args ...string) Options {
		spec := exampleSpec(t, true)
		var err error
		spec.Linux.UIDMappings, spec.Linux.GIDMappings, err = userns.Mappings()
		must(t, err)
		spec.Root = &specs.Root{Path: filepath.Join(dir, "rootfs")}
		spec.Process.Terminal, spec.Process.Args = false, args
		spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" })
		number++
		return Options{Root: filepath.Join(dir, "state"), ID: fmt.Sprint("rootless", number), Bundle: dir, Spec: spec, UserParent: parent}
	}
	must(t, os.MkdirAll(filepath.Join(dir, "rootfs/had"), 0o750))
	must(t, os.WriteFile(filepath.Join(dir, "rootfs/had/file"), []byte("content\n"), 0o600))

	o := options("sh", "-c", "cat /had/file; stat -c %a /had; cat /proc/self/mountinfo")
	add := func(m specs.Mount) { o.Spec.Mounts = append(o.Spec.Mounts, m) }
	add(specs.Mount{Destination: "/had", Type: "tmpfs", Options: []string{"tmpcopyup"}})
	add(specs.Mount{Destination: "/strict", Source: strict, Options: []string{"rbind"}})
	add(specs.Mount{Destination: "/stricter", Source: plain, Options: []string{"rbind", "rro", "noexec", "nodev", "rslave"}})
	add(specs.Mount{Destination: "/idmapped", Source: dir, Options: []string{"bind", "idmap"}})
	add(specs.Mount{Destination: "/null", Source: "/dev/null", Options: []string{"bind"}})
	out, _ := capture(t, o)
	if !strings.HasPrefix(out, "content\n750\n") {
		t.Error(out)
	}
	list := parseMounts(out)
	for at, want := range map[string]string{"/strict": "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow", "/strict/sub": "ro,nosuid,nodev,noexec,noatime", "/stricter": "ro,nodev,noexec", "/stricter/sub": "ro,"} {
		if m := mountAt(t, list, at); !strings.HasPrefix(m.options, want) {
			t.Errorf("%+v, want %s", m, want)
		}
	}
	mountAt(t, list, "/idmapped")
	mountAt(t, list, "/null")

	for want, m := range map[string]specs.Mount{
		"bind " + strict + " to /x (options): operation not permitted (config.json: mounts[6].options)": {Destination: "/x", Source: strict, Options: []string{"rbind", "rw"}},
		"an id-mapped mount needs root on the host": {Destination: "/x", Source: plain, Options: []string{"rbind", "idmap"},
			UIDMappings: []specs.LinuxIDMapping{{Size: 1}}, GIDMappings: []specs.LinuxIDMapping{{Size: 1}}},
	} {
		o := options("true")
		o.Spec.Mounts = append(o.Spec.Mounts, m)
		if _, err := Run(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	o = options("true")
	o.Spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/none-such", Type: "c", Major: 1, Minor: 3}}
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "bind the host's device /dev/none-such: no such file or directory (config.json: linux.devices[0])") {
		t.Errorf("error %v", err)
	}

	o = options("sh", "-c", "ls /sys/class/net; cat /proc/self/mountinfo")
	o.Spec.Linux.Namespaces = slices.DeleteFunc(o.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	out, _ = capture(t, o)
	if m := mountAt(t, parseMounts(out), "/sys"); m.kind != "sysfs" || !strings.HasPrefix(m.options, "ro,") || !strings.Contains(out, "lo\n") {
		t.Errorf("%+v in\n%s", m, out)
	}

	o = options("sleep", "60")
	o.Config, o.Detached = encode(t, o.Spec), true
	c, err := Run(o)
	must(t, err)
	if parent != nil && parentID(t, c.Pid()) != inode(t, parent) {
		t.Error("the user namespace is no child of the given one")
	}
	added := []specs.Mount{{Destination: "/added/tmpfs", Type: "tmpfs"}, {Destination: "/added/bind", Source: filepath.Join(dir, "rootfs/had"), Options: []string{"bind", "ro"}}}
	must(t, c.AddMounts(added))
	if out := execute(t, c, o, "sh", "-c", "cat /added/bind/file; touch /added/tmpfs/x && echo ok; touch /added/bind/x 2>&1"); out != "content\nok\ntouch: /added/bind/x: Read-only file system\n" {
		t.Error(out)
	}
	must(t, c.RemoveMounts(added))
	must(t, c.Kill(unix.SIGKILL, true))
	c.Wait()
	must(t, c.Delete(false))
}

// parentID is the inode of the parent of a process's user namespace.
func parentID(t *testing.T, pid int) uint64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
	must(t, err)
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_PARENT)
	must(t, err)
	parent := os.NewFile(uintptr(fd), "parent")
	defer parent.Close()
	return inode(t, parent)
}

func inode(t *testing.T, f *os.File) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Fstat(int(f.Fd()), &st))
	return st.Ino
}
