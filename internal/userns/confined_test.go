package userns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"loper.run/internal/confine"
	"loper.run/launch"

	"golang.org/x/sys/unix"
)

// seen starts a confined worker that waits, and returns its pid as long as it
// does. The function ends it.
func seen(t *testing.T, n namespaces) (pid int, end func()) {
	t.Helper()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	said, say, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := Worker{Name: "stay", Stdin: in, Stdout: say, Files: []*os.File{dir}, Confined: true}
	p, err := w.startIn(n, launch.Files{"stdin": in, "stdout": say, "stderr": say, "program": program})
	in.Close()
	say.Close()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := said.Read(make([]byte, 100)); n == 0 { // it runs
		t.Fatal(err)
	}
	return p.Pid(), func() {
		feed.Close()
		said.Close()
		p.Abort()
	}
}

func procFile(t *testing.T, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestConfined looks at a worker from outside.
func TestConfined(t *testing.T) {
	n, err := confined()
	if err != nil {
		t.Fatal(err)
	}
	pid, end := seen(t, n)
	defer end()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads: %v, %v", tasks, err)
	}
	keep := fmt.Sprintf("%016x", confine.Capabilities)
	for _, task := range tasks {
		status := procFile(t, pid, "task/"+task.Name()+"/status")
		for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t" + keep, "CapPrm:\t" + keep, "CapBnd:\t" + keep,
			"CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "Umask:\t0000"} {
			if !strings.Contains(status, want+"\n") {
				t.Errorf("thread %s has not %q:\n%s", task.Name(), want, status)
			}
		}
	}
	limits := procFile(t, pid, "limits")
	for name, want := range map[string]string{"Max core file size": "0", "Max open files": strconv.Itoa(confine.MaxFiles), "Max data size": strconv.Itoa(confine.MaxData)} {
		for line := range strings.Lines(limits) {
			if rest, ok := strings.CutPrefix(line, name); ok && (strings.Fields(rest)[0] != want || strings.Fields(rest)[1] != want) {
				t.Errorf("%s, want %s", strings.TrimSpace(line), want)
			}
		}
	}
	if os.Geteuid() != 0 {
		return // the rest is root's to see of what is not dumpable
	}
	for _, ns := range []string{"user", "pid", "net", "ipc", "uts", "mnt"} {
		own, err1 := os.Readlink("/proc/self/ns/" + ns)
		its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
		if err1 != nil || err2 != nil || own == its {
			t.Errorf("namespace %s: %s and %s, %v %v", ns, own, its, err1, err2)
		}
	}
	if b := procFile(t, pid, "environ"); b != "" {
		t.Errorf("environment %q", b)
	}
	if b := strings.Fields(procFile(t, pid, "uid_map")); Privileged() && strings.Join(b, " ") != "0 0 4294967295" {
		t.Errorf("ids %v", b)
	}
	if info, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil || !info.IsDir() {
		t.Errorf("proc: %v", err)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if number, _ := strconv.Atoi(fd.Name()); number > confine.Dir && !strings.HasPrefix(target, "anon_inode:") || number < confine.Dir && !strings.HasPrefix(target, "pipe:") {
			t.Errorf("descriptor %s is %s", fd.Name(), target)
		}
	}
}

// TestConfinedWithLess is for machines that have no namespaces to give.
func TestConfinedWithLess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, n := range []namespaces{{flags: confinedFlags &^ unix.CLONE_NEWUSER}, {}} {
		pid, end := seen(t, n)
		status := procFile(t, pid, "status")
		keep := fmt.Sprintf("%016x", confine.Capabilities)
		for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t" + keep, "CapBnd:\t" + keep} {
			if !strings.Contains(status, want+"\n") {
				t.Errorf("it has not %q:\n%s", want, status)
			}
		}
		end()
	}
}

// TestConfinedDiesWithItsCaller kills a process that has a worker.
func TestConfinedDiesWithItsCaller(t *testing.T) {
	if caller := os.Getenv("LOPER_TEST_CALLER"); caller != "" {
		n, err := confined()
		if err != nil {
			t.Fatal(err)
		}
		pid, _ := seen(t, n)
		fmt.Println("worker", pid)
		select {}
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestConfinedDiesWithItsCaller$")
	c.Env = append(os.Environ(), "LOPER_TEST_CALLER=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "worker %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
		t.Errorf("the worker %d is still there: %v", pid, err)
	}
	c.Wait()
}
