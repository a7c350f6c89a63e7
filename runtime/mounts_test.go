package runtime

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// inode is a line of mountinfo: where, with which options of the mount, which
// propagation and which options of the file system.
type mountLine struct{ at, options, spread, kind, super string }

// mountsInside runs the container and lists its mounts.
func mountsInside(t *testing.T, o Options) []mountLine {
	t.Helper()
	o.Spec.Process.Args = []string{"cat", "/proc/self/mountinfo"}
	out, _ := capture(t, o)
	return parseMounts(out)
}

func parseMounts(text string) (list []mountLine) {
	for line := range strings.Lines(text) {
		before, after, _ := strings.Cut(line, " - ")
		b, a := strings.Fields(before), strings.Fields(after)
		if len(b) < 6 || len(a) < 3 {
			continue
		}
		list = append(list, mountLine{b[4], b[5], strings.Join(b[6:], " "), a[0], a[2]})
	}
	return list
}

// mountAt is the last of the mounts at a place.
func mountAt(t *testing.T, list []mountLine, at string) mountLine {
	t.Helper()
	for _, m := range slices.Backward(list) {
		if m.at == at {
			return m
		}
	}
	t.Errorf("nothing is mounted at %s", at)
	return mountLine{}
}

// sources are two trees of the host's with a mount below, one without and one
// with every restriction.
func sources(t *testing.T) (plain, strict string) {
	t.Helper()
	const restrictions = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_NOSYMFOLLOW
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	for _, name := range []string{"plain", "strict"} {
		top := filepath.Join(dir, name)
		must(t, os.Mkdir(top, 0o755))
		must(t, unix.Mount("tmpfs", top, "tmpfs", 0, "mode=755"))
		t.Cleanup(func() { unix.Unmount(top, unix.MNT_DETACH) })
		must(t, os.Mkdir(filepath.Join(top, "sub"), 0o755))
		must(t, unix.Mount("tmpfs", filepath.Join(top, "sub"), "tmpfs", 0, "mode=755"))
		if name == "strict" {
			must(t, unix.Mount("", filepath.Join(top, "sub"), "", unix.MS_REMOUNT|unix.MS_BIND|restrictions, ""))
			must(t, unix.Mount("", top, "", unix.MS_REMOUNT|unix.MS_BIND|restrictions, ""))
		}
	}
	return filepath.Join(dir, "plain"), filepath.Join(dir, "strict")
}

// Every option of the specification is in the table, which is sorted, and an
// option of a mount does to it, and to what lies below, what its name says.
func TestMountOptions(t *testing.T) {
	if !slices.IsSorted(MountOptions()) {
		t.Fatal("the table is not sorted")
	}
	o := bundle(t)
	plain, strict := sources(t)
	const all = "ro nosuid nodev noexec noatime nodiratime nosymfollow"
	type want struct{ source, top, sub string }
	without := func(names ...string) string {
		return strings.Join(slices.DeleteFunc(strings.Fields(all), func(n string) bool { return slices.Contains(names, n) }), " ")
	}
	wants := map[string]want{}
	for option, on := range map[string]string{"ro": "ro", "nosuid": "nosuid", "nodev": "nodev", "noexec": "noexec", "noatime": "noatime", "nodiratime": "nodiratime", "nosymfollow": "nosymfollow",
		"strictatime": "", "relatime": "relatime"} {
		wants[option] = want{plain, on, "relatime"}
		wants["r"+option] = want{plain, on, on}
	}
	for option, off := range map[string]string{"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "atime": "noatime", "diratime": "nodiratime", "symfollow": "nosymfollow",
		"norelatime": "noatime", "nostrictatime": "noatime"} {
		wants[option] = want{strict, without(off), all}
		wants["r"+option] = want{strict, without(off), without(off)}
	}
	for _, option := range []string{"defaults", "silent", "loud", "async", "sync", "dirsync", "iversion", "noiversion", "lazytime", "nolazytime", "mand", "nomand"} {
		wants[option] = want{plain, "relatime", "relatime"}
	}
	for option, w := range wants {
		if !slices.Contains(MountOptions(), option) {
			t.Errorf("%s is not in the table", option)
		}
		o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/o/" + option, Source: w.source, Options: []string{"rbind", option}})
	}
	list := mountsInside(t, o)
	for option, w := range wants {
		for at, want := range map[string]string{"/o/" + option: w.top, "/o/" + option + "/sub": w.sub} {
			got := strings.Split(mountAt(t, list, at).options, ",")
			for _, name := range append(strings.Fields(all), "relatime") {
				if name == "relatime" && strings.Contains(want, "ro nosuid") {
					continue // what is left after noatime
				}
				if slices.Contains(got, name) != slices.Contains(strings.Fields(want), name) && !(name == "relatime" && want != "" && want != "noatime") {
					t.Errorf("%s: %s has %q, want %q", option, at, got, want)
				}
			}
		}
	}
}

