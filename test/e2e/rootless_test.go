package e2e_test

import (
	"os"
	"strings"
	"testing"
)

func TestRootlessMappings(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		e := asUser(t, ranges).busybox()
		fields := strings.Fields(e.must("run", "--rm", "busybox", "cat", "/proc/self/uid_map"))
		if len(fields) < 3 || fields[0] != "0" {
			t.Fatalf("uid_map: %v", fields)
		}
		if !ranges && (len(fields) != 3 || fields[2] != "1") {
			t.Errorf("without ranges: uid_map %v, want one id", fields)
		}
		if ranges && len(fields) < 6 {
			t.Errorf("with ranges: uid_map %v", fields)
		}
		// Nothing needs the invoking user's directories to be open to others.
		info, err := os.Stat(e.root)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v", e.root, info.Mode())
		}
	}
}

func TestRootlessNetworks(t *testing.T) {
	e := asUser(t, true).busybox()
	expect(t, "none", e.must("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net"), "lo")
	own, _ := os.Readlink("/proc/thread-self/ns/net")
	expect(t, "host", e.must("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"), own)
}

// Default directories: nothing of the system's is written by an ordinary user.
func TestRootlessDefaultDirectories(t *testing.T) {
	e := asUser(t, true)
	cmd := e.command()
	cmd.Args = []string{loper, "run", "--rm", "hello"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(e.home + "/.local/share/loper"); err != nil {
		t.Errorf("state is not below the home directory: %v", err)
	}
}
