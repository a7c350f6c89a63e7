package env

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// User is an ordinary user to run commands as.
type User struct {
	Name       string
	UID, GID   uint32
	Ranges     bool // has ranges in /etc/subuid and the programs to use them
	credential *syscall.Credential
}

// testUsers are made once, as root: one with ranges of subordinate ids, one without.
var testUser = sync.OnceValues(func() (*User, error) { return makeUser("loper-test", true) })
var plainUser = sync.OnceValues(func() (*User, error) { return makeUser("loper-plain", false) })

// Ordinary is a user who is not root: oneself, or a user made for the tests when they run as root. ranges asks for one
// who has subordinate ids. The test is skipped, with the reason, where there can be none.
func Ordinary(t testing.TB, ranges bool) *User {
	t.Helper()
	if ranges {
		Need(t, "newuidmap", "newgidmap")
	}
	find := plainUser
	if ranges {
		find = testUser
	}
	u, err := find()
	if err != nil {
		t.Skip(err)
	}
	if ranges && !u.Ranges {
		t.Skipf("needs ranges for %s in /etc/subuid and /etc/subgid", u.Name)
	}
	probe := exec.Command("unshare", "--user", "--map-root-user", "true")
	u.Command(probe)
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("needs user namespaces for ordinary users: %s", strings.TrimSpace(string(out)))
	}
	return u
}

// Someone is an ordinary user with ranges, for programs that are not tests and run as root.
func Someone() (*User, error) { return testUser() }

// Command makes the command run as the user, with a clean environment of his.
func (u *User) Command(cmd *exec.Cmd) {
	if u.credential == nil {
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
}

// Own gives the user a path.
func (u *User) Own(path string) error {
	if u.credential == nil {
		return nil
	}
	return os.Lchown(path, int(u.UID), int(u.GID))
}

func makeUser(name string, ranges bool) (*User, error) {
	if uid := os.Getuid(); uid != 0 {
		me, err := user.Current()
		if err != nil {
			return nil, err
		}
		return &User{Name: me.Username, UID: uint32(uid), GID: uint32(os.Getgid()), Ranges: hasRange(me.Username)}, nil
	}
	if _, err := user.Lookup(name); err != nil {
		if _, err := exec.LookPath("useradd"); err != nil {
			return nil, fmt.Errorf("needs the program useradd, to make an ordinary user")
		}
		if out, err := exec.Command("useradd", "--create-home", "--shell", "/bin/sh", name).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("useradd %s: %w: %s", name, err, out)
		}
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if ranges && !hasRange(name) {
		if out, err := exec.Command("usermod", "--add-subuids", "300000-365535", "--add-subgids", "300000-365535", name).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("usermod: %w: %s", err, out)
		}
	}
	if !ranges && hasRange(name) {
		// useradd gives every user a range where login.defs says so.
		exec.Command("usermod", "--del-subuids", "1-4294967294", "--del-subgids", "1-4294967294", name).Run()
		if hasRange(name) {
			return nil, fmt.Errorf("needs a user without ranges in /etc/subuid")
		}
	}
	return &User{
		Name: name, UID: uint32(uid), GID: uint32(gid), Ranges: hasRange(name),
		credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{}},
	}, nil
}

func hasRange(name string) bool {
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		data, _ := os.ReadFile(file)
		if !strings.HasPrefix(string(data), name+":") && !strings.Contains(string(data), "\n"+name+":") {
			return false
		}
	}
	return true
}
