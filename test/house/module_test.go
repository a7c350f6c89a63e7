package house_test

import (
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// direct are the modules that this one depends on itself, and why each is there.
var direct = map[string]string{
	"github.com/docker/go-units":             "sizes and durations read and written as Docker's command line does",
	"github.com/godbus/dbus/v5":              "systemd as the manager of cgroups; 12 µs at every start and 0.8 MB",
	"github.com/klauspost/compress":          "zstd, and gzip written faster than by the standard library",
	"github.com/moby/profiles/seccomp":       "the tests compare the default profile with Docker's",
	"github.com/moby/sys/capability":         "names and sets of capabilities",
	"github.com/moby/sys/mountinfo":          "/proc/self/mountinfo parsed",
	"github.com/moby/sys/signal":             "names of signals as Docker's command line has them",
	"github.com/moby/sys/user":               "passwd, group and subuid files parsed",
	"github.com/opencontainers/runtime-spec": "config.json's types",
	"github.com/mailru/easyjson":             "the generated code for config.json and the engine's own files: encoding/json takes a millisecond for the first one",
	"github.com/pelletier/go-toml/v2":        "configuration files; nothing at init",
	"github.com/spf13/cobra":                 "commands, flags, completions and manual pages from one description",
	"github.com/spf13/pflag":                 "flags as Docker's command line has them",
	"golang.org/x/crypto":                    "cosign's encrypted private keys: scrypt and NaCl's secretbox",
	"golang.org/x/sys":                       "system calls",
	"golang.org/x/term":                      "raw terminals",
	"golang.org/x/net":                       "BPF filters run by the tests",

	// For the tests alone.
	"github.com/distribution/reference":      "image names: the oracle that ours are compared with",
	"github.com/google/go-cmp":               "differences that a person can read",
	"github.com/google/go-containerregistry": "a registry in memory",
	"github.com/rogpeppe/go-internal":        "scenario tests of the commands",
	"go.yaml.in/yaml/v3":                     "registries.d: the oracle that our reader is compared with",
}

func goMod(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(env.Source(), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDirectDependencies(t *testing.T) { checkDirect(t, goMod(t), direct) }

// checkDirect compares what a go.mod requires with a list that has a reason for each.
func checkDirect(t *testing.T, goMod string, direct map[string]string) {
	t.Helper()
	have := map[string]bool{}
	for line := range strings.Lines(goMod) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "require ")
		if strings.HasSuffix(line, "// indirect") || !strings.Contains(line, " v") || strings.HasPrefix(line, "//") {
			continue
		}
		path, _, _ := strings.Cut(line, " ")
		have[path] = true
		if direct[path] == "" {
			t.Errorf("go.mod requires %s, which is not in the list with a reason", path)
		}
	}
	for path := range direct {
		if !have[path] {
			t.Errorf("%s is in the list, but go.mod does not require it", path)
		}
	}
}

// A replace directive makes "go install" of this module impossible.
func TestNoReplace(t *testing.T) {
	for line := range strings.Lines(goMod(t)) {
		if strings.HasPrefix(strings.TrimSpace(line), "replace") {
			t.Errorf("go.mod: %s", line)
		}
	}
}

func TestModuleIsTidy(t *testing.T) { checkTidy(t, env.Source()) }

func checkTidy(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("go", "mod", "tidy", "-diff")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "dial tcp") || strings.Contains(string(out), "proxy") {
			t.Skipf("needs the module proxy: %s", strings.TrimSpace(string(out)))
		}
		t.Errorf("go mod tidy would change:\n%s", out)
	}
}

// Words that have no place in the code: notes to oneself, and names of packages that say nothing.
func TestForbiddenWords(t *testing.T) {
	own := filepath.Join("test", "house")
	for _, s := range allSources(t) {
		if s.Dir == own {
			continue
		}
		for _, word := range []string{"TO" + "DO", "FIX" + "ME", "X" + "XX", "H" + "ACK"} {
			if strings.Contains(s.Text, word) {
				t.Errorf("%s says %q", s.Path, word)
			}
		}
		if name := s.File.Name.Name; name == "util" || name == "utils" || name == "common" || name == "helpers" {
			t.Errorf("%s: package %s says nothing", s.Path, name)
		}
	}
}

// Documents name files and commands; those must be there.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	root := env.Source()
	for _, document := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs/security.md", "docs/benchmarks.md", "docs/lope.md", "docs/loper-verify.md", "docs/runtime-spec.md"} {
		data, err := os.ReadFile(filepath.Join(root, document))
		if err != nil {
			t.Error(err)
			continue
		}
		for part := range strings.SplitSeq(string(data), "](") {
			target, _, ok := strings.Cut(part, ")")
			if !ok || strings.Contains(target, "://") || strings.ContainsAny(target, " #\n") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(document), target)); err != nil && part != string(data) {
				t.Errorf("%s links to %s, which is not there", document, target)
			}
		}
		// `path/file.go` and `path/` in backquotes.
		for i, quoted := range strings.Split(string(data), "`") {
			if i%2 == 1 && strings.HasSuffix(quoted, ".go") && strings.Contains(quoted, "/") && !strings.ContainsAny(quoted, " *\n") {
				if _, err := os.Stat(filepath.Join(root, quoted)); err != nil {
					t.Errorf("%s names %s, which is not there", document, quoted)
				}
			}
		}
	}
}

// The tests that documents name as keepers of a promise are there.
func TestDocumentsNameTests(t *testing.T) {
	names := map[string]bool{}
	for _, s := range allSources(t) {
		for _, decl := range s.File.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.Test {
				names[f.Name.Name] = true
			}
		}
	}
	for _, document := range []string{"docs/security.md", "docs/runtime-spec.md", "docs/loper-verify.md"} {
		data, err := os.ReadFile(filepath.Join(env.Source(), document))
		if err != nil {
			t.Fatal(err)
		}
		for i, quoted := range strings.Split(string(data), "`") {
			if i%2 == 1 && (strings.HasPrefix(quoted, "Test") || strings.HasPrefix(quoted, "Fuzz")) && !names[quoted] {
				t.Errorf("%s names %s, which is not there", document, quoted)
			}
		}
	}
}

// ARCHITECTURE.md's walk is a table of files and functions: | `file` | `function` | …
func TestArchitectureWalk(t *testing.T) {
	functions := map[string]bool{}
	for _, s := range allSources(t) {
		for _, decl := range s.File.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				functions[s.Path+" "+f.Name.Name] = true
			}
		}
	}
	data, err := os.ReadFile(filepath.Join(env.Source(), "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for line := range strings.Lines(string(data)) {
		words := strings.Split(line, "`")
		if !strings.HasPrefix(line, "| `") || len(words) < 4 || !strings.HasSuffix(words[1], ".go") {
			continue
		}
		steps++
		if !functions[words[1]+" "+words[3]] {
			t.Errorf("ARCHITECTURE.md: %s has no function %s", words[1], words[3])
		}
	}
	if steps < 5 {
		t.Errorf("ARCHITECTURE.md: a walk of %d steps", steps)
	}
}
