package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/go-units"
)

// dfLine is a line of `system df --format json`.
type dfLine struct {
	Type, TotalCount, Active string
	RawSize, RawReclaimable  int64
}

func (e *engine) df() map[string]dfLine {
	e.t.Helper()
	lines := map[string]dfLine{}
	for line := range strings.Lines(e.must("system", "df", "--format", "json")) {
		var l dfLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			e.t.Fatal(err)
		}
		lines[l.Type] = l
	}
	return lines
}

// du is what du says that the engine's root takes, in bytes.
func (e *engine) du() int64 {
	e.t.Helper()
	out, err := exec.Command("du", "-sx", "-B1", e.root).Output()
	if err != nil {
		e.t.Skipf("needs du: %v", err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if err != nil {
		e.t.Fatal(err)
	}
	return n
}

// sameAsDu checks that df counts everything that there is.
func (e *engine) sameAsDu(when string) map[string]dfLine {
	e.t.Helper()
	lines := e.df()
	if got, want := lines["Total"].RawSize, e.du(); got != want {
		e.t.Errorf("%s: df says %d bytes, du says %d", when, got, want)
	}
	return lines
}

// populate makes an engine have some of everything.
func (e *engine) populate() (base, above string) {
	e.t.Helper()
	base, above = madeTwice(e.t, e)
	e.must("tag", base, "kept:1")
	e.must("run", "--name", "over", "-v", "/anonymous", "--label", "who=me", base, "sh", "-c", "echo said; echo 12345678 >/written; echo x >/anonymous/y")
	e.must("run", "-d", "--name", "up", "-v", "named:/data", base, "sh", "-c", "echo up; exec sleep 1000")
	e.must("volume", "create", "--label", "a=b", "idle")
	for path, body := range map[string]string{"image/partial/sha256-" + strings.Repeat("a", 64): strings.Repeat("x", 20000), "image/staging/half/diff/file": "x"} {
		path = filepath.Join(e.root, path)
		os.MkdirAll(filepath.Dir(path), 0o700)
		e.writeFile(path, body, 0o600)
		for dir := filepath.Dir(path); e.user != nil && dir != filepath.Join(e.root, "image"); dir = filepath.Dir(dir) {
			e.user.Own(dir)
		}
	}
	return base, above
}

func TestSystemDf(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		e.sameAsDu("empty")
		e.populate()
		lines := e.sameAsDu("populated")
		for kind, want := range map[string][2]string{"Images": {"2", "1"}, "Containers": {"2", "1"}, "Local Volumes": {"3", "2"}, "Build Cache": {"0", "0"}} {
			if l := lines[kind]; l.TotalCount != want[0] || l.Active != want[1] {
				t.Errorf("%s: %+v, want %v", kind, l, want)
			}
		}
		for _, kind := range []string{"Images", "Containers", "Logs", "Downloads", "Other", "Local Volumes"} {
			if lines[kind].RawSize <= 0 || lines[kind].RawSize <= lines[kind].RawReclaimable && kind != "Downloads" {
				t.Errorf("%s: %+v", kind, lines[kind])
			}
		}
		// What can be reclaimed is what is reclaimed.
		before, lines := e.du(), e.df()
		told := e.must("image", "prune", "-af")
		after := e.sameAsDu("pruned")
		freed := before - e.du()
		if space := lines["Images"].RawReclaimable + lines["Downloads"].RawSize - after["Downloads"].RawSize; freed != space {
			t.Errorf("freed %d, df said %d", freed, space)
		}
		if after["Images"].RawReclaimable != 0 {
			t.Errorf("still to be reclaimed: %+v", after["Images"])
		}
		if want := "Total reclaimed space: " + units.HumanSize(float64(freed)); !strings.HasSuffix(told, want) {
			t.Errorf("%s\nwant %s", told, want)
		}
		// A file with two names counts once.
		files, _ := filepath.Glob(filepath.Join(e.root, "image/layer/sha256/*/diff"))
		if err := os.Link(filepath.Join(files[0], "bin/busybox"), filepath.Join(e.root, "volume/idle/_data/same")); err != nil {
			t.Fatal(err)
		}
		e.sameAsDu("linked")
		table := e.must("system", "df")
		if !strings.HasPrefix(table, "TYPE            TOTAL     ACTIVE    SIZE") || !strings.Contains(table, "RECLAIMABLE") {
			t.Errorf("table:\n%s", table)
		}
		details := e.must("system", "df", "-v")
		for _, want := range []string{"Images space usage:\n\nREPOSITORY", "SHARED SIZE   UNIQUE SIZE   CONTAINERS", "\nContainers space usage:\n\nCONTAINER ID", "\nLocal Volumes space usage:\n\nVOLUME NAME", "idle", "Build cache usage: 0B"} {
			if !strings.Contains(details, want) {
				t.Errorf("details lack %q:\n%s", want, details)
			}
		}
	})
}

