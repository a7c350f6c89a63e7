package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongInput(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		e.must("create", "--name", "taken", "busybox", "true")
		dir := e.directory()
		e.writeFile(filepath.Join(dir, "file"), "x", 0o644)
		for _, c := range []struct {
			name  string
			words []string
			args  []string
		}{
			{"name taken", []string{"taken", "in use"}, []string{"--name", "taken", "busybox", "true"}},
			{"name with a space", []string{"a b"}, []string{"--name", "a b", "busybox", "true"}},
			{"name that is a path", []string{"../x"}, []string{"--name", "../x", "busybox", "true"}},
			{"name that begins with a dash", []string{"-x"}, []string{"--name=-x", "busybox", "true"}},
			{"image name", []string{"busy box"}, []string{"busy box", "true"}},
			{"unknown user", []string{"nobody-here"}, []string{"-u", "nobody-here", "busybox", "true"}},
			{"unknown group", []string{"no-group"}, []string{"-u", "root:no-group", "busybox", "true"}},
			{"user id beyond 32 bits", []string{"4294967296"}, []string{"-u", "4294967296", "busybox", "true"}},
			{"negative user id", []string{"-1"}, []string{"-u", "-1", "busybox", "true"}},
			{"relative working directory", []string{"not/absolute"}, []string{"-w", "not/absolute", "busybox", "true"}},
			{"working directory is a file", []string{"/etc/passwd"}, []string{"-w", "/etc/passwd", "busybox", "true"}},
			{"mount source", []string{"/no/such/source"}, []string{"--mount", "type=bind,src=/no/such/source,dst=/x", "busybox", "true"}},
			{"mount target", []string{"relative"}, []string{"--mount", "type=bind,src=" + dir + ",dst=relative", "busybox", "true"}},
			{"mount type", []string{"floppy"}, []string{"--mount", "type=floppy,dst=/x", "busybox", "true"}},
			{"mount option", []string{"colour"}, []string{"--mount", "type=tmpfs,dst=/x,colour=red", "busybox", "true"}},
			{"volume name", []string{"a/../b"}, []string{"-v", "a/../b:/x", "busybox", "true"}},
			{"volume option", []string{"purple"}, []string{"-v", dir + ":/x:purple", "busybox", "true"}},
			{"directory upon a file", []string{"/etc/passwd"}, []string{"-v", dir + ":/etc/passwd", "busybox", "true"}},
			{"memory", []string{"lots"}, []string{"-m", "lots", "busybox", "true"}},
			{"memory below the minimum", []string{"memory"}, []string{"-m", "1k", "busybox", "true"}},
			{"cpus", []string{"-2"}, []string{"--cpus", "-2", "busybox", "true"}},
			{"capability", []string{"CAP_FLY"}, []string{"--cap-add", "CAP_FLY", "busybox", "true"}},
			{"security option", []string{"nonsense"}, []string{"--security-opt", "nonsense", "busybox", "true"}},
			{"seccomp profile", []string{"/no/such/profile"}, []string{"--security-opt", "seccomp=/no/such/profile", "busybox", "true"}},
			{"ulimit", []string{"nofiles"}, []string{"--ulimit", "nofiles=1", "busybox", "true"}},
			{"network", []string{"no-such-net"}, []string{"--network", "no-such-net", "busybox", "true"}},
			{"env file", []string{"/no/such/env"}, []string{"--env-file", "/no/such/env", "busybox", "true"}},
			{"stop signal", []string{"SIGNOTHING"}, []string{"--stop-signal", "SIGNOTHING", "busybox", "true"}},
			{"detach keys", []string{"ctrl-ü"}, []string{"--detach-keys", "ctrl-ü", "busybox", "true"}},
			{"host name with a newline", []string{"host"}, []string{"--hostname", "a\nb", "busybox", "true"}},
			{"pull policy", []string{"sometimes"}, []string{"--pull", "sometimes", "busybox", "true"}},
			{"no command", []string{"command"}, []string{"--entrypoint", "", "host"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				e.t = t
				r := e.run(append([]string{"run", "--rm"}, c.args...)...)
				if r.code != 125 && r.code != 126 && r.code != 127 {
					t.Errorf("want exit 125, 126 or 127: %v", r)
					return
				}
				checkFailure(t, r, r.code, c.words)
			})
		}
		e.t = t
		expect(t, "containers left", e.must("ps", "-a", "--format", "{{.Names}}"), "taken")
		for _, id := range []string{"a b", "../taken", "", "taken/..", strings.Repeat("a", 300), "x\ny"} {
			e.mustFail(1, nil, "inspect", id)
			if r := e.run("rm", "-f", id+"/"); r.code > 1 || r.code < 0 { // Docker's is content when there is none
				t.Error(r)
			}
			e.mustFail(1, nil, "logs", id)
			e.mustFail(1, nil, "exec", id, "true")
		}
		expect(t, "containers left", e.must("ps", "-a", "--format", "{{.Names}}"), "taken")
	})
}

