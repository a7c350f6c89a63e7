package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// rooms says what a room may import of the others, besides itself and internal/. Arrows point down.
var rooms = map[string][]string{
	"launch":    {},
	"runtime":   {"launch"},
	"image":     {},
	"network":   {},
	"container": {"image", "runtime", "launch", "network"},
	"build":     {"container", "image", "runtime", "network"},
	"cmd":       {"container", "build", "image", "runtime", "launch", "network"},
	"internal":  {},
	"test":      {"container", "image", "runtime", "launch", "network"},
}

// A lower room never imports a higher one: runtime knows nothing of images, image nothing of containers.
func TestImportsPointDown(t *testing.T) {
	for _, s := range allSources(t) {
		room, _, _ := strings.Cut(s.Dir, "/")
		allowed, ok := rooms[room]
		if !ok {
			t.Errorf("%s: %s is not a room of the house", s.Path, room)
			continue
		}
		own, _ := imports(s)
		for _, path := range own {
			// Launch's and runtime's needs are their own; small helpers and test helpers serve all.
			if within(path, room, "internal") || s.Test && within(path, "test/env") || within(path, allowed...) {
				continue
			}
			// A user namespace is entered by a program of system calls.
			if room == "internal" && within(s.Dir, "internal/userns", "internal/netns") && within(path, "launch") {
				continue
			}
			t.Errorf("%s imports %s: %s may import only %v and internal", s.Path, path, room, allowed)
		}
	}
}

// The small room at the bottom depends on nothing but the kernel.
func TestLaunchStandsAlone(t *testing.T) {
	for _, s := range allSources(t) {
		if s.Test || !within(s.Dir, "launch") {
			continue
		}
		_, foreign := imports(s)
		for _, path := range foreign {
			if strings.Contains(path, ".") && path != "golang.org/x/sys/unix" {
				t.Errorf("%s imports %s", s.Path, path)
			}
		}
	}
}

// What must not be linked into a program, and why: it pays at every start, and in the memory of every monitor.
var banned = map[string]map[string]string{
	"cmd/lope": {
		"net/http":               "5 MB and 0.7 ms at every start",
		"crypto/tls":             "lope never speaks to a network",
		"text/template":          "reflect.Method turns the linker's dead code elimination off",
		"regexp":                 "compiled at init, or slow at use",
		"github.com/spf13/cobra": "1 ms at every start",
		module + "/image":        "a runtime knows nothing of images",
	},
	"cmd/loper": {
		"github.com/distribution/reference":               "0.5 MB of regular expressions at every start; the tests compare with it",
		"github.com/opencontainers/go-digest":             "regular expressions at every start",
		"github.com/google/go-containerregistry/pkg/name": "a registry for tests, not a client",
		"html/template": "",
		"plugin":        "the host never loads code",
		"C":             "no C",
	},
}

func TestLinkedPackages(t *testing.T) {
	for program, packages := range banned {
		if _, err := os.Stat(filepath.Join(env.Source(), program)); err != nil {
			t.Errorf("%s: %v", program, err)
			continue
		}
		linked := dependencies(t, program)
		for path, reason := range packages {
			if linked[path] && reason != "" {
				t.Errorf("%s links %s: %s", program, path, reason)
			}
		}
		if linked["runtime/cgo"] {
			t.Errorf("%s links C", program)
		}
	}
}

// Programs are static, and small enough to be read into memory fast.
func TestProgramSizes(t *testing.T) {
	dir := t.TempDir()
	if err := env.Build(dir); err != nil {
		t.Fatal(err)
	}
	for program, limit := range map[string]int64{"loper": 18 << 20, "lope": 7 << 20} {
		checkProgram(t, filepath.Join(dir, program), limit)
	}
}

// checkProgram checks that a program is static, and has no more bytes than the limit.
func checkProgram(t *testing.T, path string, limit int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > limit {
		t.Errorf("%s has %d bytes, more than %d", info.Name(), info.Size(), limit)
	}
	out, _ := exec.Command("readelf", "--wide", "--program-headers", path).Output()
	if strings.Contains(string(out), "INTERP") || strings.Contains(string(out), "(Position-Independent") {
		t.Errorf("%s is not a static program at a fixed address", info.Name())
	}
}
