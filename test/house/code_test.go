package house_test

import (
	"go/ast"
	"sort"
	"strconv"
	"strings"
	"testing"
)

func TestEveryPackageHasADocComment(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]string{}
	for _, s := range allSources(t) {
		if s.Test && !strings.HasPrefix(s.Dir, "test/") {
			continue
		}
		seen[s.Dir] = s.File.Name.Name
		if s.File.Doc == nil {
			continue
		}
		text := s.File.Doc.Text()
		name := strings.TrimSuffix(s.File.Name.Name, "_test")
		if strings.HasPrefix(text, "Package "+name) || name == "main" && text != "" {
			documented[s.Dir] = true
		}
	}
	for dir := range seen {
		if !documented[dir] {
			t.Errorf("package %s has no doc comment that says what it is", dir)
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range allSources(t) {
		if s.Test || within(s.Dir, "test") || s.File.Name.Name == "main" {
			continue
		}
		for _, decl := range s.File.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && !wellKnown[d.Name.Name] {
					t.Errorf("%s: %s has no doc comment", s.Path, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() && ts.Doc == nil && d.Doc == nil && ts.Comment == nil {
						t.Errorf("%s: type %s has no doc comment", s.Path, ts.Name.Name)
					}
				}
			}
		}
	}
}

// wellKnown are methods whose meaning an interface of the standard library tells.
var wellKnown = map[string]bool{"Error": true, "Unwrap": true, "String": true, "Read": true, "Write": true, "Close": true, "Is": true, "MarshalJSON": true, "UnmarshalJSON": true,
	"MarshalText": true, "UnmarshalText": true, "Len": true, "Less": true, "Swap": true, "Set": true, "Type": true}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	name, ok := typ.(*ast.Ident)
	return ok && name.IsExported()
}

// A file is read in one sitting. Tables may be longer.
func TestFilesAreShort(t *testing.T) {
	const most = 500
	tables := map[string]string{
		"runtime/seccomp/table_amd64.go": "system call numbers",
		"runtime/seccomp/table_arm64.go": "system call numbers",
	}
	var lengths []int
	for _, s := range allSources(t) {
		if s.Test || tables[s.Path] != "" || strings.HasPrefix(s.Text, "// Code generated ") {
			continue
		}
		lengths = append(lengths, s.Lines)
		if s.Lines > most {
			t.Errorf("%s has %d lines, more than %d", s.Path, s.Lines, most)
		}
	}
	sort.Ints(lengths)
	t.Logf("%d files: median %d lines, 9 of 10 up to %d, longest %d", len(lengths), lengths[len(lengths)/2], lengths[len(lengths)*9/10], lengths[len(lengths)-1])
	if median := lengths[len(lengths)/2]; median > 130 {
		t.Errorf("the median file has %d lines", median)
	}
}

// Unsafe code lives in launch. Every other place is here, with its reason.
func TestUnsafeCode(t *testing.T) {
	allowed := map[string]string{
		"test/crash":                     "decides about system calls as a seccomp agent",
		"cmd/loper-net/sock/raw.go":      "calls that never wait, so that Go's scheduler need not know of them",
		"internal/confine/self.go":       "gives up its own rights by calls that take pointers",
		"test/e2e/inside":                "a program of the tests that makes calls which must be refused",
		"runtime/seccompnotify_test.go":  "answers system calls as a seccomp agent",
		"runtime/seccomp/kernel_test.go": "hands filters to the kernel, to see what it answers",
		"runtime/cgroup/bpf.go":          "bpf(2) takes pointers inside of its argument",
	}
	used := map[string]bool{}
	for _, s := range allSources(t) {
		_, foreign := imports(s)
		for _, path := range foreign {
			if path != "unsafe" || within(s.Dir, "launch") {
				continue
			}
			used[s.Path], used[s.Dir] = true, true
			if allowed[s.Path] == "" && allowed[s.Dir] == "" {
				t.Errorf("%s imports unsafe, outside of launch", s.Path)
			}
		}
		if strings.Contains(s.Text, "\n//go:linkname ") && !within(s.Dir, "launch") {
			t.Errorf("%s uses linkname, outside of launch", s.Path)
		}
	}
	for path := range allowed {
		if !used[path] {
			t.Errorf("%s is allowed to use unsafe, but does not", path)
		}
	}
}

