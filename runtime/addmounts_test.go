package runtime

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// execute runs a command in a container and returns what it printed.
func execute(t *testing.T, c *Container, o Options, args ...string) string {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	p := *o.Spec.Process
	p.Args = args
	process, err := c.Exec(ExecOptions{Process: &p, Stdout: w, Stderr: w})
	w.Close()
	must(t, err)
	defer process.Close()
	var out bytes.Buffer
	_, err = io.Copy(&out, r)
	must(t, err)
	_, err = process.Wait()
	must(t, err)
	return out.String()
}

// sleeping is a container that does nothing, and what it was made of.
func sleeping(t *testing.T, change func(o *Options)) (*Container, Options) {
	t.Helper()
	var made Options
	c := running(t, func(o *Options) {
		if change != nil {
			change(o)
		}
		made = *o
	})
	return c, made
}

// Mounts come to a running container and go again, whatever its namespaces.
func TestAddMounts(t *testing.T) {
	both(t, func(t *testing.T, own bool) {
		c, o := sleeping(t, func(o *Options) {
			if own {
				mappedUser(o)
				mappedRoot(t, o)
			}
		})
		plain, strict := sources(t)
		before := mountTable(t, filepath.Dir(plain))
		must(t, os.WriteFile(filepath.Join(plain, "file"), []byte("text\n"), 0o600))
		must(t, os.Mkdir(filepath.Join(o.Bundle, "relative"), 0o755))
		options := []string{"rbind", "ro"}
		if own {
			options = append(options, "idmap")
		}
		list := []specs.Mount{
			{Destination: "/added/dir", Source: plain, Options: options},
			{Destination: "/added/file", Source: filepath.Join(plain, "file"), Options: append([]string{"bind"}, options[2:]...)},
			{Destination: "/added/tmpfs", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=64k", "mode=1770"}},
			{Destination: "/added/proc", Type: "proc"},
			{Destination: "/added/strict", Source: strict, Options: []string{"rbind"}},
			{Destination: "/added/relative", Source: "relative", Options: []string{"bind"}},
		}
		err := c.AddMounts(list)
		if err != nil && strings.Contains(err.Error(), "(tmpfs) that can't map user ids") {
			t.Skip("before Linux 6.3: ", err)
		}
		must(t, err)
		out := execute(t, c, o, "sh", "-c", "cat /added/dir/file /added/file; stat -c '%u %a' /added/file /added/tmpfs; ls -d /added/proc/1 /added/dir/sub; touch /added/dir/x 2>&1; touch /added/tmpfs/x && echo ok; cat /proc/self/mountinfo")
		if !strings.HasPrefix(out, "text\ntext\n0 600\n0 1770\n/added/dir/sub\n/added/proc/1\ntouch: /added/dir/x: Read-only file system\nok\n") {
			t.Error(out)
		}
		if m := mountAt(t, parseMounts(out), "/added/strict/sub"); !strings.HasPrefix(m.options, "ro,nosuid") {
			t.Errorf("%+v", m)
		}
		must(t, c.RemoveMounts(list))
		if out := execute(t, c, o, "sh", "-c", "grep -c added /proc/self/mountinfo; ls /added"); out != "0\ndir\nfile\nproc\nrelative\nstrict\ntmpfs\n" {
			t.Error(out)
		}
		if err := c.RemoveMounts(list[:1]); err == nil || !strings.Contains(err.Error(), "unmount /added/dir: invalid argument (config.json: mounts[0].destination)") {
			t.Errorf("error %v", err)
		}
		if after := mountTable(t, filepath.Dir(plain)); !slices.Equal(before, after) {
			t.Errorf("the host's mounts changed:\n%s\n%s", before, after)
		}
	})
}

// What can't be mounted is an error that says where, and leaves nothing.
func TestAddMountsFails(t *testing.T) {
	c, o := sleeping(t, nil)
	for want, m := range map[string]specs.Mount{
		"mounts[0].source: open_tree":                       {Destination: "/x", Source: "/no/such/place", Options: []string{"bind"}},
		"mounts[0].destination: is empty":                   {Type: "tmpfs"},
		"mounts[0].type":                                    {Destination: "/x", Type: "nonsense"},
		"mounts[0].options":                                 {Destination: "/x", Type: "tmpfs", Options: []string{"size=x"}},
		"find /proc/self/exe/x in the container":            {Destination: "/proc/self/exe/x", Type: "tmpfs"},
		"mounts[0].source: an id-mapped mount without":      {Destination: "/x", Source: "/tmp", Options: []string{"bind", "idmap"}},
		"mounts[0].type: is empty, and the options have no": {Destination: "/x"},
	} {
		if err := c.AddMounts([]specs.Mount{m}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", m, err, want)
		}
	}
	if out := execute(t, c, o, "grep", "-c", " /x ", "/proc/self/mountinfo"); out != "0\n" {
		t.Error(out)
	}
	must(t, c.Kill(unix.SIGKILL, true))
	c.Wait()
	if err := c.AddMounts([]specs.Mount{{Destination: "/x", Type: "tmpfs"}}); err == nil || !strings.Contains(err.Error(), "is stopped") {
		t.Error(err)
	}
}

// A container that makes links can't have a mount put outside of its root, nor
// a cover taken away from what is hidden from it.
func TestAddMountsOverLinks(t *testing.T) {
	c, o := sleeping(t, nil)
	secret := t.TempDir()
	must(t, os.WriteFile(filepath.Join(secret, "file"), []byte("secret\n"), 0o600))
	execute(t, c, o, "sh", "-c", fmt.Sprintf("busybox ln -s %s /out; busybox ln -s ../../../../../../../..%s /up; busybox ln -s /proc /p", secret, secret))
	must(t, c.AddMounts([]specs.Mount{{Destination: "/out", Type: "tmpfs"}, {Destination: "/up", Type: "tmpfs"}}))
	if list, err := os.ReadDir(secret); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if out := execute(t, c, o, "grep", "-c", secret, "/proc/self/mountinfo"); out != "2\n" {
		t.Error(out)
	}
	if err := c.RemoveMounts([]specs.Mount{{Destination: "/p/keys"}}); err == nil || !strings.Contains(err.Error(), "too many levels of symbolic links") {
		t.Errorf("error %v", err)
	}
	if out := execute(t, c, o, "cat", "/proc/keys"); out != "" {
		t.Errorf("unmasked: %s", out)
	}
}
