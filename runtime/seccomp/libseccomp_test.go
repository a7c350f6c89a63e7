package seccomp

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// scmpArch is libseccomp's name for a convention.
func scmpArch(c *convention) uint32 {
	if c.column == colX32 {
		return 0x4000003e
	}
	return c.audit
}

// buildHelper compiles the program that asks libseccomp.
func buildHelper(t testing.TB) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skipf("the comparison is written for amd64, this is %s", runtime.GOARCH)
	}
	exe := filepath.Join(t.TempDir(), "libseccomp")
	out, err := exec.Command("gcc", "-O1", "-o", exe, "testdata/libseccomp.c", "-lseccomp").CombinedOutput()
	if err != nil {
		t.Skipf("needs gcc and libseccomp-dev: %v %s", err, out)
	}
	return exe
}

// ask returns nil when libseccomp refused a rule because an architecture had
// the same one with another action, or did not come to an end.
func ask(t testing.TB, exe, input string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	var stderr strings.Builder
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it may not come to an end
	out, err := cmd.Output()
	if ctx.Err() != nil || cmd.ProcessState.ExitCode() == 3 {
		return nil
	}
	if err != nil {
		t.Fatalf("libseccomp: %v: %s\n%s", err, stderr.String(), input)
	}
	return out
}

// scmpNumbers are libseccomp's numbers of all calls, by convention and place
// in the table; negative where it has none.
func scmpNumbers(t testing.TB, exe string) [][]int {
	var in strings.Builder
	for c := range conventions {
		for i := range syscalls {
			fmt.Fprintf(&in, "numbers %#x %s\n", scmpArch(&conventions[c]), callName(i))
		}
	}
	answers := strings.Fields(string(ask(t, exe, in.String())))
	all := make([][]int, len(conventions))
	for c := range all {
		all[c] = make([]int, syscalls)
		for i := range syscalls {
			nr, err := strconv.Atoi(answers[c*syscalls+i])
			if err != nil {
				t.Fatal(err)
			}
			all[c][i] = nr
		}
	}
	return all
}

// unlike are calls of which Debian 12's libseccomp has other numbers than the
// kernel's headers: a second name, and one that came late.
var unlike = map[specs.Arch]string{specs.ArchARM: "sync_file_range2", specs.ArchRISCV64: "riscv_hwprobe"}

func TestNumbersAgainstLibseccomp(t *testing.T) {
	all := scmpNumbers(t, buildHelper(t))
	for c := range conventions {
		conv := &conventions[c]
		if all[c][lookup("read", -1)] < 0 {
			t.Logf("%s: not known to this libseccomp", conv.name)
			continue
		}
		compared := 0
		for i := range syscalls {
			name, theirs := callName(i), all[c][i]
			ours := int(numberOf(name, int(conv.column)))
			if ours >= 0 {
				ours += int(conv.base)
			}
			switch mux, part := partOf(name, int(conv.column)); {
			case theirs >= 0 && ours == theirs:
				compared++
			case theirs < 0 && ours < 0:
			case theirs <= -100 && part != 0 && mux >= 0:
				// A part of socketcall or ipc as well as a call.
			case unlike[conv.name] == name:
			case theirs < 0 && ours > 0 && newerThanLibseccomp(ours-int(conv.base)):
			default:
				t.Errorf("%s, %s: number %d, libseccomp has %d", conv.name, name, ours, theirs)
			}
		}
		if compared < 300 {
			t.Errorf("%s: only %d numbers compared", conv.name, compared)
		}
	}
}

// newerThanLibseccomp tells which numbers Debian 12's version lacks; 335 and
// 336 are x86_64's late uretprobe and uprobe.
func newerThanLibseccomp(nr int) bool {
	return nr > 450 && nr < 500 || nr == 335 || nr == 336
}
