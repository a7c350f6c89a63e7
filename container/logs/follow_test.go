package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"loper.run/internal/flock"
)

// A follower sees every line once, in order, while files rotate under it, and
// ends when the lock is free.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	path, lock := filepath.Join(dir, FileName), filepath.Join(dir, "lock")
	held, err := flock.TryExclusive(lock)
	if err != nil {
		t.Fatal(err)
	}
	const n = 3000
	go func() {
		defer held.Close()
		time.Sleep(30 * time.Millisecond) // the log does not exist yet
		// Far more files than a follower can fall behind.
		w, err := Open(Config{Path: path, MaxSize: 1000, MaxFiles: 500})
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		for i := range n {
			w.Write(Stdout, fmt.Appendln(nil, i))
			if i%500 == 0 {
				time.Sleep(20 * time.Millisecond)
			}
		}
	}()
	var got, want bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := Copy(ctx, path, Query{Follow: true, Lock: lock}, &got, nil); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		fmt.Fprintln(&want, i)
	}
	if got.String() != want.String() {
		t.Errorf("followed %d bytes, want %d", got.Len(), want.Len())
	}
}

// Lines arrive while the container runs, not at its end.
func TestFollowPrompt(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	w := open(t, Config{Path: path})
	write(t, w, Stdout, "old\nnew")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lines := make(chan string, 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := Read(ctx, path, Query{Follow: true, Tail: 1}, func(r Record) error {
			lines <- string(r.Data)
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("no %q", want)
		}
	}
	expect("new")
	write(t, w, Stdout, "er\n")
	expect("er")
	// Half a record is not shown until it is whole.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("2023-11-14T22:13:20.5Z stdo")
	time.Sleep(20 * time.Millisecond)
	f.WriteString("ut F whole\n")
	expect("whole")
	cancel()
	wg.Wait()
}
