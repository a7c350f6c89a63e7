package layer

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
)

// lies are what a worker that was taken over may say on its standard output,
// and the error that has to come of it.
var lies = []struct {
	name, want string
	say        func(w *bytes.Buffer)
}{
	{"nothing", "without a report", func(*bytes.Buffer) {}},
	{"half a number", "unexpected EOF", func(w *bytes.Buffer) { w.WriteString("abc") }},
	{"numbers that go back", "no sense", func(w *bytes.Buffer) { number(w, 5); number(w, 4) }},
	{"a number too large", "no sense", func(w *bytes.Buffer) { number(w, 1<<62) }},
	{"an endless report", "no sense", func(w *bytes.Buffer) { number(w, last|math.MaxInt64) }},
	{"a report that is cut", "no sense", func(w *bytes.Buffer) { number(w, last|100); w.WriteString("{") }},
	{"no JSON", "no sense", func(w *bytes.Buffer) { say(w, "hello") }},
	{"a report too many", "no sense", func(w *bytes.Buffer) { tell(w, outcome{Result: good()}); w.WriteString("more") }},
	{"no end", "does not end", func(w *bytes.Buffer) { tell(w, outcome{Result: good()}) }},
	{"no digest", "no success", func(w *bytes.Buffer) { tell(w, outcome{}) }},
	{"a digest of another kind", "no success", func(w *bytes.Buffer) {
		tell(w, outcome{Result: Result{DiffID: oci.FromHash(oci.SHA512, oci.SHA512.New())}})
	}},
	{"a digest that leads elsewhere", "no sense", func(w *bytes.Buffer) { say(w, `{"result":{"diffID":"sha256:../../../etc"}}`) }},
	{"negative bytes", "numbers", func(w *bytes.Buffer) { r := good(); r.Bytes = -1; tell(w, outcome{Result: r}) }},
	{"too many bytes", "numbers", func(w *bytes.Buffer) { r := good(); r.Bytes = math.MaxInt64; tell(w, outcome{Result: r}) }},
	{"too many entries", "no success", func(w *bytes.Buffer) { r := good(); r.Entries = math.MaxInt64; tell(w, outcome{Result: r}) }},
	{"more devices than entries", "numbers", func(w *bytes.Buffer) { r := good(); r.Devices = 1; tell(w, outcome{Result: r}) }},
	{"numbers that overflow", "no sense", func(w *bytes.Buffer) { say(w, `{"result":{"entries":99999999999999999999}}`) }},
	{"success and failure", "no success", func(w *bytes.Buffer) { tell(w, outcome{Result: good(), Errno: unix.EIO}) }},
	{"an error of many lines", "a b", func(w *bytes.Buffer) { tell(w, outcome{Error: "a\nb" + strings.Repeat("x", 1<<20)}) }},
	{"a path out", "no sense", node("../outside/x")},
	{"a path that climbs", "no sense", node("a/../../outside/x")},
	{"an absolute path", "no sense", node("/dev/sda")},
	{"a path that is not clean", "no sense", node("a//b")},
	{"a path with a dot", "no sense", node("./b")},
	{"an empty path", "no sense", node("")},
	{"a path with NUL", "no sense", node("a\x00b")},
	{"a long path", "no sense", node(strings.Repeat("a/", 3000) + "a")},
	{"a device through a link", "symbolic links", node("link/x")},
	{"a device through a link out", "symbolic links", node("out/x")},
	{"a device over a link", "file exists", node("link")},
	{"a device below a file", "not a directory", node("file/x")},
	{"a device nowhere", "no such file", node("no/x")},
	{"an opaque link", "symbolic links", one(special{Path: "out"})},
	{"an opaque file", "not a directory", one(special{Path: "file"})},
	{"an opaque path out", "no sense", one(special{Path: "../outside"})},
	{"a link to a file outside", "no sense", one(special{Path: "x", Same: "../outside/secret", Mode: unix.S_IFCHR | 0o666, Dev: 0x103})},
	{"a link through a link", "symbolic links", one(special{Path: "x", Same: "out/secret", Mode: unix.S_IFCHR | 0o666, Dev: 0x103})},
	{"a link to what is no device", "is no device", one(special{Path: "x", Same: "file", Mode: unix.S_IFCHR | 0o666, Dev: 0x103})},
	{"a regular file", "is no device", one(special{Path: "x", Mode: unix.S_IFREG | 0o4755})},
	{"a socket", "is no device", one(special{Path: "x", Mode: unix.S_IFSOCK | 0o777})},
	{"a whiteout as a device", "is no device", one(special{Path: "x", Mode: unix.S_IFCHR})},
	{"bits that are no mode", "is no device", one(special{Path: "x", Mode: 1<<31 | unix.S_IFCHR | 0o666, Dev: 0x103})},
	{"a device number too large", "is no device", one(special{Path: "x", Mode: unix.S_IFBLK, Dev: math.MaxUint64})},
	{"nobody's owner", "is no device", one(special{Path: "x", Mode: unix.S_IFBLK, Dev: 0x103, UID: math.MaxUint32})},
	{"a time that is none", "is no device", one(special{Path: "x", Mode: unix.S_IFBLK, Dev: 0x103, Mtime: stamp{0, 1 << 40}})},
}

