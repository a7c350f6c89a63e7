package container

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"loper.run/image"
	"loper.run/image/oci"
)

func TestExec(t *testing.T) {
	e := newEngine(t)
	c := e.start(Settings{Command: []string{"sleep", "1000"}, Env: []string{"A=1"}})
	run := func(s ExecSettings) (string, int, error) {
		t.Helper()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		s.Stdout, s.Stderr = w, w
		out := make(chan string)
		go func() {
			var b strings.Builder
			buf := make([]byte, 4096)
			for {
				n, err := r.Read(buf)
				b.Write(buf[:n])
				if err != nil {
					out <- b.String()
					return
				}
			}
		}()
		code, err := c.Exec(t.Context(), s)
		w.Close()
		return <-out, code, err
	}
	for _, test := range []struct {
		s    ExecSettings
		want string
		code int
	}{
		{ExecSettings{Command: []string{"sh", "-c", "echo $A $HOME $PWD; exit 7"}}, "1 /root /\n", 7},
		{ExecSettings{Command: []string{"sh", "-c", "echo $A $B"}, Env: []string{"A=2", "B=3"}}, "2 3\n", 0},
		{ExecSettings{Command: []string{"sh", "-c", "id -u; id -g; id -G; echo $HOME; pwd"}, User: "worker", WorkingDir: "/tmp"}, "1000\n1000\n1000 2000\n/home/worker\n/tmp\n", 0},
		{ExecSettings{Command: []string{"grep", "CapEff", "/proc/self/status"}, User: "1000:5"}, "CapEff:\t0000000000000000\n", 0},
		{ExecSettings{Command: []string{"sh", "-c", "kill -9 $$"}}, "", 137},
	} {
		out, code, err := run(test.s)
		if out != test.want || code != test.code || err != nil {
			t.Errorf("%v: %q, %d, %v", test.s.Command, out, code, err)
		}
	}
	for command, code := range map[string]int{"nosuch": 127, "/etc/passwd": 126} {
		if _, got, err := run(ExecSettings{Command: []string{command}}); got != code || err == nil {
			t.Errorf("%s: %d, %v", command, got, err)
		}
	}
	if _, _, err := run(ExecSettings{Command: []string{"id"}, User: "nobody-here"}); err == nil || !strings.Contains(err.Error(), "nobody-here") {
		t.Errorf("unknown user: %v", err)
	}
	out, _, _ := run(ExecSettings{Command: []string{"grep", "CapBnd", "/proc/self/status"}, Privileged: true})
	if plain, _, _ := run(ExecSettings{Command: []string{"grep", "CapBnd", "/proc/self/status"}}); out == plain || !strings.HasSuffix(out, "ffffffff\n") {
		t.Errorf("privileged: %s, otherwise %s", out, plain)
	}
	// A container that replaces its accounts by a link to the host's gets nothing of them.
	if _, code, err := run(ExecSettings{Command: []string{"sh", "-c", "rm /etc/passwd; ln -s /proc/self/root/etc/shadow /etc/passwd"}}); code != 0 {
		t.Fatal(err)
	}
	if _, _, err := run(ExecSettings{Command: []string{"id"}, User: "daemon"}); err == nil {
		t.Error("a user of the host's was found")
	}
	if code, err := c.Exec(t.Context(), ExecSettings{Command: []string{"sh", "-c", "echo x >/made; sleep 1000"}, Detach: true}); code != 0 || err != nil {
		t.Errorf("detached: %d, %v", code, err)
	}
	eventually(t, "the detached process ran", func() bool {
		_, code, _ := run(ExecSettings{Command: []string{"test", "-s", "/made"}})
		return code == 0
	})
}

func TestMountsInside(t *testing.T) {
	e := newEngine(t)
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "file"), []byte("host\n"), 0o600)
	os.Lchown(filepath.Join(dir, "file"), 1000, 1000)
	bind, err := ParseVolume(dir + ":/data")
	if err != nil {
		t.Fatal(err)
	}
	readOnly, _ := ParseVolume(dir + ":/ro:ro")
	missing, _ := ParseVolume(filepath.Join(dir, "made") + ":/made")
	out, code := e.run(Settings{
		Mounts: []Mount{bind, readOnly, missing, {Type: MountTmpfs, Target: "/scratch", TmpfsSize: 1 << 20}},
		Tmpfs:  map[string]string{"/run": "mode=700"}, Hostname: "box", AddHosts: []string{"peer:10.0.0.1"}, DNS: []string{"10.0.0.2"}, ReadOnly: true,
	}, `exec 2>&1; stat -c '%u:%g %a' /data/file; cat /data/file; echo new >/data/new; echo x >/ro/x && echo bad; echo x >/x && echo bad; echo x >/scratch/x; stat -c %a /run
		grep peer /etc/hosts; cat /etc/resolv.conf; cat /etc/hostname; ls -d /made; df -k /scratch | tail -1 | tr -s ' ' | cut -d' ' -f2; mount | grep -c ' /ro '`)
	want := "1000:1000 600\nhost\nsh: can't create /ro/x: Read-only file system\nsh: can't create /x: Read-only file system\n700\n10.0.0.1\tpeer\nnameserver 10.0.0.2\nbox\n/made\n1024\n1\n"
	if code != 0 || out != want {
		t.Errorf("%d, %q\nwant %q", code, out, want)
	}
	fi, err := os.Stat(filepath.Join(dir, "new"))
	if err != nil || fi.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("a file made inside: %+v, %v", fi, err)
	}
	if _, err := e.Create(t.Context(), Settings{Command: []string{"true"}, Mounts: []Mount{{Type: MountBind, Source: filepath.Join(dir, "nope"), Target: "/x"}}}, e.img); err == nil {
		t.Error("a missing source was accepted")
	}
}

