package env

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asUser names the variable with the test that runs as an ordinary user.
const asUser = "LOPER_TEST_AS_USER"

// AsUser runs the test again in a process of an ordinary user, with ranges of ids or without, and in a network namespace
// (nil: this one). It reports whether this is that process already; the other one has nothing more to do.
func AsUser(t *testing.T, ranges bool, in *Netns) bool {
	t.Helper()
	if os.Getenv(asUser) == t.Name() {
		return true
	}
	u := Ordinary(t, ranges)
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own := filepath.Join(dir, "own")
	binary, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "test"), binary, 0o755)
	}
	if err == nil {
		err = os.Mkdir(own, 0o700)
	}
	if err == nil {
		err = u.Own(own)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(dir, "test"), "-test.run=^"+t.Name()+"$", "-test.v")
	u.Command(c)
	c.Env = []string{asUser + "=" + t.Name(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + own, "HOME=" + own}
	var out []byte
	run := func() { out, err = c.CombinedOutput() }
	if in != nil {
		in.Do(run)
	} else {
		run()
	}
	switch {
	case err == nil && strings.Contains(string(out), "--- SKIP: "+t.Name()):
		t.Skip(string(out))
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("as %s: %v\n%s", u.Name, err, out)
	}
	return false
}

// Tun makes /dev/net/tun what it is on every desktop and server, open to all users, until the test ends.
func Tun(t testing.TB) {
	t.Helper()
	restore, err := OpenTun()
	if err != nil {
		t.Skip("needs /dev/net/tun open to all users: ", err)
	}
	t.Cleanup(restore)
}

// OpenTun is Tun for as long as the caller wants it.
func OpenTun() (restore func(), err error) {
	const path = "/dev/net/tun"
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm()&0o006 == 0o006 {
		return func() {}, err
	}
	return func() { os.Chmod(path, fi.Mode().Perm()) }, os.Chmod(path, 0o666)
}
