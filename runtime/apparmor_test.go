package runtime

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// confined is a profile that allows everything but one file.
const confined = `profile %s flags=(attach_disconnected,mediate_deleted) {
  capability, network, mount, umount, pivot_root, ptrace, signal, unix, dbus, file,
  deny /denied rwklx,
}
`

// loadProfile loads a profile for the time of a test and returns its name.
func loadProfile(t *testing.T, name string) string {
	t.Helper()
	if on, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled"); !strings.HasPrefix(string(on), "Y") {
		t.Skip("AppArmor is off on this machine")
	}
	if _, err := exec.LookPath("apparmor_parser"); err != nil {
		t.Skip("needs apparmor_parser of Debian's apparmor: ", err)
	}
	parse := func(flag string) error {
		cmd := command(t, "apparmor_parser", flag, "-K")
		cmd.Stdin = strings.NewReader(fmt.Sprintf(confined, name))
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	must(t, parse("-r"))
	t.Cleanup(func() { must(t, parse("-R")) })
	return name
}

// A program and what exec adds are confined by the profile, whatever their
// rights, and a profile that is not there is an error.
func TestAppArmor(t *testing.T) {
	profile, other := loadProfile(t, "loper-test-a"), loadProfile(t, "loper-test-b")
	const script = "cat /proc/self/attr/apparmor/current; echo x > /denied && echo open"
	for _, own := range []bool{false, true} {
		for _, noNewPrivileges := range []bool{false, true} {
			name := fmt.Sprintf("own ids %v no new privileges %v", own, noNewPrivileges)
			change := func(o *Options) {
				if own {
					ownIDs(t, o)
				}
				o.Spec.Process.NoNewPrivileges = noNewPrivileges
				o.Spec.Process.ApparmorProfile = profile
			}
			t.Run("run "+name, func(t *testing.T) {
				if got := sh(t, change, "touch /denied; "+script); !strings.HasPrefix(lastLines(got, 2), profile+" (enforce)") || strings.Contains(got, "open") || !strings.Contains(got, "ermission denied") {
					t.Errorf("it says %q", got)
				}
				if got := sh(t, func(o *Options) { change(o); o.Spec.Process.ApparmorProfile = "unconfined" }, script); got != "unconfined\nopen" {
					t.Errorf("unconfined it says %q", got)
				}
			})
			t.Run("exec "+name, func(t *testing.T) {
				c := running(t, change)
				for want, wish := range map[string]string{profile: "", other: other} {
					r, w, err := os.Pipe()
					must(t, err)
					p := specs.Process{Args: []string{"cat", "/proc/self/attr/apparmor/current"}, Cwd: "/", ApparmorProfile: wish, NoNewPrivileges: noNewPrivileges}
					p.Env = []string{"PATH=/bin"}
					process, err := c.Exec(ExecOptions{Process: &p, Stdout: w, Stderr: w})
					w.Close()
					must(t, err)
					if line := readLine(t, r); line != want+" (enforce)" {
						t.Errorf("it says %q, want %s", line, want)
					}
					process.Wait()
					process.Close()
					r.Close()
				}
				p := specs.Process{Args: []string{"true"}, Cwd: "/", Env: []string{"PATH=/bin"}, ApparmorProfile: "loper-no-such"}
				if _, err := c.Exec(ExecOptions{Process: &p}); err == nil || !strings.Contains(err.Error(), `the AppArmor profile "loper-no-such" (is it loaded?): no such file or directory (config.json: process.apparmorProfile)`) {
					t.Errorf("error %v", err)
				}
			})
		}
	}
	o := bundle(t, "true")
	o.Spec.Process.ApparmorProfile = "loper-no-such"
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), `"loper-no-such" (is it loaded?): no such file or directory (config.json: process.apparmorProfile)`) {
		t.Errorf("error %v", err)
	}
}

// lastLines are what is printed behind messages of the shell.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
