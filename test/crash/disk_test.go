package crash

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"loper.run/test/env"
)

// writerEnv makes this test's program write a file below a directory, carefully or not.
const writerEnv = "LOPER_CRASH_WRITER"

func writer(dir string) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	careful := os.Getenv(writerEnv) == "careful"
	f, err := os.Create(filepath.Join(dir, ".file"))
	must(err)
	_, err = f.WriteString("content")
	must(err)
	if careful {
		must(f.Sync())
	}
	must(f.Close())
	must(os.Rename(filepath.Join(dir, ".file"), filepath.Join(dir, "file")))
	d, err := os.Open(dir)
	must(err)
	if careful {
		must(d.Sync())
	}
	must(os.Mkdir(filepath.Join(dir, "last"), 0o700))
	os.Exit(0)
}

// The power cut takes what was not synced, and nothing else: a program that writes carelessly is found out.
func TestDisk(t *testing.T) {
	env.NeedRoot(t)
	type left struct{ pessimist, optimist string }
	for how, want := range map[string]left{"careful": {"content", "content"}, "careless": {"gone", ""}} {
		dir := filepath.Join(t.TempDir(), how)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		d, err := newDisk(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got left
		look := func(remains func(string) error) string {
			after := filepath.Join(t.TempDir(), "after")
			if err := remains(after); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(filepath.Join(after, "file"))
			if err != nil {
				return "gone"
			}
			return string(data)
		}
		_, _, err = run(func(c call) error {
			if dev, ok := c.device(); !ok || dev != d.dev {
				return nil
			}
			d.before(c)
			if c.nr == unix.SYS_MKDIRAT {
				got = left{look(d.pessimist), look(d.optimist)}
			}
			return nil
		}, []string{writerEnv + "=" + how}, "/proc/self/exe", dir)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: left is %q, want %q", how, got, want)
		}
	}
}

// A killed command did what came before the kill, and nothing else.
func TestKill(t *testing.T) {
	env.NeedRoot(t)
	dir := t.TempDir()
	killed, _, err := run(func(c call) error {
		if c.nr == unix.SYS_RENAMEAT || c.nr == unix.SYS_RENAME || c.nr == unix.SYS_RENAMEAT2 {
			return errStop
		}
		return nil
	}, []string{writerEnv + "=careless"}, "/proc/self/exe", dir)
	if err != nil || !killed {
		t.Fatalf("killed: %t, %v", killed, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".file")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "file")); err == nil {
		t.Error("the rename came about")
	}
}
