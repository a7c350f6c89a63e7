package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// compiledLines are the operations of a program that mention a word.
func compiledLines(t *testing.T, exec bool, change func(*specs.Spec, *Host), words ...string) string {
	t.Helper()
	spec, host := exampleSpec(t, false), testHost()
	change(spec, &host)
	compiled, err := Compile(spec, host, Settings{})
	if exec {
		compiled, err = CompileExec(spec, spec.Process, host, Settings{})
	}
	must(t, err)
	var lines []string
	for line := range strings.Lines(compiled.Program.String()) {
		for _, word := range words {
			if strings.Contains(line, word) {
				lines = append(lines, strings.TrimLeft(line, " 0123456789"))
				break
			}
		}
	}
	return strings.Join(lines, "")
}

// No machine of the tests has SELinux: this shows what would be done.
func TestSELinuxIsCompiled(t *testing.T) {
	change := func(s *specs.Spec, h *Host) {
		h.SELinux = true
		s.Process.SelinuxLabel, s.Linux.MountLabel = "u:r:t:s0:c1,c2", "u:object_r:f:s0:c1,c2"
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/own", Type: "tmpfs", Options: []string{"context=u:o:mine:s0"}})
	}
	const process = `$N = openat2(@proc, "self/attr/keycreate", {O_WRONLY, 0, NO_MAGICLINKS|BENEATH|NO_XDEV}, 24)  # open /proc/self/attr/keycreate [process.selinuxLabel]
write($N, "u:r:t:s0:c1,c2", 14)  # label the session keyring u:r:t:s0:c1,c2 [process.selinuxLabel]
$N = openat2(@proc, "self/attr/exec", {O_WRONLY, 0, NO_MAGICLINKS|BENEATH|NO_XDEV}, 24)  # open /proc/self/attr/exec [process.selinuxLabel]
write($N, "u:r:t:s0:c1,c2", 14)  # label the program u:r:t:s0:c1,c2 [process.selinuxLabel]
`
	words := []string{`"self/attr`, "write($"}
	for _, exec := range []bool{false, true} {
		if got := anonymous(compiledLines(t, exec, change, words...)); got != process {
			t.Errorf("exec %v:\n%s\nwant\n%s", exec, got, process)
		}
	}
	got := anonymous(compiledLines(t, false, change, "context", "fsetxattr"))
	for _, want := range []string{
		`fsconfig($N, SET_STRING, "context", "u:object_r:f:s0:c1,c2", 0)  # mount tmpfs on /dev: its label [linux.mountLabel]`,
		`"context", "u:object_r:f:s0:c1,c2", 0)  # mount devpts on /dev/pts: its label`,
		`"context", "u:object_r:f:s0:c1,c2", 0)  # mount tmpfs on /dev/shm: its label`,
		`"context", "u:object_r:f:s0:c1,c2", 0)  # mask /proc/acpi: its label`,
		`fsetxattr($N, "security.selinux", "u:object_r:f:s0:c1,c2", 21, 0) ENOTSUP  # label the message queues [linux.mountLabel]`,
		`"context", "u:o:mine:s0", 0)  # mount tmpfs on /own: option`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the program has no %s in\n%s", want, got)
		}
	}
	for _, bad := range []string{"mount proc on /proc: its", "mount sysfs on /sys: its", "on /own: its", "on /dev/mqueue: its"} {
		if strings.Contains(got, bad) {
			t.Errorf("the program has %s in\n%s", bad, got)
		}
	}
	if got := compiledLines(t, false, func(s *specs.Spec, h *Host) { change(s, h); h.SELinux = false }, "self/attr", "its label", "setxattr"); got != "" {
		t.Errorf("with SELinux off:\n%s", got)
	}
}

