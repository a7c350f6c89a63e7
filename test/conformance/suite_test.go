package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"loper.run/test/env"
)

// suite is the built programs, and the directory that they run in.
type suite struct {
	bin      string
	dir      string // they look there for runtimetest and the root file system
	programs []string
}

// insideProgram runs in the containers, and reports there.
const insideProgram = "runtimetest"

func (s *suite) program(name string) string { return filepath.Join(s.bin, name) }

// buildSuite builds the programs that suite/go.mod pins. They are kept: linking them takes a quarter of a minute.
func buildSuite(dir string) (*suite, error) {
	bin, err := env.Cache("conformance")
	if err != nil {
		return nil, err
	}
	s := &suite{bin: bin, dir: filepath.Join(dir, "suite")}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := goTool("build", "-trimpath", "-ldflags=-s -w", "-o", bin+"/", "tool"); err != nil {
		return nil, err
	}
	overlay, err := keepLimits(dir)
	if err != nil {
		return nil, err
	}
	if _, err := goTool("build", "-trimpath", "-ldflags=-s -w", "-overlay", overlay, "-o", s.dir+"/", "github.com/opencontainers/runtime-tools/cmd/"+insideProgram); err != nil {
		return nil, err
	}
	source, err := goTool("list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-tools")
	if err != nil {
		return nil, err
	}
	const root = "rootfs-amd64.tar.gz"
	data, err := os.ReadFile(filepath.Join(source, root))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, root), data, 0o644); err != nil {
		return nil, err
	}
	tools, err := goTool("list", "-f", "{{.ImportPath}}", "tool")
	if err != nil {
		return nil, err
	}
	for _, path := range strings.Fields(tools) {
		if name := filepath.Base(path); name != insideProgram {
			s.programs = append(s.programs, name)
		}
	}
	return s, nil
}

// keepLimits is an overlay for the go command under which a program finds the limit of open files that it was given. The
// standard library raises it before main, so that the program inside would report the library's doing as the runtime's.
func keepLimits(dir string) (string, error) {
	root, err := goTool("env", "GOROOT")
	if err != nil {
		return "", err
	}
	file := filepath.Join(root, "src/syscall/rlimit.go")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	before, rest, found := bytes.Cut(text, []byte("\nfunc init() {\n"))
	_, after, ends := bytes.Cut(rest, []byte("\n}\n"))
	if !found || !ends {
		return "", fmt.Errorf("%s has no init function to leave out", file)
	}
	changed := filepath.Join(dir, "rlimit.go")
	if err := os.WriteFile(changed, append(append(before, '\n'), after...), 0o644); err != nil {
		return "", err
	}
	data, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, data, 0o644)
}

// goTool runs the go command in the suite's module. The proxy may fail once.
func goTool(args ...string) (string, error) {
	var failed error
	for range 3 {
		cmd := exec.Command("go", args...)
		cmd.Dir = "suite"
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err == nil {
			return strings.TrimSpace(string(out)), nil
		}
		failed = fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return "", failed
}
