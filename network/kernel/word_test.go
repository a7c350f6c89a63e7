package kernel

import (
	"os"
	"strings"
	"testing"

	"loper.run/network"
)

// What monitors find out is told once.
func TestWord(t *testing.T) {
	store := &network.Store{RunRoot: t.TempDir()}
	expect := func(want string) {
		t.Helper()
		if got, err := Word(store); err != nil || !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%q, %v", got, err)
		}
	}
	expect("")
	for range 3 {
		if err := leaveWord(store, "cls_bpf"); err != nil {
			t.Fatal(err)
		}
	}
	expect("modprobe cls_bpf")
	if err := leaveWord(store, "cls_bpf"); err != nil {
		t.Fatal(err)
	}
	expect("")
	if left, err := os.ReadDir(store.Dir("")); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}