func TestAppArmorIsCompiled(t *testing.T) {
	change := func(s *specs.Spec, h *Host) { h.AppArmor, s.Process.ApparmorProfile = true, "some profile" }
	const want = `$N = openat2(@proc, "self/attr/apparmor/exec", {O_WRONLY, 0, NO_MAGICLINKS|BENEATH|NO_XDEV}, 24) ok:+1 ENOENT  # open /proc/self/attr/apparmor/exec [process.apparmorProfile]
$N = openat2(@proc, "self/attr/exec", {O_WRONLY, 0, NO_MAGICLINKS|BENEATH|NO_XDEV}, 24)  # open /proc/self/attr/exec [process.apparmorProfile]
write($N, "exec some profile", 17)  # confine the program by the AppArmor profile "some profile" (is it loaded?) [process.apparmorProfile]
`
	for _, exec := range []bool{false, true} {
		if got := anonymous(compiledLines(t, exec, change, "self/attr", "write($")); got != want {
			t.Errorf("exec %v:\n%s\nwant\n%s", exec, got, want)
		}
	}
}

// anonymous replaces the numbers of results.
func anonymous(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		b.WriteByte(text[i])
		if text[i] == '$' {
			for i+1 < len(text) && '0' <= text[i+1] && text[i+1] <= '9' {
				i++
			}
			b.WriteByte('N')
		}
	}
	return b.String()
}

// A label goes to the file that it is meant for, or nowhere (CVE-2019-16884,
// CVE-2025-52881).
func TestLabelIsNotRedirected(t *testing.T) {
	bundle(t) // what it needs, this needs
	for _, test := range []struct {
		name string
		make func(root string) error
		want error
	}{
		{"first", func(root string) error { return os.WriteFile(root+"/self/attr/first", nil, 0o600) }, nil},
		{"second", func(root string) error { return os.WriteFile(root+"/self/attr/second", nil, 0o600) }, nil},
		{"none", func(string) error { return nil }, unix.ENOENT},
		{"link out", func(root string) error {
			return errors.Join(os.RemoveAll(root+"/self"), os.Symlink("../outside", root+"/self"))
		}, unix.EXDEV},
		{"link of the file", func(root string) error { return os.Symlink("/outside/attr/first", root+"/self/attr/first") }, unix.EXDEV},
		{"mount", func(root string) error {
			return errors.Join(os.WriteFile(root+"/self/attr/first", nil, 0o600), unix.Mount(root+"/../outside/attr/first", root+"/self/attr/first", "", unix.MS_BIND, ""))
		}, unix.EXDEV},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			root := filepath.Join(dir, "proc")
			for _, d := range []string{root + "/self/attr", dir + "/outside/attr"} {
				must(t, os.MkdirAll(d, 0o700))
			}
			must(t, os.WriteFile(dir+"/outside/attr/first", []byte("untouched"), 0o600))
			must(t, test.make(root))
			t.Cleanup(func() { unix.Unmount(root+"/self/attr/first", 0) })
			proc, err := os.Open(root)
			must(t, err)
			defer proc.Close()
			c := &compiler{p: &launch.Program{}}
			c.label([]string{"attr/first", "attr/second"}, "value", "label", "field")
			c.add(launch.Op{Call: launch.Execve, Args: []launch.Arg{launch.String("/bin/true"), launch.Strings([]string{"true"}), launch.Strings(nil)}})
			p, err := launch.Start(c.p, launch.Files{procInput: proc}, nil)
			must(t, err)
			defer p.Abort()
			_, err = p.Next()
			var failed *launch.Error
			if test.want != nil && (!errors.As(err, &failed) || !errors.Is(failed.Errno, test.want) || failed.Op.Field != "field") {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if test.want == nil && string(readAll(t, root+"/self/attr/"+test.name)) != "value" {
				t.Errorf("error %v, and no label", err)
			}
			if got := string(readAll(t, dir+"/outside/attr/first")); got != "untouched" {
				t.Errorf("the other file has %q", got)
			}
		})
	}
}

// Whatever lies at /proc, labels need the kernel's.
func TestLabelsNeedAProcfs(t *testing.T) {
	s := &starting{files: launch.Files{}}
	defer func() { closeAll(s.owned) }()
	h := &Host{AppArmor: true}
	if err := s.openProc(h, &specs.Process{}); err != nil || len(s.owned) != 0 {
		t.Errorf("a process without a label: %v, %d descriptors", err, len(s.owned))
	}
	if err := s.openProc(h, &specs.Process{ApparmorProfile: "x"}); err != nil || s.files[procInput] == nil {
		t.Errorf("error %v, descriptor %v", err, s.files[procInput])
	}
}
