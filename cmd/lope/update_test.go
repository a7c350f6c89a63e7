package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The events of a container come as lines until it ends.
func TestEvents(t *testing.T) {
	b := newBox(t)
	limit := int64(16 << 20)
	b.spec.Linux.Resources.Memory = memoryLimit(limit)
	b.program("sh", "-c", "while ! test -e /go; do sleep 0.02; done; x=x; while :; do x=$x$x; done")
	b.want(0, "", "run", "-d", "c")
	cmd := b.command("events", "--interval", "50ms", "c")
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(cmd.Start())
	type line struct{ Type, ID string }
	lines := make(chan line, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			var l line
			if err := json.Unmarshal(s.Bytes(), &l); err != nil || l.ID != "c" {
				t.Errorf("line %q: %v", s.Text(), err)
			}
			lines <- l
		}
	}()
	seen := map[string]int{}
	deadline := time.After(20 * time.Second)
	for open := true; open; {
		select {
		case l, ok := <-lines:
			if open = ok; ok {
				seen[l.Type]++
			}
			if seen["stats"] == 2 {
				b.must(os.WriteFile(filepath.Join(b.bundle, "rootfs/go"), nil, 0o600))
			}
		case <-deadline:
			t.Fatalf("no end; so far %v", seen)
		}
	}
	b.must(cmd.Wait())
	if seen["stats"] < 2 || seen["oom"] == 0 {
		t.Errorf("events %v", seen)
	}
	b.want(1, "greater than 0", "events", "--interval", "0s", "c")
	b.want(1, "is not running", "events", "--stats", "c")
}