// What a container's own files say of users never stops the engine or reaches further than they may.
func TestForeignUserFiles(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.busybox()
		for name, script := range map[string]string{
			"a link to the host's":  "rm /etc/passwd; ln -s /proc/1/root/etc/shadow /etc/passwd",
			"a directory":           "rm /etc/passwd; mkdir /etc/passwd",
			"a pipe":                "rm /etc/passwd; mkfifo /etc/passwd",
			"a device":              "rm /etc/passwd; ln -s /dev/zero /etc/passwd",
			"lines of nonsense":     "printf ':::::\\nworker:x:99999999999:1::/:\\nworker' >/etc/passwd",
			"a line without an end": "head -c 30000000 /dev/zero | tr '\\0' a >/etc/passwd",
		} {
			t.Run(name, func(t *testing.T) {
				e.t = t
				e.must("create", "--name", "c", "-u", "0:0", "busybox", "sh", "-c", "[ -e /changed ] || { touch /changed; "+script+"; }")
				e.must("start", "-a", "c")
				if r := e.run("start", "-a", "c"); r.code != 0 { // which may be refused, but in time and with one line
					checkFailure(t, r, 125, []string{"/etc/passwd"})
				}
				e.must("rm", "c")
			})
		}
	})
}

func TestLopeWrongInput(t *testing.T) {
	r := newRuntime(t)
	for _, id := range []string{"a b", "../x", "", "a/b", ".", "..", strings.Repeat("x", 1100), "a\nb"} {
		got := r.run("create", "--bundle", r.bundle, id)
		if got.code == 0 {
			t.Errorf("id %.20q accepted", id)
		}
		if len(id) < 100 {
			checkFailure(t, got, got.code, []string{"id"})
		}
	}
	for _, c := range []struct {
		name  string
		words []string
		json  string // replaces config.json, or a jq-like path=value below
	}{
		{"not JSON", []string{"config.json"}, "{"},
		{"a list", []string{"config.json"}, "[]"},
		{"empty", []string{"config.json"}, ""},
		{"args is a string", []string{"process.args"}, r.with("process.args", "true")},
		{"no args", []string{"process.args"}, r.with("process.args", []string{})},
		{"relative cwd", []string{"process.cwd"}, r.with("process.cwd", "tmp")},
		{"negative uid", []string{"process.user.uid"}, r.with("process.user.uid", -1)},
		{"huge uid", []string{"process.user.uid"}, r.with("process.user.uid", 1<<33)},
		{"unknown namespace", []string{"linux.namespaces", "flat"}, r.with("linux.namespaces", []any{map[string]any{"type": "flat"}})},
		{"a namespace twice", []string{"linux.namespaces"}, r.with("linux.namespaces", []any{map[string]any{"type": "mount"}, map[string]any{"type": "mount"}})},
		{"namespace path", []string{"/no/such/ns"}, r.with("linux.namespaces", []any{map[string]any{"type": "mount"}, map[string]any{"type": "uts"}, map[string]any{"type": "ipc", "path": "/no/such/ns"}})},
		{"no root", []string{"root"}, r.with("root", nil)},
		{"root not there", []string{"/no/such/root"}, r.with("root.path", "/no/such/root")},
		{"mount source", []string{"/no/such/source"}, r.with("mounts", []any{map[string]any{"destination": "/mnt", "type": "bind", "source": "/no/such/source", "options": []string{"bind"}}})},
		{"relative mount without type", []string{"mounts"}, r.with("mounts", []any{map[string]any{"destination": ""}})},
		{"rlimit", []string{"RLIMIT_HOPE"}, r.with("process.rlimits", []any{map[string]any{"type": "RLIMIT_HOPE", "soft": 1, "hard": 1}})},
		{"rlimit soft above hard", []string{"rlimit"}, r.with("process.rlimits", []any{map[string]any{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 1}})},
		{"seccomp action", []string{"SCMP_ACT_HOPE"}, r.with("linux.seccomp", map[string]any{"defaultAction": "SCMP_ACT_HOPE"})},
		{"sysctl out of namespace", []string{"kernel.panic"}, r.with("linux.sysctl", map[string]any{"kernel.panic": "1"})},
		{"sysctl with dots", []string{"sysctl"}, r.with("linux.sysctl", map[string]any{"../../x": "1"})},
		{"oom score", []string{"oomScoreAdj"}, r.with("process.oomScoreAdj", 4000)},
		{"version", []string{"ociVersion"}, r.with("ociVersion", "9.9.9")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(r.bundle, "config.json"), []byte(c.json), 0o600); err != nil {
				t.Fatal(err)
			}
			r.t = t
			got := r.run("run", "--bundle", r.bundle, "bad")
			if got.code == 0 {
				t.Errorf("accepted: %v", got)
				return
			}
			checkFailure(t, got, got.code, c.words)
			if left := r.run("list", "-q"); left.stdout != "" {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