// Calls that open a class of known holes, by the rooms that must do without them, and what to use instead.
var bannedCalls = []struct {
	rooms  []string
	calls  []string
	reason string
}{
	{[]string{"launch", "runtime"}, []string{"os.MkdirAll", "os.Create", "os.WriteFile", "os.Chown", "os.Lchown", "os.Chmod", "os.Symlink", "os.Link", "os.RemoveAll", "os.ReadFile", "ioutil.*"},
		"paths in a container's root are its own to change (CVE-2019-16884, CVE-2021-30465, CVE-2025-31133): use descriptors"},
	{[]string{"image/layer"}, []string{"os.*"}, "a layer's names aim where they like (CVE-2021-32760): use the layer's directory descriptor"},
	{[]string{"image", "runtime", "launch", "container"}, []string{"exec.LookPath"}, "what came from an image is never looked for or run on the host (CVE-2026-41567)"},
	{[]string{"image", "runtime", "launch", "container", "cmd"}, []string{"user.Lookup", "user.LookupId", "user.LookupGroup"}, "names are resolved in the container's own files, numbers never as names (CVE-2019-14271)"},
	{[]string{"image", "runtime", "launch", "container", "cmd"}, []string{"regexp.MustCompile"}, "compiled at every start; write the few lines"},
	{[]string{"image", "runtime", "launch", "container"}, []string{"log.*", "os.Exit", "fmt.Print", "fmt.Println", "fmt.Printf"}, "a room returns errors; commands print and exit"},
	{[]string{"image", "runtime", "launch", "container", "cmd"}, []string{"filepath.EvalSymlinks"}, "resolved now, changed later (CVE-2018-15664): open it"},
}

// excused are uses, in a file or a directory, that do not touch what the ban is about.
var excused = map[string]string{
	"launch/shed.go os.ReadFile":                "/proc/self, in the parent",
	"runtime/host.go os.ReadFile":               "/sys, before there is a container",
	"runtime/lock.go os.MkdirAll":               "the runtime's own state directory, which no container sees",
	"runtime/lock.go os.WriteFile":              "the runtime's own state directory",
	"runtime/lock.go os.RemoveAll":              "the runtime's own state directory",
	"runtime/criustreams.go os.ReadFile":        "/proc of a container's process",
	"runtime/restore.go os.ReadFile":            "/proc of criu",
	"runtime/signal.go os.RemoveAll":            "the runtime's own state directory",
	"runtime/starting.go os.RemoveAll":          "the runtime's own state directory",
	"runtime/state.go os.ReadFile":              "the runtime's own state directory, and the bundle's config.json",
	"runtime/cgroup os.ReadFile":                "the host's own cgroup and kernel files, by paths that no container makes",
	"image/layer/sys.go os.ReadFile":            "/proc/self/status",
	"cmd/lope/state.go user.LookupId":           "the host's name of a user of the host, who made the container, for people to read",
	"image/registry/helper.go exec.LookPath":    "a credential helper that the user's own configuration names",
	"image/trust/verifier.go exec.LookPath":     "loper-verify, by its name, from the user's own PATH",
	"container/gather.go filepath.EvalSymlinks": "the engine's own directories, to be hidden in a container of the host's root",
}

func TestBannedCalls(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range allSources(t) {
		if s.Test {
			continue
		}
		ast.Inspect(s.File, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if !ok || pkg.Obj != nil { // a variable, not a package
				return true
			}
			name := pkg.Name + "." + sel.Sel.Name
			for _, ban := range bannedCalls {
				if !within(s.Dir, ban.rooms...) || !matches(ban.calls, name, pkg.Name) || !importsPackage(s, pkg.Name) {
					continue
				}
				file, dir := s.Path+" "+name, s.Dir+" "+name
				if excused[file] != "" || excused[dir] != "" {
					seen[file], seen[dir] = true, true
					continue
				}
				t.Errorf("%s:%d: %s: %s", s.Path, fileSet.Position(sel.Pos()).Line, name, ban.reason)
			}
			return true
		})
	}
	for use := range excused {
		if !seen[use] {
			t.Errorf("%s is excused but not there", use)
		}
	}
}

// harmless are names of package os that take no path.
var harmless = map[string]bool{
	"os.File": true, "os.NewFile": true, "os.ErrNotExist": true, "os.ErrExist": true, "os.FileMode": true, "os.PathError": true, "os.Getpagesize": true, "os.NewSyscallError": true,
	"os.ErrInvalid": true, "os.ErrPermission": true, "os.Geteuid": true, "os.Getuid": true, "os.Getgid": true, "os.Getegid": true, "os.Pipe": true, "os.Stdin": true, "os.Stdout": true, "os.Stderr": true, "os.Args": true, "os.SyscallError": true, "os.IsNotExist": true, "os.Getpid": true}

func matches(calls []string, name, pkg string) bool {
	for _, c := range calls {
		if c == name || c == pkg+".*" && !harmless[name] {
			return true
		}
	}
	return false
}

func importsPackage(s source, name string) bool {
	for _, spec := range s.File.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if spec.Name == nil && (path == name || strings.HasSuffix(path, "/"+name)) {
			return true
		}
	}
	return false
}

// The linker keeps every init function and every package variable that is computed; both cost at each start.
func TestNoInitFunctions(t *testing.T) {
	allowed := map[string]string{
		"cmd/lope/main.go":           "the main thread is locked before main, or the scheduler may have moved it",
		"container/reaper/reaper.go": "as process 1, signals are caught from the first moment or lost",
	}
	for _, s := range allSources(t) {
		if s.Test || within(s.Dir, "test") {
			continue
		}
		for _, decl := range s.File.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && allowed[s.Path] == "" {
				t.Errorf("%s: an init function runs at every start of every program that links it", s.Path)
			}
		}
	}
}
