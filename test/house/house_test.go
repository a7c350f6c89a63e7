// Package house_test holds the rules that the repository keeps itself to, and checks them: who may import whom, what is
// linked into which program, how long a file may be, where unsafe code lives, and which calls are not made.
package house_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"loper.run/test/env"
)

const module = "loper.run"

// source is one Go file of the module, parsed.
type source struct {
	Path  string // from the module's directory
	Dir   string
	Test  bool
	Lines int
	Text  string
	File  *ast.File
}

var fileSet = token.NewFileSet()

// sources are all Go files that git would keep, generated ones too.
var sources = sync.OnceValues(func() ([]source, error) {
	root := env.Source()
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fileSet, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(text), "//go:build ignore") {
			return nil // a generator: part of no program
		}
		relative, _ := filepath.Rel(root, path)
		all = append(all, source{Path: relative, Dir: filepath.Dir(relative), Test: strings.HasSuffix(path, "_test.go"), Lines: strings.Count(string(text), "\n"), Text: string(text), File: file})
		return nil
	})
	return all, err
})

func allSources(t *testing.T) []source {
	t.Helper()
	all, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// within says whether dir is one of the rooms or below one.
func within(dir string, rooms ...string) bool {
	for _, r := range rooms {
		if dir == r || strings.HasPrefix(dir, r+"/") {
			return true
		}
	}
	return false
}

// imports are the module's own packages that a file imports, from the module's directory, and the foreign ones.
func imports(s source) (own, foreign []string) {
	for _, spec := range s.File.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		if rest, ok := strings.CutPrefix(path, module+"/"); ok {
			own = append(own, rest)
		} else {
			foreign = append(foreign, path)
		}
	}
	return own, foreign
}

// dependencies are the packages linked into a program.
func dependencies(t *testing.T, program string) map[string]bool {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath", "./"+program)
	cmd.Dir = env.Source()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", program, err)
	}
	set := map[string]bool{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p struct{ ImportPath string }
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		set[p.ImportPath] = true
	}
	return set
}
