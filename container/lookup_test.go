package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"loper.run/image/overlay"
)

// plant makes a tree below dir: a name that ends with a slash is a directory,
// "->X" a symbolic link, "whiteout", "fifo" and "opaque" what they say, other
// values a file's text.
func plant(t *testing.T, dir string, tree map[string]string) string {
	t.Helper()
	for name, text := range tree {
		path := filepath.Join(dir, name)
		parent := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			parent = path
		}
		err := os.MkdirAll(parent, 0o755)
		switch {
		case err != nil || strings.HasSuffix(name, "/") && text == "":
		case text == "opaque":
			mark := "user.overlay.opaque"
			if os.Geteuid() == 0 {
				mark = "trusted.overlay.opaque"
			}
			err = unix.Setxattr(path, mark, []byte("y"), 0)
		case text == "whiteout":
			err = unix.Mknod(path, unix.S_IFCHR, 0)
		case text == "fifo":
			err = unix.Mkfifo(path, 0o644)
		case strings.HasPrefix(text, "->"):
			err = os.Symlink(text[2:], path)
		default:
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMergedLookup(t *testing.T) {
	low := plant(t, t.TempDir(), map[string]string{
		"etc/passwd": "low", "gone/file": "x", "hidden/file": "x", "both/a": "low", "replaced/file": "x",
		"usr/etc/passwd": "usr", "link": "->etc/passwd", "abs": "->/etc/../../../etc/passwd", "loop": "->loop", "up": "->../../../../etc/passwd", "dirlink": "->usr",
	})
	mid := plant(t, t.TempDir(), map[string]string{"gone": "whiteout", "hidden/": "opaque", "hidden/other": "mid", "both/b": "mid", "replaced": "a file", "etc/group": "mid"})
	top := plant(t, t.TempDir(), map[string]string{"etc/shadow": "top", "both/a": "whiteout"})
	for path, want := range map[string]string{
		"etc/passwd": "low", "/etc/group": "mid", "etc/shadow": "top", "link": "low", "abs": "low", "up": "low", "dirlink/etc/passwd": "usr",
		"dirlink/../etc/passwd": "low", "hidden/other": "mid", "both/b": "mid", "replaced": "a file", "./etc/./../etc/passwd": "low",
		"gone": "", "gone/file": "", "hidden/file": "", "both/a": "", "replaced/file": "", "loop": "", "none/x": "", "etc/passwd/x": "", "etc": "",
	} {
		if got := readMerged(t, []string{low, mid, top}, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func readMerged(t *testing.T, layers []string, path string) (text string) {
	t.Helper()
	m, err := overlay.Open(layers)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Walk(path, func(f overlay.Entry) error {
		file, err := f.Open()
		if err != nil {
			return err
		}
		defer file.Close()
		data, err := os.ReadFile("/proc/self/fd/" + itoa(file.Fd()))
		text = string(data)
		return err
	})
	return text
}

// The host's accounts are never those of a container, whatever its layers hold.
func TestAccountsStayInside(t *testing.T) {
	secret := plant(t, t.TempDir(), map[string]string{"passwd": "evil:x:0:0::/:\n", "dir/passwd": "evil:x:0:0::/:\n"})
	for name, test := range map[string]struct {
		tree map[string]string
		fail string
	}{
		"absolute link":     {map[string]string{"etc/passwd": "->" + secret + "/passwd"}, ""},
		"link above":        {map[string]string{"etc/passwd": "->../../../../../../../../../../.." + secret + "/passwd"}, ""},
		"linked directory":  {map[string]string{"etc": "->" + secret + "/dir"}, ""},
		"link through proc": {map[string]string{"etc/passwd": "->/proc/self/root" + secret + "/passwd"}, ""},
		"loop":              {map[string]string{"etc/passwd": "->passwd"}, "too many"},
		"fifo":              {map[string]string{"etc/passwd": "fifo"}, "not a regular file"},
		"directory":         {map[string]string{"etc/passwd/": ""}, "not a regular file"},
		"huge":              {map[string]string{"etc/passwd": strings.Repeat("x", maxAccounts+1)}, "larger than"},
	} {
		layer := plant(t, t.TempDir(), test.tree)
		a, err := layerAccounts([]string{layer})
		if test.fail == "" && (err != nil || len(a.passwd) > 0) || test.fail != "" && (err == nil || !strings.Contains(err.Error(), test.fail)) {
			t.Errorf("%s: read %q, error %v", name, a.passwd, err)
		}
	}
}

func TestLookUpUser(t *testing.T) {
	a := accounts{
		passwd: []byte("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n0:x:7:7::/seven:\nbad:x:5:5::relative:\n"),
		group:  []byte("root:x:0:\nwheel:x:10:root,app\napp:x:1001:\n9:x:99:\n"),
	}
	for spec, want := range map[string]struct {
		user specs.User
		home string
	}{
		"":         {specs.User{AdditionalGids: []uint32{10}}, "/root"},
		"root":     {specs.User{AdditionalGids: []uint32{10}}, "/root"},
		"app":      {specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{10}}, "/home/app"},
		"1000":     {specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{10}}, "/home/app"},
		"app:root": {specs.User{UID: 1000}, "/home/app"},
		"app:9":    {specs.User{UID: 1000, GID: 9}, "/home/app"},
		"0":        {specs.User{AdditionalGids: []uint32{10}}, "/root"}, // never the user named 0
		"4242":     {specs.User{UID: 4242}, "/"},
		"4242:1":   {specs.User{UID: 4242, GID: 1}, "/"},
		":wheel":   {specs.User{GID: 10}, "/root"},
		"bad":      {specs.User{UID: 5, GID: 5}, "/"},
	} {
		u, home, err := lookUpUser(spec, nil, a)
		if err != nil {
			t.Errorf("%q: %v", spec, err)
		}
		if diff := cmp.Diff(want.user, u); diff != "" || home != want.home {
			t.Errorf("%q: home %s, -want +got:\n%s", spec, home, diff)
		}
	}
	for _, bad := range []string{"nobody", "app:nogroup", "-1", "+1", "4294967296", "2147483648", "99999999999999999999", "0x0", "app:", "a:b:c", "app\n"} {
		if u, _, err := lookUpUser(bad, nil, a); err == nil {
			t.Errorf("%q is %+v", bad, u)
		}
	}
}

// One id in 280 would begin with twelve digits, and be a host name that nobody finds.
func TestNewIDIsNoNumber(t *testing.T) {
	for range 5000 {
		if id := newID(); !isID(id) || strings.Trim(id[:12], "0123456789") == "" {
			t.Fatal(id)
		}
	}
}
