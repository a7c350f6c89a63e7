package crash

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image"
	"loper.run/image/store"
	"loper.run/test/env"
)

var points = flag.Int("points", 15, "how many moments of each operation are tried; 0: all of them")

var programs string

func TestMain(m *testing.M) {
	if os.Getenv(starterEnv) != "" {
		starter()
	}
	if os.Getenv(writerEnv) != "" {
		writer(os.Args[1])
	}
	os.Exit(env.Reaped(func() int {
		if programs = os.Getenv("LOPER_PROGRAMS"); programs == "" {
			dir, err := os.MkdirTemp("", "loper-crash-")
			if err != nil {
				panic(err)
			}
			defer os.RemoveAll(dir)
			if err := env.Build(dir); err != nil {
				fmt.Println(err)
				return 1
			}
			programs = dir
		}
		return m.Run()
	}))
}

// operation is a command that changes the store, and what comes before it.
type operation struct {
	name   string
	setUp  [][]string
	damage func(root string) error // what happens to the store then, nil: nothing
	argv   []string
	// images are the names that may be there afterwards, however it ends.
	images []string
}

// world is a file system of its own with a store, and a registry outside of it.
type world struct {
	t        *testing.T
	mount    string
	base, v2 string // references: an image, and another with the same first layer
	archive  string // has both
	tar      string // of a root file system
	trees    map[string]string
}

func newWorld(t *testing.T) *world {
	env.NeedRoot(t)
	env.Need(t, "docker-registry")
	w := &world{t: t, mount: t.TempDir(), trees: map[string]string{}}
	if err := unix.Mount("crash", w.mount, "tmpfs", 0, "mode=0700"); err != nil {
		t.Skip("needs mounts: ", err)
	}
	t.Cleanup(func() { unix.Unmount(w.mount, unix.MNT_DETACH) })
	r, err := env.StartRegistry(t.TempDir(), false)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(r.Stop)
	lower := env.Gzipped(env.Tar(
		env.File{Name: "etc/"}, env.File{Name: "etc/passwd", Body: "root:x:0:0::/:/bin/sh\n"},
		env.File{Name: "data/"}, env.File{Name: "data/big", Body: strings.Repeat("0123456789abcdef", 20_000)}, env.File{Name: "data/old", Body: "old"},
		env.File{Name: "empty", Body: ""},
	))
	upper := func(text string) env.Blob {
		return env.Gzipped(env.Tar(env.File{Name: "data/"}, env.File{Name: "data/.wh.old"}, env.File{Name: "etc/"}, env.File{Name: "etc/.wh..wh..opq"}, env.File{Name: "etc/version", Body: text}))
	}
	for text, ref := range map[string]*string{"1": &w.base, "2": &w.v2} {
		if *ref, err = r.Push(env.NewImage(env.RunConfig{Cmd: []string{"true"}}, lower, upper(text)), "crash:"+text); err != nil {
			t.Fatal(err)
		}
	}
	w.tar, w.archive = filepath.Join(t.TempDir(), "root.tar"), filepath.Join(t.TempDir(), "images.tar")
	if err := os.WriteFile(w.tar, env.Tar(env.File{Name: "etc/"}, env.File{Name: "etc/motd", Body: "imported"}), 0o600); err != nil {
		t.Fatal(err)
	}
	w.fresh(operation{setUp: [][]string{{"pull", "-q", w.base}, {"pull", "-q", w.v2}, {"save", "-o", w.archive, w.base, w.v2}}})
	return w
}

func (w *world) root() string { return filepath.Join(w.mount, "root") }

// command is loper with its state in root.
func (w *world) command(root string, args ...string) []string {
	return append([]string{filepath.Join(programs, "loper"), "--root", root, "--runroot", filepath.Join(w.mount, "run")}, args...)
}

