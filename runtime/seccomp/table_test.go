package seccomp

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// golang.org/x/sys takes its numbers from the kernel's headers too, by another
// way.
func TestNumbersAgainstXSys(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatal(err)
	}
	constant := regexp.MustCompile(`(?m)^\s*SYS_(\w+)\s*=\s*(\d+)$`)
	for _, goarch := range []string{"amd64", "386", "arm64", "arm", "riscv64", "loong64", "ppc64le", "ppc64", "ppc", "s390x", "mips64", "mips", "mips64le", "mipsle"} {
		b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+goarch+".go"))
		if err != nil {
			t.Fatal(err)
		}
		conv := conventionOf(family(goarch)[0])
		compared := 0
		for _, m := range constant.FindAllStringSubmatch(string(b), -1) {
			name := strings.ToLower(m[1])
			nr, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			ours := int(numberOf(name, int(conv.column)))
			switch {
			case ours >= 0 && ours+int(conv.base) == nr:
				compared++
			case strings.HasPrefix(name, "reserved"), strings.HasPrefix(name, "unused"), name == "arch_specific_syscall", name == "syscall_mask":
			default:
				t.Errorf("%s: %s is %d, here %d", goarch, name, nr, ours)
			}
		}
		if compared < 300 {
			t.Errorf("%s: only %d numbers compared", goarch, compared)
		}
	}
}

// The calls of a kernel that is newer than libseccomp 2.5 are there for every
// architecture.
func TestNewCalls(t *testing.T) {
	for _, name := range strings.Fields(`futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue
		statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat
		open_tree_attr file_getattr file_setattr listns rseq_slice_yield`) {
		for i := range conventions {
			if c := &conventions[i]; numberOf(name, int(c.column)) < 0 {
				t.Errorf("%s: %s is not there", c.name, name)
			}
		}
	}
	for _, name := range []string{"uretprobe", "uprobe"} {
		if numberOf(name, colX86_64) < 0 {
			t.Errorf("%s is not there", name)
		}
	}
}