// Mounts come and go in a running container, and what is wrong in the file is
// named.
func TestMounts(t *testing.T) {
	b := newBox(t)
	b.must(os.MkdirAll(filepath.Join(b.bundle, "source"), 0o755))
	b.must(os.WriteFile(filepath.Join(b.bundle, "source/file"), []byte("here\n"), 0o644))
	b.program("sleep", "1000")
	before := b.host()
	b.want(0, "", "run", "-d", "c")
	file := filepath.Join(t.TempDir(), "mounts.json")
	write := func(text string) string {
		b.must(os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	for _, text := range []string{
		`[{"destination": "/a", "type": "bind", "source": "source", "options": ["bind", "ro"]}]`,
		`{"mounts": [{"destination": "/a", "type": "bind", "source": "source", "options": ["bind", "ro"]}]}`,
	} {
		b.want(0, "", "mounts", "add", "c", write(text))
		b.want(0, "here", "exec", "c", "cat", "/a/file")
		b.want(1, "", "exec", "c", "sh", "-c", "2>/dev/null echo >/a/other")
		b.want(0, "", "mounts", "remove", "c", write(`[{"destination": "/a"}]`))
		b.want(1, "No such file", "exec", "c", "cat", "/a/file")
	}
	for text, says := range map[string]string{
		`[{"destination": ""}]`:         "mounts[0].destination",
		`[{"destination": 5}]`:          "mounts.destination",
		`{"mounts": "x"}`:               file + ": mounts",
		`[`:                             file + ": line 1",
		`[]}, "hooks": {"poststop": []`: file + ": line 1",
		"":                              file,
	} {
		b.want(1, says, "mounts", "add", "c", write(text))
	}
	b.want(1, "no such file", "mounts", "add", "c", "/nowhere")
	b.want(1, `but not "move"`, "mounts", "move", "c", file)
	b.want(1, "are expected", "mounts", "add", "c")
	b.want(0, "", "delete", "--force", "c")
	b.clean(before, "all")
}

// What a process file and exec's flags say is what the process has.
func TestExecFlags(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "1000")
	b.want(0, "", "run", "-d", "c")
	status := func(args ...string) string {
		t.Helper()
		return b.want(0, "Name:", append(append([]string{"exec"}, args...), "c", "cat", "/proc/self/status")...).out
	}
	for _, v := range []struct{ flag, want string }{
		{"--no-new-privs", "NoNewPrivs:\t1"}, {"--no-new-privs=false", "NoNewPrivs:\t0"}, {"--user=12:34", "Uid:\t12\t12\t12\t12"},
		{"--additional-gids=77", "Groups:\t77"}, {"--cap=CAP_SYS_TIME", "CapBnd:\t0000000022000420"},
	} {
		if text := status(v.flag); !strings.Contains(text, v.want) {
			t.Errorf("%s: %s", v.flag, text)
		}
	}
	if r := b.want(0, "", "exec", "--env", "A=1", "--env", "A=2", "-e", "B=3,4", "c", "sh", "-c", "echo $A $B"); r.out != "2 3,4\n" {
		t.Errorf("said %q", r.out)
	}
	file := filepath.Join(t.TempDir(), "process.json")
	write := func(text string) string {
		b.must(os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	if r := b.want(9, "", "exec", "--process", write(`{"args": ["sh", "-c", "pwd; exit 9"], "cwd": "/bin", "env": ["PATH=/bin"], "user": {"uid": 3}}`), "--user", "5", "c"); r.out != "/bin\n" {
		t.Errorf("said %q", r.out)
	}
	for text, says := range map[string]string{
		`{"args": "sh"}`:              file + ": process.args: is a string",
		`{"args": ["sh"]}`:            "process.cwd",
		`{"cwd": "/"}`:                "process.args",
		`{`:                           file + ": line 1",
		`null`:                        "has no process",
		`{}}, "linux": {"x": {}`:      file + ": line 1",
		`{"args": ["sh"], "cwd": ""}`: "process.cwd",
	} {
		b.want(255, says, "exec", "--process", write(text), "c")
	}
	b.want(255, "no such file", "exec", "-p", "/nowhere", "c")
	b.want(255, "a command, or --process", "exec", "c")
	b.want(255, "a container id", "exec")
	b.want(255, "--cgroup", "exec", "--cgroup", "a", "--cgroup", "b", "c", "true")
	if r := b.want(0, "", "--debug", "exec", "c", "true"); !strings.Contains(r.err, "level=debug") || !strings.Contains(r.err, "setns") {
		t.Errorf("said %q", r.err)
	}
}

// A container without cgroups of its own is in those of its maker.
func TestWithoutCgroups(t *testing.T) {
	b := newBox(t)
	b.program("cat", "/proc/self/cgroup")
	for i, n := range b.spec.Linux.Namespaces {
		if n.Type == "cgroup" {
			b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces[:i], b.spec.Linux.Namespaces[i+1:]...)
			break
		}
	}
	b.spec.Linux.Resources = nil
	b.write()
	r := b.want(0, "", "--cgroup-manager", "disabled", "run", "c")
	own, err := os.ReadFile("/proc/self/cgroup")
	b.must(err)
	if r.out != string(own) {
		t.Errorf("in %q, not %q", r.out, own)
	}
	b.want(1, "cgroupfs, systemd and disabled", "--cgroup-manager", "other", "list")
	b.want(1, "true, false and auto", "--rootless", "maybe", "list")
	for _, value := range []string{"true", "false", "auto"} {
		b.want(0, "", "--rootless", value, "run", "c")
	}
}

// Limits come from standard input too.
func TestUpdateFromInput(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "1000")
	b.want(0, "", "run", "-d", "c")
	from := func(text string) result {
		cmd := b.command("update", "--resources", "-", "c")
		cmd.Stdin = strings.NewReader(text)
		return b.finish(cmd)
	}
	if r := from(`{"pids": {"limit": 33}}`); r.code != 0 {
		t.Errorf("%+v", r)
	}
	var e struct {
		Data struct{ Pids struct{ Limit uint64 } }
	}
	b.must(json.Unmarshal([]byte(b.want(0, "", "events", "--stats", "c").out), &e))
	if e.Data.Pids.Limit != 33 {
		t.Errorf("the limit is %d", e.Data.Pids.Limit)
	}
	for text, says := range map[string]string{
		`{"pids": {"limit": "x"}}`: "-: linux.resources.pids.limit: is a string",
		`{`:                        "-: line 1",
		`null`:                     "-: has no limits",
	} {
		if r := from(text); r.code != 1 || !strings.Contains(r.err, says) {
			t.Errorf("%s: %+v", text, r)
		}
	}
}