func TestPrune(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		base, above := e.populate()
		// Asked, and told no.
		r := e.feed("n\n", "system", "prune", "-a", "--volumes")
		if r.code != 0 || !strings.Contains(r.stdout, "WARNING! This will remove:\n  - all stopped containers\n") || !strings.HasSuffix(r.stdout, "continue? [y/N] ") {
			t.Errorf("%v", r)
		}
		all := e.must("ps", "-aq") + e.must("images", "-q") + e.must("volume", "ls", "-q")
		dry := e.must("system", "prune", "-a", "--volumes", "--dry-run")
		expect(t, "after the answer no, and after a dry run", e.must("ps", "-aq")+e.must("images", "-q")+e.must("volume", "ls", "-q"), all)

		// Filters that match nothing.
		for _, args := range [][]string{
			{"container", "prune", "-f", "--filter", "label=who=you"}, {"container", "prune", "-f", "--filter", "label!=who"}, {"container", "prune", "-f", "--filter", "until=1h"},
			{"image", "prune", "-af", "--filter", "label=x"}, {"volume", "prune", "-af", "--filter", "label=a=c"}, {"volume", "prune", "-f"},
		} {
			if out := e.must(args...); strings.Contains(out, "Deleted") || args[0] != "image" && out != "Total reclaimed space: 0B" {
				t.Errorf("%v: %s", args, out)
			}
		}
		out := e.must("container", "prune", "-f", "--filter", "label=who=me", "--filter", "until=0s")
		if lines := strings.Split(out, "\n"); len(lines) != 4 || lines[0] != "Deleted Containers:" || !strings.HasPrefix(lines[3], "Total reclaimed space: ") {
			t.Errorf("%q", lines)
		}
		if out := e.must("volume", "prune", "-f"); strings.Count(out, "\n") != 3 || !strings.HasPrefix(out, "Deleted Volumes:\n") {
			t.Error(out)
		}
		out = e.must("volume", "prune", "-af")
		if !strings.Contains(out, "Deleted Volumes:\nidle\n\n") {
			t.Error(out)
		}
		expect(t, "volumes", e.must("volume", "ls", "-q"), "named")
		// Only what nobody uses.
		if out := e.must("image", "prune", "-f"); out != "Total reclaimed space: 0B" && !strings.HasPrefix(out, "Total reclaimed space: ") {
			t.Error(out)
		}
		out = e.must("image", "prune", "-af")
		if !strings.Contains(out, "Deleted Images:\nuntagged: "+above+"\n") || strings.Contains(out, base) {
			t.Error(out)
		}
		expect(t, "the container that runs", e.must("exec", "up", "echo", "alive"), "alive")
		e.must("rm", "-f", "up")
		if out := e.must("system", "prune", "-af", "--volumes"); !strings.Contains(out, "untagged: kept:1") {
			t.Error(out)
		}
		expect(t, "images", e.must("images", "-aq"), "")
		lines := e.sameAsDu("pruned")
		if lines["Total"].RawReclaimable != lines["Local Volumes"].RawReclaimable || lines["Downloads"].RawSize > 16<<10 {
			t.Errorf("left to reclaim: %+v", lines)
		}
		if !strings.Contains(dry, "Would delete Containers:\n") || !strings.Contains(dry, "Would delete Images:\nuntagged: "+above) || strings.Contains(dry, base) || !strings.Contains(dry, "Total reclaimable space: ") {
			t.Errorf("dry run: %s", dry)
		}
		e.mustFail(1, []string{"invalid filter 'size'"}, "image", "prune", "-f", "--filter", "size=1")
		e.mustFail(1, []string{`The "until" filter is not supported with "--volumes"`}, "system", "prune", "-f", "--volumes", "--filter", "until=1h")
	})
}
