package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	moby "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// dockersProfile is Docker's default for a container that asks for no
// capabilities of its own.
func dockersProfile(t testing.TB) *specs.LinuxSeccomp {
	s, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: dockerCaps}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// coldChild prints how long the first compilation of a process takes, in
// nanoseconds.
func coldChild() {
	s, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: dockerCaps}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	begun := time.Now()
	if _, err := Compile(s, runtime.GOARCH); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(time.Since(begun).Nanoseconds())
}

// Each container's start compiles its profile once, in a new process: pages
// are not there yet, and caches are cold.
func BenchmarkCompileCold(b *testing.B) {
	var took []int
	for b.Loop() {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), childEnv+"=cold")
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		ns, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		took = append(took, ns)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "median-ns/compile")
	b.ReportMetric(float64(took[0]), "least-ns/compile")
}
