package reaper

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		os.Exit(Main(os.Args[2:], os.Stderr))
	}
	os.Exit(m.Run())
}

func run(args ...string) *exec.Cmd {
	return exec.Command("/proc/self/exe", append([]string{"init", "--"}, args...)...)
}

func TestCodes(t *testing.T) {
	for _, test := range []struct {
		script string
		code   int
	}{{"exit 7", 7}, {"kill -9 $$", 137}, {"kill -TERM $$", 143}} {
		cmd := run("sh", "-c", test.script)
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != test.code {
			t.Errorf("%s: %d, want %d", test.script, got, test.code)
		}
	}
	for program, code := range map[string]int{"/no/such": 127, "nosuchprogram": 127, "/etc/passwd": 126, "/": 126} {
		cmd := run(program)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), program) {
			t.Errorf("%s: %d, want %d: %s", program, got, code, out)
		}
	}
}

// A signal that comes at once is not lost, nor does it end the wrong process.
func TestEarlySignal(t *testing.T) {
	for i := range 20 {
		cmd := run("sleep", "100")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(4+i) * time.Millisecond)
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 143 && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("after %d ms: exit code %d", 4+i, code)
		}
	}
}

// Signals reach the program, and an orphan's end neither stays a zombie nor
// ends the container.
func TestSignalsAndOrphans(t *testing.T) {
	cmd := run("sh", "-c", `trap 'echo got; exit 5' USR1; (sleep 0.05 &); echo ready; for i in 1 2 3 4 5 6 7 8 9 0; do sleep 0.2; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, _ := out.Read(buf)
	if string(buf[:n]) != "ready\n" {
		t.Fatalf("read %q", buf[:n])
	}
	time.Sleep(150 * time.Millisecond)
	zombies, _ := exec.Command("sh", "-c", "ps -o stat= --ppid "+strconv.Itoa(cmd.Process.Pid)).Output()
	if strings.Contains(string(zombies), "Z") {
		t.Errorf("zombies: %s", zombies)
	}
	cmd.Process.Signal(syscall.SIGUSR1)
	n, _ = out.Read(buf)
	if string(buf[:n]) != "got\n" {
		t.Errorf("read %q", buf[:n])
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("exit code %d", code)
	}
}