func good() Result { return Result{DiffID: oci.FromBytes(nil)} }

func say(w *bytes.Buffer, text string) {
	number(w, last|uint64(len(text)))
	w.WriteString(text)
}

func tell(w *bytes.Buffer, o outcome) {
	text, _ := json.Marshal(o)
	say(w, string(text))
}

func one(s special) func(*bytes.Buffer) {
	return func(w *bytes.Buffer) { tell(w, outcome{Result: good(), Special: []special{s}}) }
}

func node(path string) func(*bytes.Buffer) {
	return one(special{Path: path, Mode: unix.S_IFCHR | 0o666, Dev: 0x103})
}

// liar is a worker that says what the job's media type names.
func liar(args []string) error {
	var j job
	if err := json.Unmarshal([]byte(args[0]), &j); err != nil {
		return err
	}
	for _, l := range lies {
		if l.name == j.MediaType {
			var w bytes.Buffer
			l.say(&w)
			_, err := os.Stdout.Write(w.Bytes())
			if l.name == "no end" {
				time.Sleep(time.Hour)
			}
			return err
		}
	}
	return errors.New("no such lie")
}

func TestLyingWorker(t *testing.T) {
	needRoot(t)
	defer func(d time.Duration) { patience = d }(patience)
	for _, l := range lies {
		patience = time.Minute
		if l.name == "no end" {
			patience = 50 * time.Millisecond
		}
		base := t.TempDir()
		root, outside := filepath.Join(base, "root"), filepath.Join(base, "outside")
		for _, dir := range []string{root, outside, filepath.Join(root, "dir")} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for path, text := range map[string]string{filepath.Join(outside, "secret"): "secret", filepath.Join(root, "file"): ""} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		os.Symlink("dir", filepath.Join(root, "link"))
		os.Symlink("../outside", filepath.Join(root, "out"))
		before := tree(t, base)
		dir, err := os.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		src := source(t, nil)
		src.MediaType = l.name
		_, err = unpackFile(t.Context(), "liar", dir, src, Options{})
		dir.Close()
		if err == nil || !strings.Contains(err.Error(), l.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 9000 {
			t.Errorf("%s: error %.300v, want %q", l.name, err, l.want)
		}
		sameTree(t, tree(t, base), before)
	}
}

// An honest report is believed, so that the lies fail for what they are.
func TestReport(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	old := unix.NsecToTimespec(1e18)
	unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, "dir"), []unix.Timespec{old, old}, 0)
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	list := []special{
		{Path: "dir"},
		{Path: ""},
		{Path: "dir/null", Mode: unix.S_IFCHR | 0o2644, Dev: unix.Mkdev(1, 3), UID: 7, GID: 8, Mtime: stamp{5, 6}, Atime: stamp{3, 4}},
		{Path: "disk", Mode: unix.S_IFBLK | 0o600, Dev: unix.Mkdev(250, 1<<19)},
		{Path: "dir/disk2", Same: "disk", Mode: unix.S_IFBLK | 0o600, Dev: unix.Mkdev(250, 1<<19)},
	}
	var w bytes.Buffer
	number(&w, 17)
	tell(&w, outcome{Result: good(), Special: list})
	l := listener{most: Limits{}.or(), algorithm: oci.SHA256}
	if err := l.listen(&w); err != nil {
		t.Fatal(err)
	}
	if err := apply(dir, l.out.Special); err != nil {
		t.Fatal(err)
	}
	got := tree(t, root)
	if s := got["dir"]; !strings.HasPrefix(s, "40755 0:0 1000000000.000000000") || !strings.Contains(s, `trusted.overlay.opaque="y"`) {
		t.Errorf("dir: %s", s)
	}
	if s := got["."]; !strings.Contains(s, `trusted.overlay.opaque="y"`) {
		t.Errorf("root: %s", s)
	}
	if s := got["dir/null"]; s != "22644 7:8 5.000000006 1:3" {
		t.Errorf("null: %s", s)
	}
	var a, b unix.Stat_t
	if err := errors.Join(unix.Lstat(filepath.Join(root, "disk"), &a), unix.Lstat(filepath.Join(root, "dir/disk2"), &b)); err != nil || a.Ino != b.Ino || a.Rdev != unix.Mkdev(250, 1<<19) {
		t.Errorf("disk: %+v %+v %v", a, b, err)
	}
}
