package monitor

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/attach"
	"loper.run/container/attach/packet"
	"loper.run/container/logs"
)

// much is reproducible binary output.
func much(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{1}), n)
}

func printMuch(n string) int {
	size, _ := strconv.ParseInt(n, 10, 64)
	if _, err := io.Copy(os.Stdout, much(size)); err != nil {
		return 1
	}
	return 0
}

// slow is a client that reads at its leisure.
type slow struct {
	hash.Hash
	n     int64
	pause func(n int64) time.Duration
}

func (s *slow) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	time.Sleep(s.pause(s.n))
	return s.Hash.Write(p)
}

// A slow client gets all of a lot of output, and the monitor's memory does not
// grow with it; the bounded log has the end of it.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	const size = 40 << 20
	b := newBoxArgs(t, "/proc/self/exe", "output", strconv.Itoa(size))
	b.c.Attached = true
	b.c.Log = logs.Config{MaxSize: 1 << 20, MaxFiles: 2}
	b.launch()
	c := b.attach()
	b.started()
	var most int
	out := &slow{Hash: sha256.New(), pause: func(n int64) time.Duration {
		if n%(4<<20) < packet.MaxData {
			most = max(most, memory(t, b.cmd.Pid, "Rss"))
			return 150 * time.Millisecond // of which the container ends during the last
		}
		return 0
	}}
	exit, err := c.Stream(attach.Streams{Out: out})
	if err != nil || exit.Code != 0 {
		t.Fatalf("exit %+v, %v", exit, err)
	}
	want := sha256.New()
	io.Copy(want, much(size))
	if out.n != size || !bytes.Equal(out.Sum(nil), want.Sum(nil)) {
		t.Errorf("got %d bytes, want %d, or they differ", out.n, size)
	}
	if most > 20<<10 {
		t.Errorf("the monitor had %d kB", most)
	}
	b.wait()
	for n := range 3 {
		fi, err := os.Stat(filepath.Join(b.dir, logs.FileName) + strings.Repeat(".1", n))
		if err == nil && fi.Size() > 1<<20 {
			t.Errorf("log %d has %d bytes", n, fi.Size())
		}
	}
}

// A client that does not read at all gets what it has missed when the container
// has long ended, and nobody waited for it.
func TestStoppedClient(t *testing.T) {
	t.Parallel()
	const size = 240 << 10 // more than its socket holds, less than that and the pipe
	b := newBoxArgs(t, "/proc/self/exe", "output", strconv.Itoa(size))
	b.c.Attached = true
	b.launch()
	c := b.attach()
	b.started()
	eventually(t, "the container ended", func() bool { _, err := ReadExit(b.dir); return err == nil })
	eventually(t, "its lock is free", func() bool { return !held(b) })
	var out bytes.Buffer
	if exit, err := c.Stream(attach.Streams{Out: &out}); err != nil || exit.Code != 0 {
		t.Fatalf("exit %+v, %v", exit, err)
	}
	want, _ := io.ReadAll(much(size))
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("got %d bytes, want %d, or they differ", out.Len(), size)
	}
	b.cmd.Wait()
}

func held(b *box) bool {
	fd, err := unix.Open(filepath.Join(b.c.RunDir, LockFile), unix.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) != nil
}

// A client that vanishes with output in its queue lets the container go on.
func TestVanishedClient(t *testing.T) {
	t.Parallel()
	const size = 10 << 20
	b := newBoxArgs(t, "/proc/self/exe", "output", strconv.Itoa(size))
	b.c.Attached, b.c.Log.Driver = true, logs.None
	b.launch()
	c := b.attach()
	b.started()
	time.Sleep(100 * time.Millisecond)
	if _, err := ReadExit(b.dir); err == nil {
		t.Fatal("the container did not wait for its client")
	}
	c.Close()
	if e := b.wait(); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
}

// Both directions at once, more than all buffers hold; the end of the input is
// passed on.
func TestThrough(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	b := newBox(t, "cat; exit 7")
	b.c.Attached, b.c.OpenStdin, b.c.StdinOnce, b.c.Log.Driver = true, true, true, logs.None
	b.launch()
	c := b.attach()
	b.started()
	out := &slow{Hash: sha256.New(), pause: func(n int64) time.Duration { return time.Duration(n%3) * 20 * time.Microsecond }}
	exit, err := c.Stream(attach.Streams{In: much(size), Out: out})
	if err != nil || exit.Code != 7 {
		t.Fatalf("exit %+v, %v", exit, err)
	}
	want := sha256.New()
	io.Copy(want, much(size))
	if out.n != size || !bytes.Equal(out.Sum(nil), want.Sum(nil)) {
		t.Errorf("got %d bytes, want %d, or they differ", out.n, size)
	}
}

