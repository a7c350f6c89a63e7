package seccomp

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The tables are what the generator writes from the modules in go.mod.
func TestGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	if _, err := os.Stat("/usr/include/x86_64-linux-gnu/asm/unistd_x32.h"); err != nil {
		t.Skipf("needs linux-libc-dev for amd64: %v", err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "generate.go", "-o", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
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