func TestVolumes(t *testing.T) {
	e := newEngine(t)
	vol := []Mount{{Type: MountVolume, Source: "things", Target: "/home"}}
	if out, code := e.run(Settings{Mounts: vol}, "stat -c '%u %a' /home/worker; touch /home/mine"); code != 0 || out != "1000 755\n" {
		t.Errorf("filled: %d %q", code, out)
	}
	// Another container has other ids on the host, and sees the same ones.
	if out, _ := e.run(Settings{Mounts: vol, User: "worker"}, "ls -ln /home | tail -n +2 | tr -s ' ' | cut -d' ' -f3,9"); out != "0 mine\n1000 worker\n" {
		t.Errorf("second container: %q", out)
	}
	list, err := e.VolumeList()
	if err != nil || len(list) != 1 || list[0].Name != "things" || list[0].Anonymous {
		t.Errorf("%+v %v", list, err)
	}
	if err := e.VolumeRemove("things", true); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("removed while in use: %v", err)
	}
	// Anonymous volumes, of the caller and of the image.
	img := *e.img
	img.Config.Volumes = map[string]struct{}{"/home/worker": {}}
	c, err := e.Create(t.Context(), Settings{Command: []string{"true"}, Mounts: []Mount{{Type: MountVolume, Target: "/anon"}}}, &img)
	if err != nil {
		t.Fatal(err)
	}
	if list, _ = e.VolumeList(); len(list) != 3 {
		t.Errorf("volumes %+v", list)
	}
	if err := c.Remove(RemoveOptions{}); err != nil {
		t.Error(err)
	}
	if list, _ = e.VolumeList(); len(list) != 3 {
		t.Errorf("volumes after rm without -v: %+v", list)
	}
	c, err = e.Create(t.Context(), Settings{Command: []string{"true"}}, &img)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(RemoveOptions{Volumes: true}); err != nil {
		t.Error(err)
	}
	if list, _ = e.VolumeList(); len(list) != 3 {
		t.Errorf("volumes after rm -v: %+v", list)
	}
	all, _ := e.List()
	for _, c := range all {
		c.Remove(RemoveOptions{})
	}
	for _, v := range list {
		if err := e.VolumeRemove(v.Name, false); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(e.path(volumeDir, "*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestHostImage(t *testing.T) {
	e := newEngine(t)
	e.img = &image.Image{ID: oci.FromBytes([]byte("host")), Builtin: "host", Layers: []string{"/"}, Config: oci.ImageConfig{Cmd: []string{"sh"}}}
	secret := filepath.Join(e.Root, "secret")
	os.WriteFile(secret, []byte("x"), 0o644)
	out, code := e.run(Settings{}, "test -e /usr/bin/env && echo usr; ls "+e.Root+" 2>&1 | wc -l; ls /tmp /run | grep -c loper; echo x >/etc/loper-test-file && echo written; id -u")
	if code != 0 || !strings.HasPrefix(out, "usr\n") || !strings.HasSuffix(out, "written\n0\n") {
		t.Errorf("%d %q", code, out)
	}
	if _, err := os.Stat("/etc/loper-test-file"); err == nil {
		os.Remove("/etc/loper-test-file")
		t.Error("the host was written to")
	}
}

func TestIsolationModes(t *testing.T) {
	e := newEngine(t)
	web := e.start(Settings{Name: "web", Command: []string{"sh", "-c", "hostname; sleep 1000"}})
	links := func(pid string) string {
		var b strings.Builder
		for _, ns := range []string{"user", "net", "ipc", "pid", "uts", "cgroup", "mnt"} {
			l, _ := os.Readlink("/proc/" + pid + "/ns/" + ns)
			b.WriteString(l + "\n")
		}
		return b.String()
	}
	host := links("self")
	show := "for n in user net ipc pid uts cgroup mnt; do readlink /proc/self/ns/$n; done"
	same := func(a, b string) (names []string) {
		x, y := strings.Fields(a), strings.Fields(b)
		for i := range min(len(x), len(y)) {
			if x[i] == y[i] {
				names = append(names, strings.SplitN(x[i], ":", 2)[0])
			}
		}
		return names
	}
	expect := func(what string, s Settings, with, want string) {
		t.Helper()
		out, code := e.run(s, show+"; ls /sys/class/net >/dev/null; ls /proc/self >/dev/null; ls /dev/shm >/dev/null")
		if got := strings.Join(same(out, with), " "); got != want || code != 0 || len(strings.Fields(out)) != 7 {
			t.Errorf("%s: shares %q, want %q: %d %q", what, got, want, code, out)
		}
	}
	expect("default", Settings{}, host, "")
	expect("host's", Settings{Network: "host", PidMode: "host", UtsMode: "host", IpcMode: "host", CgroupnsMode: "host"}, host, "net ipc pid uts cgroup")
	expect("userns host", Settings{UsernsMode: "host"}, host, "user")
	expect("userns host, net host", Settings{UsernsMode: "host", Network: "host"}, host, "user net")
	joined := links(itoa(uintptr(e.status(web).Pid)))
	expect("container", Settings{Network: "container:web", IpcMode: "container:" + web.ID[:8], PidMode: "container:web"}, joined, "user net ipc pid")
	out, code := e.run(Settings{Privileged: true}, "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted; cat /proc/self/uid_map")
	if code != 0 || !strings.Contains(out, "ffffffff\nSeccomp:\t0\nmounted\n") || !strings.Contains(out, "1879") {
		t.Errorf("privileged: %d %q", code, out)
	}
	if _, code := e.run(Settings{UsernsMode: "host", Privileged: true}, "ls /dev/vda || ls /dev/sda || ls /dev/null"); code != 0 {
		t.Errorf("host's devices: %d", code)
	}
	if out, code := e.run(Settings{Devices: []Device{{"/dev/zero", "/dev/other", "r"}}}, "head -c 5 /dev/other | wc -c"); code != 0 || strings.TrimSpace(out) != "5" {
		t.Errorf("a device by another name: %d %q", code, out)
	}
}

// The host's root can be bound although much of what is mounted below it
// cannot be id-mapped; what cannot at all is refused in one line.
func TestBindOfMixedMounts(t *testing.T) {
	e := newEngine(t)
	all, err := ParseVolume("/:/host:ro")
	if err != nil {
		t.Fatal(err)
	}
	if out, code := e.run(Settings{Mounts: []Mount{all}}, "stat -c %u /host/etc; ls /host/proc/self/ >/dev/null && echo proc"); code != 0 || out != "0\nproc\n" {
		t.Errorf("%d %q", code, out)
	}
	proc, _ := ParseVolume("/proc:/host:ro")
	c := e.create(Settings{Mounts: []Mount{proc}, Command: []string{"true"}})
	if err := c.Start(StartOptions{}); err == nil || !strings.Contains(err.Error(), "--userns host") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a bind of /proc: %v", err)
	}
	proc.NoIDMap = true
	if out, code := e.run(Settings{Mounts: []Mount{proc}}, "test -e /host/uptime && echo yes"); code != 0 || out != "yes\n" {
		t.Errorf("%d %q", code, out)
	}
}

// A signal that comes right after the start reaches the program.
func TestInit(t *testing.T) {
	if program, err := elf.Open("/proc/self/exe"); err != nil || program.Section(".interp") != nil {
		t.Skip("needs a static test binary, as CGO_ENABLED=0 makes it")
	}
	e := newEngine(t)
	for range 10 {
		c := e.start(Settings{Init: true, Command: []string{"sleep", "100"}})
		if err := c.Stop(t.Context(), StopOptions{}); err != nil {
			t.Fatal(err)
		}
		if code := e.wait(c); code != 143 {
			t.Errorf("exit code %d", code)
		}
	}
	out, code := e.run(Settings{Init: true}, "echo $$; cat /proc/1/comm; exit 5")
	if code != 5 || strings.HasPrefix(out, "1\n") {
		t.Errorf("%d %q", code, out)
	}
}

func TestInspect(t *testing.T) {
	e := newEngine(t)
	c := e.start(Settings{Name: "shown", Command: []string{"sleep", "1000"}, Labels: map[string]string{"a": "b"}, Mounts: []Mount{{Type: MountVolume, Source: "v", Target: "/v"}}, Resources: Resources{Memory: 64 << 20}})
	i, err := c.Inspect(true)
	if err != nil {
		t.Fatal(err)
	}
	if i.Name != "/shown" || !i.State.Running || i.State.Pid == 0 || i.Path != "sleep" || i.Args[0] != "1000" || i.Config.Labels["a"] != "b" ||
		i.Mounts[0].Name != "v" || i.HostConfig.Memory != 64<<20 || i.IDMappings[0].HostID != rangeFirst || i.SizeRw == nil {
		t.Errorf("%+v", i)
	}
}