// A client keeps its connection, its input and its part while the monitor
// replaces itself.
func TestReplacedUnderClient(t *testing.T) {
	t.Parallel()
	b := newBox(t, "while read line; do echo got $line; done; exit 6")
	b.c.OpenStdin, b.c.StdinOnce = true, true
	b.start()
	c := b.attach()
	in, feed := io.Pipe()
	out, show := io.Pipe()
	done := make(chan error, 1)
	go func() {
		exit, err := c.Stream(attach.Streams{In: in, Out: show})
		if err == nil && exit.Code != 6 {
			err = fmt.Errorf("exit %+v", exit)
		}
		done <- err
	}()
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	io.WriteString(feed, "one\n")
	expect("got one\n")
	pid := b.pid()
	b.replaced()
	io.WriteString(feed, "two\n")
	expect("got two\n")
	if b.pid() != pid || !alive(pid) {
		t.Error("the container is another one")
	}
	feed.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if e := b.wait(); e.Code != 6 {
		t.Errorf("exit %+v", e)
	}
	if out, _ := logOf(t, b); out != "got one\ngot two\n" {
		t.Errorf("logged %q", out)
	}
}

func TestManyClients(t *testing.T) {
	t.Parallel()
	b := newBox(t, "read x; echo $x; read x; echo $x")
	b.c.OpenStdin = true
	b.start()
	const n = 5
	results := make(chan string, n)
	for range n {
		c := b.attach()
		go func() {
			var out bytes.Buffer
			_, err := c.Stream(attach.Streams{Out: &out})
			results <- fmt.Sprint(out.String(), err)
		}()
	}
	eventually(t, "all connected", func() bool { return descriptors(t, b.cmd.Pid) >= 10+n })
	// Without StdinOnce the end of a client's input is not the container's.
	for _, text := range []string{"one\n", "two\n"} {
		c := b.attach()
		go c.Stream(attach.Streams{In: strings.NewReader(text)})
		eventually(t, text, func() bool { out, _ := logOf(t, b); return strings.Contains(out, text) })
	}
	for range n {
		if got := <-results; got != "one\ntwo\n<nil>" {
			t.Errorf("a client got %q", got)
		}
	}
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func TestAttachCycles(t *testing.T) {
	t.Parallel()
	b := newBox(t, "while :; do echo x; sleep 0.01; done").start()
	time.Sleep(20 * time.Millisecond)
	before := descriptors(t, b.cmd.Pid)
	for i := range 100 {
		c, err := attach.Connect(b.c.RunDir)
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			c.Resize(10, 10)
		}
		c.Close()
	}
	eventually(t, "no descriptor is left", func() bool { return descriptors(t, b.cmd.Pid) <= before })
	b.replaced()
	seen := make(chan bool, 1)
	go b.attach().Stream(attach.Streams{Out: writer(func() { // it stays
		select {
		case seen <- true:
		default:
		}
	})})
	<-seen
	after := descriptors(t, b.cmd.Pid)
	for range 100 {
		b.attach().Close()
	}
	eventually(t, "no descriptor is left after the replacement", func() bool { return descriptors(t, b.cmd.Pid) <= after })
}

// writer calls a function at every write.
type writer func()

func (w writer) Write(p []byte) (int, error) { w(); return len(p), nil }

// More clients than the monitor serves are turned away; rude ones are too.
func TestUnwelcome(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep 100").start()
	for _, p := range []string{"?", "wxx", "\x00", "i" + strings.Repeat("x", packet.MaxData+1)} {
		fd := b.raw()
		unix.Send(fd, []byte(p), 0)
		if n, err := unix.Read(fd, make([]byte, 1)); n > 0 || err != nil && err != unix.ECONNRESET {
			t.Errorf("%.5q: read %d, %v", p, n, err)
		}
		unix.Close(fd)
	}
	for range maxClients {
		b.attach()
	}
	c := b.attach()
	if _, err := c.Stream(attach.Streams{}); err != attach.ErrGone {
		t.Errorf("one too many: %v", err)
	}
	if !alive(b.pid()) {
		t.Error("the container died")
	}
}

// raw is a connection without a client's manners.
func (b *box) raw() int {
	b.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: filepath.Join(b.c.RunDir, SocketFile)})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return fd
}

// The first client is there before the container: it misses nothing.
func TestFirstClient(t *testing.T) {
	t.Parallel()
	b := newBox(t, "echo first")
	b.c.Attached = true
	b.launch()
	var out bytes.Buffer
	if exit, err := b.attach().Stream(attach.Streams{Out: &out}); err != nil || exit.Code != 0 {
		t.Errorf("exit %+v, %v", exit, err)
	}
	if out.String() != "first\n" {
		t.Errorf("got %q", out.String())
	}
}

// Addresses of sockets have 108 bytes; directories have more.
func TestLongPath(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep 100")
	b.c.RunDir = filepath.Join(b.dir, strings.Repeat("long/", 50), "run")
	if err := os.MkdirAll(b.c.RunDir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.start()
	c := b.attach()
	syscall.Kill(b.pid(), syscall.SIGTERM)
	if exit, err := c.Stream(attach.Streams{}); err != nil || exit.Code != 143 {
		t.Errorf("exit %+v, %v", exit, err)
	}
}
