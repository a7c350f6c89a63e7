package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"loper.run/internal/netcontrol"
	"loper.run/test/env"
)

// ways are ways out of the same namespace.
var ways = []struct {
	name  string
	begin func(w *world)
}{
	{"loper-net", func(w *world) { w.start(netcontrol.Program{Interface: "out0"}) }},
	{"loper-net-65520", func(w *world) { w.start(netcontrol.Program{Interface: "out0", MTU: 65520}) }},
	{"slirp4netns", func(w *world) {
		w.background("slirp4netns", "--configure", "--mtu=65520", "--netns-type=path", "--userns-path="+w.path(w.owner.Fd()), w.path(w.user.File().Fd()), "out0")
	}},
	{"pasta", func(w *world) {
		w.background("pasta", "--foreground", "--config-net", "--runas", "0", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--userns", w.path(w.owner.Fd()), "--netns", w.path(w.user.File().Fd()))
	}},
}

func (w *world) path(fd uintptr) string { return fmt.Sprintf("/proc/%d/fd/%d", syscall.Getpid(), fd) }

// background runs a program on the host until the end, and waits for its interface.
func (w *world) background(argv ...string) {
	w.t.Helper()
	env.Need(w.t, argv[0])
	var said strings.Builder
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &said, &said
	var err error
	w.host.Do(func() { err = cmd.Start() })
	must(w.t, err)
	w.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	w.carrier = cmd.Process.Pid
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		if c, err := dial(w.user, "udp", peerAddress+":9"); err == nil {
			c.Close()
			return
		}
	}
	w.t.Fatalf("%s: %s", argv[0], &said)
}

func BenchmarkOut(b *testing.B) {
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			w := newWorld(b, nil)
			way.begin(w)
			benchmarks(b, w, listen(b, w.peer, peerAddress+":0"), w.user)
		})
	}
}

// benchmarks measures connections from one namespace to a listener, and what they cost in time of the program between:
// that depends less on what else the machine does.
func benchmarks(b *testing.B, w *world, l net.Listener, from *env.Netns) {
	if w.client != nil {
		w.carrier = w.client.Hello.PID
	}
	go serveEach(l, told)
	connect := func(b *testing.B, word string) net.Conn {
		c, err := dial(from, "tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		io.WriteString(c, word)
		return c
	}
	chunk := make([]byte, 128<<10)
	b.Run("upload", func(b *testing.B) {
		defer w.spent(b)()
		c := connect(b, "<")
		defer c.Close()
		b.SetBytes(int64(len(chunk)))
		for b.Loop() {
			if _, err := c.Write(chunk); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("download", func(b *testing.B) {
		defer w.spent(b)()
		c := connect(b, ">")
		defer c.Close()
		b.SetBytes(int64(len(chunk)))
		for b.Loop() {
			if _, err := io.ReadFull(c, chunk); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("roundtrip", func(b *testing.B) {
		defer w.spent(b)()
		c := connect(b, "=")
		defer c.Close()
		for b.Loop() {
			c.Write(chunk[:1])
			if _, err := io.ReadFull(c, chunk[:1]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("connect", func(b *testing.B) {
		defer w.spent(b)()
		for b.Loop() {
			c := connect(b, "=x")
			if _, err := io.ReadFull(c, chunk[:1]); err != nil {
				b.Fatal(err)
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
}

// BenchmarkPorts measures connections to a published port, from outside.
func BenchmarkPorts(b *testing.B) {
	w := newPorts(b)
	_, err := w.client.Publish(published("tcp", "", 8080))
	must(b, err)
	benchmarks(b, w, elsewhere{listen(b, w.container, containerAddress+":80"), hostAddress + ":8080"}, w.peer)
}

// elsewhere is a listener that is reached at another address.
type elsewhere struct {
	net.Listener
	address string
}

func (l elsewhere) Addr() net.Addr { return addressText(l.address) }

type addressText string

func (addressText) Network() string  { return "tcp" }
func (a addressText) String() string { return string(a) }

// spent reports how much processor time the program between takes for an operation.
func (w *world) spent(b *testing.B) func() {
	before := w.processorTime()
	return func() { b.ReportMetric(float64(w.processorTime()-before)/float64(b.N), "cpu-ns/op") }
}

// processorTime is what all threads of the program between have had, in nanoseconds.
func (w *world) processorTime() (all int64) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", w.carrier))
	for _, thread := range threads {
		var t int64
		data, _ := os.ReadFile(thread)
		fmt.Sscan(string(data), &t)
		all += t
	}
	return all
}

// BenchmarkStart measures how long a first container waits for its way out.
func BenchmarkStart(b *testing.B) {
	w := newWorld(b, nil)
	for b.Loop() {
		w.start(netcontrol.Program{Interface: "out0"})
		b.StopTimer()
		w.client.Close()
		w.gone()
		b.StartTimer()
	}
}
