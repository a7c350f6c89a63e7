package seccomp

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The tables are what the generators write from syscalls.txt and the modules in
// go.mod.
func TestGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	dir := t.TempDir()
	for _, program := range []string{"generate_table.go", "generate_default.go"} {
		if out, err := exec.Command("go", "run", program, "-o", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, name := range []string{"ztable.go", "zdefault.go"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != string(want) {
			t.Errorf("%s is stale, run go generate (%v)", name, err)
		}
	}
}
