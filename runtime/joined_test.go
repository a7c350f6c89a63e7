package runtime

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A user namespace can be joined together with namespaces that the host's user
// namespace owns, of each kind, and with others that are made.
func TestJoinedWithTheHosts(t *testing.T) {
	users, _ := sleeping(t, func(o *Options) {
		mappedUser(o)
		mappedRoot(t, o)
	})
	hosts, _ := sleeping(t, func(o *Options) {
		o.Spec.Linux.CgroupsPath += "-hosts"
		o.Spec.Linux.Namespaces = append(o.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		o.Spec.Linux.Namespaces = dedupe(append(o.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace}))
	})
	kinds := []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace, specs.TimeNamespace}
	for _, joined := range append(singles(kinds), kinds) {
		t.Run(fmt.Sprint(len(joined), joined[0]), func(t *testing.T) {
			c, o := sleeping(t, func(o *Options) {
				mappedRoot(t, o)
				o.Spec.Hostname = ""
				if slices.Contains(joined, specs.IPCNamespace) {
					o.Spec.Mounts = slices.DeleteFunc(o.Spec.Mounts, func(m specs.Mount) bool { return m.Type == "mqueue" }) // there may be none of the host's
				}
				if slices.Contains(joined, specs.PIDNamespace) {
					o.Spec.Linux.MaskedPaths, o.Spec.Linux.ReadonlyPaths = nil, nil
				}
				for _, kind := range joined {
					o.Spec.Linux.Namespaces = slices.DeleteFunc(o.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
					o.Spec.Linux.Namespaces = append(o.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: fmt.Sprintf("/proc/%d/ns/%s", hosts.Pid(), namespaceFile(kind))})
				}
				o.Spec.Linux.Namespaces = append(o.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: fmt.Sprintf("/proc/%d/ns/user", users.Pid())})
			})
			if namespaceID(t, c.Pid(), "user") != namespaceID(t, users.Pid(), "user") {
				t.Error("another user namespace")
			}
			for _, kind := range kinds {
				name := namespaceFile(kind)
				if same := namespaceID(t, c.Pid(), name) == namespaceID(t, hosts.Pid(), name); same != slices.Contains(joined, kind) {
					t.Errorf("%s namespace the same: %v", kind, same)
				}
			}
			if out := execute(t, c, o, "id", "-u"); out != "0\n" {
				t.Errorf("exec: %q", out)
			}
		})
	}
}

// The host's mounts are no container's.
func TestJoinedMountNamespaceOfTheHost(t *testing.T) {
	o := bundle(t, "true")
	join(&o, specs.MountNamespace)
	before := mountTable(t, o.Bundle)
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "linux.namespaces: would change the host, whose mount namespace is joined") {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(before, mountTable(t, o.Bundle)) {
		t.Error("the host's mounts changed")
	}
}

// A container in a user namespace gets devices that the host's /dev doesn't
// have at that path, with the owner and the mode that are asked for.
func TestDevicesInAUserNamespace(t *testing.T) {
	both(t, func(t *testing.T, own bool) {
		mode := os.FileMode(0o640)
		uid, gid := uint32(5), uint32(6)
		o := bundle(t, "sh", "-c", "stat -c '%n %a %u:%g %t:%T' /dev/mine /dev/deep/zero /dev/pipe; head -c3 /dev/deep/zero | busybox od -An -tx1; echo x >/dev/mine && echo written")
		o.Spec.Linux.Devices = []specs.LinuxDevice{
			{Path: "/dev/mine", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &uid, GID: &gid},
			{Path: "/dev/deep/zero", Type: "u", Major: 1, Minor: 5},
			{Path: "/dev/pipe", Type: "p", FileMode: &mode},
		}
		o.Spec.Process.Capabilities.Bounding = append(o.Spec.Process.Capabilities.Bounding, "CAP_DAC_OVERRIDE")
		o.Spec.Process.Capabilities.Effective = append(o.Spec.Process.Capabilities.Effective, "CAP_DAC_OVERRIDE")
		o.Spec.Process.Capabilities.Permitted = append(o.Spec.Process.Capabilities.Permitted, "CAP_DAC_OVERRIDE")
		if own {
			mappedUser(&o)
			mappedRoot(t, &o)
		}
		got, _ := capture(t, o)
		if want := "/dev/mine 640 5:6 1:3\n/dev/deep/zero 666 0:0 1:5\n/dev/pipe 640 0:0 0:0\n 00 00 00\nwritten\n"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// Where /dev is a bind mount, nothing is made in it.
func TestForeignDev(t *testing.T) {
	o := bundle(t, "true")
	dev := t.TempDir()
	o.Spec.Mounts = slices.DeleteFunc(o.Spec.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/dev") })
	o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/dev/../dev/", Source: dev, Options: []string{"bind"}})
	o.Spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Major: 1, Minor: 3}}
	o.Detached = true
	c, err := Run(o)
	must(t, err)
	c.Wait()
	if w := c.Warnings(); len(w) == 0 || !strings.Contains(w[len(w)-1], "linux.devices[0]: is left out") {
		t.Errorf("warnings %q", w)
	}
	must(t, c.Delete(true))
	if list, err := os.ReadDir(dev); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// A device of a wrong kind at the host's path is not taken for the right one.
func TestDeviceOfAnotherKindOnTheHost(t *testing.T) {
	o := bundle(t, "stat", "-c", "%t:%T", "/dev/null2")
	path := "/tmp/loper-test-null2"
	must(t, unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
	t.Cleanup(func() { os.Remove(path) })
	o.Spec.Linux.Devices = []specs.LinuxDevice{{Path: path, Type: "c", Major: 1, Minor: 3}}
	o.Spec.Process.Args[3] = path
	mappedUser(&o)
	mappedRoot(t, &o)
	if out, _ := capture(t, o); out != "1:3\n" {
		t.Error(out)
	}
}
