package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/internal/userns"
)

// TestMain lets the test binary be a second process that works on a store
// until it is killed.
func TestMain(m *testing.M) {
	layer.Workers()
	userns.Main()
	if root := os.Getenv("LOPER_TEST_STORE"); root != "" {
		if err := work(root, os.Getenv("LOPER_TEST_SEED")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const layerFiles = 20

// work pulls, tags and deletes images as fast as it can.
func work(root, seed string) error {
	ctx := context.Background()
	s, err := Open(root)
	if err != nil {
		return err
	}
	os.Stdout.WriteString("ready\n")
	for i := 0; ; i++ {
		if err := pull(ctx, s, fmt.Sprint(seed, i%5)); err != nil {
			return err
		}
		if i%3 == 2 {
			err := s.DeleteImage(ctx, digest("config"+fmt.Sprint(seed, (i-1)%5)), nil)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			if _, err := s.Collect(ctx); err != nil && !errors.Is(err, ErrBusy) {
				return err
			}
		}
	}
}

func pull(ctx context.Context, s *Store, what string) error {
	release, err := s.Use(ctx)
	if err != nil {
		return err
	}
	defer release()
	img := Image{ID: digest("config" + what), Manifest: digest("manifest" + what)}
	for _, b := range []string{"config" + what, "manifest" + what} {
		if err := s.PutBlob(digest(b), []byte(b)); err != nil {
			return err
		}
	}
	for _, name := range []string{"shared", "layer" + what} {
		img.Layers = append(img.Layers, digest(name))
		st, err := s.BeginLayer(ctx, digest(name))
		if errors.Is(err, ErrPresent) {
			continue
		}
		if err != nil {
			return err
		}
		p, err := s.Partial(ctx, digest("download"+name))
		if err != nil {
			return err
		}
		if _, err := p.WriteAt(make([]byte, 10000), 0); err != nil {
			return err
		}
		for i := range layerFiles {
			if err := os.WriteFile(filepath.Join(st.Dir.Name(), fmt.Sprint(i)), []byte(name), 0o400); err != nil {
				return err
			}
		}
		if err := p.Remove(); err != nil {
			return err
		}
		if _, err := st.Commit(1, 1); err != nil {
			return err
		}
	}
	if err := s.PutImage(img); err != nil {
		return err
	}
	return s.SetName(Name{Name: "name/" + what, Image: img.ID, Manifest: img.Manifest})
}

// check says what is wrong with a store in which nobody works.
func check(t *testing.T, s *Store) {
	t.Helper()
	images, err := s.Images()
	if err != nil {
		t.Error(err)
	}
	for _, img := range images {
		for _, d := range []oci.Digest{img.ID, img.Manifest} {
			if _, err := s.Blob(d, 1000); err != nil {
				t.Errorf("image %s: %v", img.ID.Short(), err)
			}
		}
		for _, d := range img.Layers {
			l, err := s.Layer(d)
			if err != nil {
				t.Errorf("image %s: %v", img.ID.Short(), err)
				continue
			}
			for i := range layerFiles {
				data, err := os.ReadFile(filepath.Join(l.Dir, fmt.Sprint(i)))
				if err != nil || digest(string(data)) != d {
					t.Errorf("image %s: layer %s: file %d: %q, %v", img.ID.Short(), d.Short(), i, data, err)
				}
			}
		}
	}
	if _, err := s.Names(); err != nil {
		t.Error(err)
	}
	if _, err := s.Collect(context.Background()); err != nil {
		t.Error(err)
	}
	names, err := s.Names()
	if err != nil {
		t.Error(err)
	}
	for _, n := range names {
		if _, err := s.Image(n.Image); err != nil {
			t.Errorf("name %s: %v", n.Name, err)
		}
	}
	if left, _ := os.ReadDir(s.path(stagingDir)); len(left) != 0 {
		t.Errorf("left in staging: %v", left)
	}
}

// TestKill kills two processes that work on one store, at any moment, again
// and again: what is left is whole, and is cleaned up.
func TestKill(t *testing.T) {
	s := open(t)
	runs := 40
	if testing.Short() {
		runs = 5
	}
	for run := range runs {
		var procs []*exec.Cmd
		for _, seed := range []string{"a", "b"} {
			c := exec.Command("/proc/self/exe")
			c.Env = append(os.Environ(), "LOPER_TEST_STORE="+s.root, "LOPER_TEST_SEED="+seed)
			var stderr bytes.Buffer
			c.Stderr = &stderr
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 16)); err != nil {
				c.Wait()
				t.Fatalf("the worker did not start: %s", stderr.String())
			}
			procs = append(procs, c)
		}
		time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond)
		for _, c := range procs {
			c.Process.Kill()
		}
		for _, c := range procs {
			err := c.Wait()
			if text := c.Stderr.(*bytes.Buffer).String(); err == nil || text != "" && !strings.Contains(err.Error(), "killed") {
				t.Errorf("run %d: the worker ended by itself: %v: %s", run, err, text)
			}
		}
		check(t, s)
		if t.Failed() {
			t.Fatalf("after run %d", run)
		}
	}
	images, _ := s.Images()
	t.Logf("%d images at the end", len(images))
}