func (w *world) loper(root string, args ...string) (string, error) {
	argv := w.command(root, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("loper %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// fresh makes an empty store and does what comes before an operation.
func (w *world) fresh(o operation) {
	w.t.Helper()
	if err := os.RemoveAll(w.root()); err != nil {
		w.t.Fatal(err)
	}
	os.MkdirAll(w.root(), 0o700)
	for _, args := range o.setUp {
		if _, err := w.loper(w.root(), args...); err != nil {
			w.t.Fatal(err)
		}
	}
	if o.damage != nil {
		if err := o.damage(w.root()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// learn notes what whole layers look like, those too that an operation makes.
func (w *world) learn() {
	w.t.Helper()
	operations := append(w.operations(), operation{setUp: [][]string{{"pull", "-q", w.base}, {"pull", "-q", w.v2}}, argv: []string{"images"}})
	for _, o := range operations {
		w.fresh(o)
		if _, err := w.loper(w.root(), o.argv...); err != nil {
			w.t.Fatal(err)
		}
		s, err := store.Open(filepath.Join(w.root(), "image"))
		if err != nil {
			w.t.Fatal(err)
		}
		recs, err := s.Images()
		if err != nil {
			w.t.Fatal(err)
		}
		for _, rec := range recs {
			for _, d := range rec.Layers {
				l, err := s.Layer(d)
				if err != nil {
					w.t.Fatal(err)
				}
				w.trees[d.String()] = tree(w.t, l.Dir)
			}
		}
	}
}

// whole checks that each image that can be seen below root is what it was in the registry, and has a name that may be there.
func (w *world) whole(root string, o operation) error {
	s, err := image.Open(filepath.Join(root, "image"))
	if err != nil {
		return err
	}
	list, err := s.List()
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for _, img := range list {
		for _, name := range img.Names {
			if !contains(o.images, name) {
				return fmt.Errorf("%s is there", name)
			}
			got, err := s.Resolve(name)
			if err != nil {
				return fmt.Errorf("%s can be seen, but not used: %w", name, err)
			}
			for i, dir := range got.Layers {
				if want := w.trees[got.DiffIDs[i].String()]; tree(w.t, dir) != want {
					return fmt.Errorf("layer %s of %s is damaged: have\n%s\nwant\n%s", got.DiffIDs[i], name, tree(w.t, dir), want)
				}
			}
		}
	}
	return nil
}

// visible is whole, for an operation that begins with images that are.
func (w *world) visible(root string, o operation) error {
	if o.damage != nil {
		return nil
	}
	return w.whole(root, o)
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

// recovers checks that the command does its work after all, and that nothing is left of the first try.
func (w *world) recovers(root string, o operation) error {
	out, err := w.loper(root, o.argv...)
	if err != nil && !strings.Contains(out, "No such") {
		return fmt.Errorf("the second time: %w", err)
	}
	if err := w.whole(root, o); err != nil {
		return fmt.Errorf("after the second time: %w", err)
	}
	// A pull sweeps what others left, also when the command found nothing to do.
	if out, err := w.loper(root, "pull", "-q", w.base); err != nil {
		return fmt.Errorf("a pull after it: %w: %s", err, out)
	}
	o.images = append(o.images, w.base)
	if err := w.whole(root, o); err != nil {
		return fmt.Errorf("after a pull: %w", err)
	}
	left, _ := os.ReadDir(filepath.Join(root, "image/staging"))
	if len(left) > 0 {
		return fmt.Errorf("%s is left in staging", left[0].Name())
	}
	if _, err := w.loper(root, "system", "check"); err != nil {
		return fmt.Errorf("after the second time: %w", err)
	}
	return nil
}

func (w *world) operations() []operation {
	both := []string{w.base, w.v2}
	one, two := [][]string{{"pull", "-q", w.base}}, [][]string{{"pull", "-q", w.base}, {"pull", "-q", w.v2}}
	return []operation{
		{"pull", nil, nil, []string{"pull", "-q", w.base}, []string{w.base}},
		{"pull of an image that shares a layer", one, nil, []string{"pull", "-q", w.v2}, both},
		{"load", nil, nil, []string{"load", "-q", "-i", w.archive}, both},
		{"import", nil, nil, []string{"import", w.tar, "imported:1"}, []string{"imported:1", w.base}},
		{"commit", append(one, []string{"create", "-q", "--name", "c", w.base}), nil, []string{"commit", "-c", "ENV a=b", "c", "committed:1"}, []string{w.base, "committed:1"}},
		{"tag", one, nil, []string{"tag", w.base, "other:tag"}, append(both, "other:tag")},
		{"rmi", two, nil, []string{"rmi", w.base}, both},
		{"rmi of the last image", one, nil, []string{"rmi", w.base}, both},
		{"image prune", two, nil, []string{"image", "prune", "-af"}, both},
		{"repair", two, w.cut, []string{"system", "check", "--repair"}, both},
	}
}

// cut takes the content away from a file of a layer and from a layer as it came.
func (w *world) cut(root string) error {
	for _, pattern := range []string{"image/layer/sha256/*/diff/etc/version", "image/blob/sha256/*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("%s: %d files, %v", pattern, len(found), err)
		}
		sort.Strings(found)
		if err := os.Truncate(found[0], 0); err != nil {
			return err
		}
	}
	return nil
}

// tree is a directory's content as text, one line a file.
func tree(t *testing.T, dir string) string {
	var lines []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n, err := readNode(path, false)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		lines = append(lines, fmt.Sprintf("%s %o %d:%d %d %.8x %q", rel, n.mode, n.uid, n.gid, n.rdev, sha256.Sum256(n.data), n.xattrs))
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// sample picks moments out of n, evenly.
func sample(n int) []int {
	step := 1
	if *points > 0 && n > *points {
		step = (n + *points - 1) / *points
	}
	var list []int
	for i := 0; i < n; i += step {
		list = append(list, i)
	}
	return list
}

// count runs an operation to its end and returns the number of its calls that change the store.
func (w *world) count(o operation) int {
	w.t.Helper()
	w.fresh(o)
	n := 0
	if _, _, err := run(w.each(func(call, int) error { n++; return nil }), nil, w.command(w.root(), o.argv...)...); err != nil {
		w.t.Fatal(err)
	}
	if n == 0 {
		w.t.Fatal("the operation changes nothing")
	}
	return n
}

// each numbers the calls that change the file system of this world.
func (w *world) each(f func(c call, i int) error) func(call) error {
	var st unix.Stat_t
	unix.Stat(w.mount, &st)
	i := -1
	return func(c call) error {
		if dev, ok := c.device(); !ok || dev != st.Dev {
			return nil
		}
		i++
		return f(c, i)
	}
}

// A command that is killed before any of its changes leaves whole images, and the next one ends the work.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	w.learn()
	for _, o := range w.operations() {
		t.Run(o.name, func(t *testing.T) {
			w.t = t
			total := w.count(o)
			tried := 0
			for _, at := range sample(total) {
				w.fresh(o)
				killed, out, err := run(w.each(func(_ call, i int) error {
					if i == at {
						return errStop
					}
					return nil
				}), nil, w.command(w.root(), o.argv...)...)
				if err != nil {
					t.Fatalf("at %d of %d: %v\n%s", at, total, err, out)
				}
				if !killed {
					continue // this time there were fewer
				}
				tried++
				if err := w.visible(w.root(), o); err != nil {
					t.Fatalf("killed before change %d of %d: %v", at, total, err)
				}
				if err := w.recovers(w.root(), o); err != nil {
					t.Fatalf("killed before change %d of %d: %v", at, total, err)
				}
			}
			t.Logf("%d changes, killed at %d of them", total, tried)
			if tried == 0 {
				t.Error("it was never killed")
			}
		})
	}
}

// After a power cut before any change, images that can be seen are whole, on a disk that lost all it may lose and on one
// that lost contents only.
func TestPowerCut(t *testing.T) {
	w := newWorld(t)
	w.learn()
	for _, o := range w.operations() {
		t.Run(o.name, func(t *testing.T) {
			w.t = t
			total := w.count(o)
			chosen := map[int]bool{}
			for _, i := range sample(total) {
				chosen[i] = true
			}
			w.fresh(o)
			d, err := newDisk(w.root())
			if err != nil {
				t.Fatal(err)
			}
			scratch := filepath.Join(t.TempDir(), "after")
			tried := 0
			try := func(i int) error {
				for name, remains := range map[string]func(string) error{"everything unsynced": d.pessimist, "unsynced contents": d.optimist} {
					if err := os.RemoveAll(scratch); err != nil {
						return err
					}
					if err := remains(scratch); err != nil {
						return fmt.Errorf("make the disk after the cut: %w", err)
					}
					os.Chmod(scratch, 0o700)
					tried++
					if err := w.visible(scratch, o); err != nil {
						return fmt.Errorf("%s lost before change %d of %d: %w", name, i, total, err)
					}
					if err := w.recovers(scratch, o); err != nil {
						return fmt.Errorf("%s lost before change %d of %d: %w", name, i, total, err)
					}
				}
				return nil
			}
			_, _, err = run(w.each(func(c call, i int) error {
				d.before(c)
				if chosen[i] {
					return try(i)
				}
				return nil
			}), nil, w.command(w.root(), o.argv...)...)
			if err == nil {
				err = try(total)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d changes, %d disks looked at", total, tried)
		})
	}
}