// Flags of a file system reach it; what it doesn't know, mount(2) ignores too.
// Its own options are passed on, and a mistake in them names the field.
func TestMountData(t *testing.T) {
	o := bundle(t)
	o.Spec.Mounts = append(o.Spec.Mounts,
		specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{"sync", "dirsync", "mand", "iversion", "lazytime", "size=64k", "nr_inodes=7", "mode=1750", "uid=3", "gid=4", "ro"}},
		specs.Mount{Destination: "/joined", Type: "tmpfs", Options: []string{"size=64k,,mode=1750", ""}},
		specs.Mount{Destination: "relative/to/root", Type: "tmpfs"},
		specs.Mount{Destination: "/a/../up/./here", Type: "tmpfs"})
	list := mountsInside(t, o)
	m := mountAt(t, list, "/t")
	for _, want := range []string{"sync", "dirsync", "lazytime", "size=64k", "nr_inodes=7", "mode=1750", "uid=3", "gid=4"} {
		if !slices.Contains(strings.Split(m.super, ","), want) {
			t.Errorf("no %s in %s", want, m.super)
		}
	}
	if !strings.HasPrefix(m.options, "ro,") {
		t.Errorf("options %s", m.options)
	}
	if m := mountAt(t, list, "/joined"); strings.TrimSuffix(m.super, ",inode64") != "rw,size=64k,mode=1750" { // some kernels add it
		t.Errorf("%+v", m)
	}
	if got := splitData(`a,b="c,d",e=f\,g,,h\`); !slices.Equal(got, []string{"a", `b="c,d"`, `e=f\,g`, `h\`}) {
		t.Errorf("%q", got)
	}
	mountAt(t, list, "/relative/to/root")
	mountAt(t, list, "/up/here")
	for option, want := range map[string]string{"size=many": "mounts[7].options", "nonsense": `option "nonsense"`} {
		o := bundle(t, "true")
		o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{option}})
		if _, err := Run(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", option, err, want)
		}
	}
}

// A tmpfs over a directory of the image keeps its mode, and with tmpcopyup all
// that it has.
func TestTmpfsOverTheImage(t *testing.T) {
	both(t, func(t *testing.T, own bool) {
		o := bundle(t, "sh", "-c", `stat -c '%n %a %u:%g' /had /none /given /copied /copied/dir /copied/dir/file /copied/link /copied/fifo /owned; cat /copied/dir/file; ls /had /given; touch /copied/x 2>&1; ls -a /image`)
		root := o.Spec.Root.Path
		for _, dir := range []string{"had", "given", "copied/dir", "owned", "image"} {
			must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
			must(t, os.WriteFile(filepath.Join(root, dir, "file"), []byte("content\n"), 0o640))
		}
		must(t, unix.Chmod(filepath.Join(root, "had"), 0o2711))
		must(t, os.Chmod(filepath.Join(root, "copied"), 0o700))
		must(t, os.Symlink("../../etc/passwd", filepath.Join(root, "copied/link")))
		must(t, unix.Mkfifo(filepath.Join(root, "copied/fifo"), 0o644))
		must(t, os.Chown(filepath.Join(root, "copied/dir"), 12, 13))
		must(t, os.Symlink("copied", filepath.Join(root, "tocopied")))
		tmpfs := func(at string, options ...string) {
			o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: at, Type: "tmpfs", Source: "tmpfs", Options: options})
		}
		tmpfs("/had")
		tmpfs("/none")
		tmpfs("/given", "mode=700")
		tmpfs("/tocopied", "tmpcopyup", "ro")
		tmpfs("/owned", "tmpcopyup", "mode=750", "uid=5", "gid=6")
		if own {
			mappedUser(&o)
			mappedRoot(t, &o)
		}
		got, _ := capture(t, o)
		want := `/had 2711 0:0
/none 1777 0:0
/given 700 0:0
/copied 700 0:0
/copied/dir 755 12:13
/copied/dir/file 640 0:0
/copied/link 777 0:0
/copied/fifo 644 0:0
/owned 750 5:6
content
/given:

/had:
touch: /copied/x: Read-only file system
.
..
file
`
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// both runs a test as the host's root and with ids of the container's own.
func both(t *testing.T, test func(t *testing.T, own bool)) {
	t.Run("host ids", func(t *testing.T) { test(t, false) })
	t.Run("own ids", func(t *testing.T) { test(t, true) })
}

// A copy that doesn't fit is an error, not a cut-off directory.
func TestTmpcopyupTooBig(t *testing.T) {
	o := bundle(t, "true")
	must(t, os.MkdirAll(filepath.Join(o.Spec.Root.Path, "big"), 0o755))
	must(t, os.WriteFile(filepath.Join(o.Spec.Root.Path, "big/file"), make([]byte, 1<<20), 0o644))
	o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/big", Type: "tmpfs", Options: []string{"tmpcopyup", "size=64k"}})
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "tmpcopyup): no space left on device (config.json: mounts[7].options)") {
		t.Errorf("error %v", err)
	}
}

// Anything can be bound, onto a place that exists or not, through links of the
// image that may name nothing yet.
func TestBindKinds(t *testing.T) {
	both(t, func(t *testing.T, own bool) {
		o := bundle(t, "sh", "-c", `for f in file fifo socket device dir; do stat -c '%F' /in/$f; done; cat /etc/resolv.conf /run/real/resolv.conf; cat /over; stat -c %F /var/run/x`)
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o755))
		must(t, os.Chmod(filepath.Dir(dir), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("text\n"), 0o644))
		must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
		must(t, err)
		defer l.Close()
		must(t, unix.Mknod(filepath.Join(dir, "device"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o755))
		root := o.Spec.Root.Path
		for name, to := range map[string]string{"etc/resolv.conf": "../run/real/resolv.conf", "var/run": "/run", "over": "../../bin/../over2"} {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
			must(t, os.Symlink(to, filepath.Join(root, name)))
		}
		bind := func(from, to string) {
			o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: to, Source: filepath.Join(dir, from), Options: []string{"bind"}})
		}
		for _, name := range []string{"file", "fifo", "socket", "device", "dir"} {
			bind(name, "/in/"+name)
		}
		bind("file", "/etc/resolv.conf")
		bind("file", "/over")
		bind("dir", "/var/run/x")
		if own {
			mappedUser(&o)
			mappedRoot(t, &o)
		}
		got, _ := capture(t, o)
		want := "regular file\nfifo\nsocket\ncharacter special file\ndirectory\ntext\ntext\ntext\ndirectory\n"
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// A remount changes what was mounted before, and nothing of the host's.
func TestRemount(t *testing.T) {
	o := bundle(t)
	plain, _ := sources(t)
	o.Spec.Mounts = append(o.Spec.Mounts,
		specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{"size=64k"}},
		specs.Mount{Destination: "/b", Source: plain, Options: []string{"bind"}},
		specs.Mount{Destination: "/t", Type: "tmpfs", Options: []string{"remount", "size=128k", "noexec"}},
		specs.Mount{Destination: "/b", Options: []string{"remount", "bind", "ro", "slave"}})
	list := mountsInside(t, o)
	if m := mountAt(t, list, "/t"); !strings.Contains(m.super, "size=128k") || !strings.Contains(m.options, "noexec") {
		t.Errorf("%+v", m)
	}
	if m := mountAt(t, list, "/b"); !strings.HasPrefix(m.options, "ro,") {
		t.Errorf("%+v", m)
	}
	o = bundle(t, "true")
	o.Spec.Mounts = append(o.Spec.Mounts,
		specs.Mount{Destination: "/b", Source: plain, Options: []string{"bind"}},
		specs.Mount{Destination: "/b", Type: "tmpfs", Options: []string{"remount", "size=1k"}})
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "mounts[8]: only a file system that was mounted for the container can take") {
		t.Errorf("error %v", err)
	}
}

// A user namespace doesn't lift what the source restricts.
func TestRestrictionsOfTheSourceStay(t *testing.T) {
	o := bundle(t)
	_, strict := sources(t)
	mappedUser(&o)
	mappedRoot(t, &o)
	o.Spec.Mounts = append(o.Spec.Mounts,
		specs.Mount{Destination: "/plainly", Source: strict, Options: []string{"rbind"}},
		specs.Mount{Destination: "/more", Source: strict, Options: []string{"rbind", "noexec"}})
	list := mountsInside(t, o)
	for _, at := range []string{"/plainly", "/plainly/sub", "/more", "/more/sub"} {
		if m := mountAt(t, list, at); !strings.HasPrefix(m.options, "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow") {
			t.Errorf("%+v", m)
		}
	}
}

// Propagation is what the options say. Without a word a bind is the
// container's alone, unless the whole root file system receives.
func TestPropagation(t *testing.T) {
	both(t, func(t *testing.T, own bool) {
		for _, test := range []struct {
			root    string
			options []string
			top     string // what mountinfo says
			sub     string
		}{
			{"", nil, "", ""},
			{"", []string{"private"}, "", ""},
			{"", []string{"slave"}, "master", "master"},
			{"", []string{"rslave"}, "master", "master"},
			{"", []string{"rslave", "rshared"}, "shared master", "shared master"},
			{"", []string{"unbindable"}, "unbindable", ""},
			{"", []string{"runbindable"}, "unbindable", "unbindable"},
			{"rslave", nil, "master", "master"},
			{"slave", nil, "master", "master"},
			{"rshared", nil, "shared master", "shared master"},
			{"private", nil, "", ""},
			{"rprivate", []string{"rslave"}, "master", "master"},
			{"unbindable", nil, "", ""},
		} {
			t.Run(test.root+"+"+strings.Join(test.options, "+"), func(t *testing.T) {
				o := bundle(t)
				plain, _ := sources(t)
				must(t, unix.Mount("", plain, "", unix.MS_SHARED|unix.MS_REC, ""))
				o.Spec.Linux.RootfsPropagation = test.root
				o.Spec.Mounts = append(o.Spec.Mounts, specs.Mount{Destination: "/b", Source: plain, Options: append([]string{"rbind"}, test.options...)})
				if own {
					mappedUser(&o)
					mappedRoot(t, &o)
				}
				list := mountsInside(t, o)
				for at, want := range map[string]string{"/b": test.top, "/b/sub": test.sub} {
					got := mountAt(t, list, at).spread
					var kinds []string
					for _, f := range strings.Fields(got) {
						kind, _, _ := strings.Cut(f, ":")
						kinds = append(kinds, kind)
					}
					if strings.Join(kinds, " ") != want {
						t.Errorf("%s: %q, want %q", at, got, want)
					}
				}
				if m := mountAt(t, list, "/"); strings.Contains(m.spread, "shared") != strings.Contains(test.root, "shared") || strings.Contains(m.spread, "unbindable") != (test.root == "unbindable") {
					t.Errorf("root: %+v", m)
				}
			})
		}
	})
}

// What a user namespace may not mount because it shows the host's namespaces
// is the host's own mount.
func TestHostNamespacesInAUserNamespace(t *testing.T) {
	o := bundle(t, "sh", "-c", "cat /proc/self/mountinfo; ls /sys/class/net/lo >/dev/null && test -e /proc/"+fmt.Sprint(os.Getpid())+" && echo seen; touch /sys/x 2>&1")
	mappedUser(&o)
	mappedRoot(t, &o)
	o.Spec.Hostname = ""
	o.Spec.Linux.MaskedPaths, o.Spec.Linux.ReadonlyPaths = nil, nil
	o.Spec.Linux.Namespaces = slices.DeleteFunc(o.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type != specs.UserNamespace && n.Type != specs.MountNamespace
	})
	if _, err := os.Stat("/dev/mqueue"); err != nil {
		o.Spec.Mounts = slices.DeleteFunc(o.Spec.Mounts, func(m specs.Mount) bool { return m.Type == "mqueue" })
	}
	o.Spec.Mounts = slices.DeleteFunc(o.Spec.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" })
	out, _ := capture(t, o)
	list := parseMounts(out)
	if m := mountAt(t, list, "/sys"); m.kind != "sysfs" || !strings.HasPrefix(m.options, "ro,nosuid,nodev,noexec") {
		t.Errorf("%+v", m)
	}
	if m := mountAt(t, list, "/proc"); m.kind != "proc" {
		t.Errorf("%+v", m)
	}
	if !strings.Contains(out, "\nseen\n") || !strings.Contains(out, "touch: /sys/x: ") {
		t.Error(out)
	}
	// A namespace of its own that it may not mount is no reason to show the host's.
	if strings.Contains(out, " /sys/fs/cgroup/") && !strings.Contains(mountAt(t, list, "/sys/fs/cgroup").options, "ro") {
		t.Error("the host's cgroups are writable")
	}
}

// The container's own groups and no others, in each combination.
func TestCgroupMounts(t *testing.T) {
	for _, kind := range []string{"cgroup", "cgroup2"} {
		for _, namespace := range []bool{true, false} {
			for _, readonly := range []bool{true, false} {
				t.Run(fmt.Sprint(kind, " namespace ", namespace, " read-only ", readonly), func(t *testing.T) {
					both(t, func(t *testing.T, own bool) {
						o := bundle(t, "sh", "-c", "cat /proc/self/mountinfo; cd /sys/fs/cgroup; for d in . memory pids; do test -e $d/cgroup.procs && grep -q '^1$' $d/cgroup.procs && echo $d mine; done; test -d memory && cd memory; mkdir x 2>&1 && echo made; rmdir x 2>/dev/null")
						must(t, os.Symlink("busybox", filepath.Join(o.Spec.Root.Path, "bin/mkdir")))
						must(t, os.Symlink("busybox", filepath.Join(o.Spec.Root.Path, "bin/rmdir")))
						o.Spec.Linux.Namespaces = slices.DeleteFunc(o.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.CgroupNamespace })
						if namespace {
							o.Spec.Linux.Namespaces = append(o.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
						}
						options := []string{"nosuid", "noexec", "nodev", "relatime"}
						if readonly {
							options = append(options, "ro")
						}
						for i, m := range o.Spec.Mounts {
							if m.Type == "cgroup" {
								o.Spec.Mounts[i].Type, o.Spec.Mounts[i].Options = kind, options
							}
						}
						if own {
							mappedUser(&o)
							mappedRoot(t, &o)
						}
						out, _ := capture(t, o)
						found := 0
						for _, m := range parseMounts(out) {
							if m.kind != "cgroup" && m.kind != "cgroup2" {
								continue
							}
							found++
							if strings.HasPrefix(m.options, "ro,") != readonly {
								t.Errorf("%+v", m)
							}
						}
						if !strings.Contains(out, " mine\n") || found == 0 {
							t.Errorf("its own groups are not there:\n%s", out)
						}
						v2 := cgroup.Detect() == cgroup.V2 // whose namespaced groups are the container's to divide
						if made := strings.Contains(out, "\nmade\n"); (kind == "cgroup" || v2) && made != (!readonly && (!own || v2 && namespace)) {
							t.Errorf("a group could be made: %v\n%s", made, out)
						}
					})
				})
			}
		}
	}
}

// proc, sysfs, mqueue and devpts in each combination of namespaces, with and
// without ids of the container's own: each shows the namespace that the
// container is in, and what is mounted anew has its options.
func TestKernelFilesystemsInEachCombination(t *testing.T) {
	kinds := []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace}
	both(t, func(t *testing.T, own bool) {
		for combination := range 1 << len(kinds) {
			o := bundle(t, "sh", "-c", fmt.Sprintf("test -e /proc/%d/status && echo host pids; ls /sys/class/net; cat /proc/self/mountinfo; ls /dev/pts", os.Getpid()))
			o.Spec.Hostname = ""
			o.ID += fmt.Sprint("-", combination)
			hosts := map[specs.LinuxNamespaceType]bool{}
			for i, kind := range kinds {
				if hosts[kind] = combination&(1<<i) != 0; hosts[kind] {
					o.Spec.Linux.Namespaces = slices.DeleteFunc(o.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
				}
			}
			if _, err := os.Stat("/dev/mqueue"); err != nil && hosts[specs.IPCNamespace] {
				o.Spec.Mounts = slices.DeleteFunc(o.Spec.Mounts, func(m specs.Mount) bool { return m.Type == "mqueue" })
			}
			if own {
				mappedUser(&o)
				mappedRoot(t, &o)
			}
			out, _ := capture(t, o)
			if seen := strings.HasPrefix(out, "host pids\n"); seen != hosts[specs.PIDNamespace] {
				t.Errorf("%v: the host's processes are there: %v", hosts, seen)
			}
			list := parseMounts(out)
			if m := mountAt(t, list, "/proc"); m.kind != "proc" {
				t.Errorf("%v: %+v", hosts, m)
			}
			if m := mountAt(t, list, "/proc/sys"); !strings.HasPrefix(m.options, "ro") {
				t.Errorf("%v: %+v", hosts, m)
			}
			if m := mountAt(t, list, "/sys"); m.kind != "sysfs" || !strings.HasPrefix(m.options, "ro,nosuid,nodev,noexec") {
				t.Errorf("%v: %+v", hosts, m)
			}
			m := mountAt(t, list, "/dev/pts")
			if m.kind != "devpts" || !strings.Contains(m.super, ",mode=620,ptmxmode=666") || !strings.HasSuffix(out, "\nptmx\n") {
				t.Errorf("%v: %+v", hosts, m)
			}
		}
	})
}
