package usernet_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"loper.run/internal/netlink"
	"loper.run/internal/netns"
	"loper.run/internal/proc"
	"loper.run/network/usernet"
	"loper.run/test/env"

	"golang.org/x/sys/unix"
)

// server is where the test's outer world answers.
const server = "198.51.100.1"

// outside is a network namespace that has a way to a server.
func outside(t *testing.T) *env.Netns {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	env.Tun(t)
	host, world := env.TestNetns(t), env.TestNetns(t)
	if err := env.Wire(host, "eth0", []string{"198.51.100.2/24"}, world, "world", []string{server + "/24"}); err != nil {
		t.Fatal(err)
	}
	if err := host.IP("route", "add", "default", "via", server); err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	var err error
	world.Do(func() { l, err = net.Listen("tcp", server+":80") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			fmt.Fprint(c, "hello")
			c.Close()
		}
	}()
	return host
}

// reached asks the server from the user's network namespace.
func reached(s *usernet.Space) error {
	fds, err := netns.Open(s.Net, netns.Want{Domain: unix.AF_INET, Type: unix.SOCK_STREAM})
	if err != nil {
		return err
	}
	defer unix.Close(fds[0])
	if err := unix.SetsockoptTimeval(fds[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	var to unix.SockaddrInet4
	to.Port = 80
	copy(to.Addr[:], net.ParseIP(server).To4())
	if err := unix.Connect(fds[0], &to); err != nil {
		return os.NewSyscallError("connect", err)
	}
	text := make([]byte, 10)
	n, err := unix.Read(fds[0], text)
	if err != nil || string(text[:n]) != "hello" {
		return fmt.Errorf("%q, %v", text[:max(n, 0)], err)
	}
	return nil
}

func same(t *testing.T, a, b *usernet.Space) {
	t.Helper()
	for _, pair := range [][2]*os.File{{a.User, b.User}, {a.Net, b.Net}} {
		x, err1 := pair[0].Stat()
		y, err2 := pair[1].Stat()
		if err := errors.Join(err1, err2); err != nil || !os.SameFile(x, y) {
			t.Errorf("another namespace: %v", err)
		}
	}
}

func enter(t *testing.T, dir, name string, needs usernet.Needs) *usernet.Space {
	t.Helper()
	s, err := usernet.Enter(dir, name, needs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func leave(t *testing.T, dir, name string, s *usernet.Space) {
	t.Helper()
	if err := usernet.Leave(dir, name); err != nil {
		t.Error(err)
	}
	s.Close()
}

// empty checks that nothing is left in the run root.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if s, err := usernet.Find(dir); !errors.Is(err, usernet.ErrNone) {
		t.Errorf("found: %v, %v", s, err)
	}
}

func TestSpace(t *testing.T) {
	if !env.AsUser(t, true, outside(t)) {
		return
	}
	env.Need(t, "pasta")
	dir := t.TempDir()
	empty(t, dir)
	first := enter(t, dir, "first", usernet.Needs{})
	second := enter(t, dir, "second", usernet.Needs{Out: true})
	same(t, first, second)
	if second.NoWay != nil {
		t.Fatal(second.NoWay)
	}
	if err := reached(first); err != nil {
		t.Error(err)
	}
	route, err := netns.Open(first.Net, netns.Netlink(unix.NETLINK_ROUTE))
	if err != nil {
		t.Fatal(err)
	}
	c, err := netlink.New(route[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"lo", usernet.WayOut} {
		if l, err := c.Link(name); err != nil || !l.Up {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	pasta := pastaOf(t, dir)
	if args, err := os.ReadFile("/proc/" + strconv.Itoa(pasta.Pid) + "/cmdline"); err != nil || !strings.Contains(string(args), "--no-map-gw") {
		t.Errorf("%q, %v", args, err)
	}

	// Whoever ends pasta loses the way out until the next container.
	if err := pasta.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ends(t, pasta)
	third := enter(t, dir, "third", usernet.Needs{Out: true})
	same(t, first, third)
	if err := errors.Join(third.NoWay, reached(third)); err != nil {
		t.Error(err)
	}
	pasta = pastaOf(t, dir)

	leave(t, dir, "second", second)
	leave(t, dir, "first", first)
	leave(t, dir, "first", enter(t, dir, "fourth", usernet.Needs{})) // who did not enter
	if found, err := usernet.Find(dir); err != nil {
		t.Error(err)
	} else {
		same(t, third, found)
		found.Close()
	}
	if err := usernet.Leave(dir, "fourth"); err != nil {
		t.Error(err)
	}
	// Holders who closed them already are none.
	third.Close()
	if s, err := usernet.Find(dir); !errors.Is(err, usernet.ErrNone) {
		t.Errorf("%v, %v", s, err)
	}
	if err := usernet.Leave(dir, "third"); err != nil {
		t.Error(err)
	}
	ends(t, pasta)
	empty(t, dir)
}

// ends waits until a process that was ended is gone.
func ends(t *testing.T, p proc.ID) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); p.Alive(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("pasta is left")
		}
	}
}

func pastaOf(t *testing.T, dir string) proc.ID {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "usernet/pasta.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	id, err := proc.Find(pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Twenty at once find each other, and the last one leaves nothing.
func TestCrowd(t *testing.T) {
	if !env.AsUser(t, true, outside(t)) {
		return
	}
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for round := range 3 {
				name := fmt.Sprint("holder", i, "of", round)
				s, err := usernet.Enter(dir, name, usernet.Needs{})
				if err != nil {
					t.Error(err)
					return
				}
				if found, err := usernet.Find(dir); err != nil {
					t.Error(err)
				} else {
					same(t, s, found)
					found.Close()
				}
				if err := usernet.Hold(dir, name); err != nil {
					t.Error(err)
				}
				if err := usernet.Leave(dir, name); err != nil {
					t.Error(err)
				}
				s.Close()
			}
		})
	}
	all.Wait()
	empty(t, dir)
}

// What a killed holder left is taken away by the next one.
func TestHolderIsKilled(t *testing.T) {
	if dir := os.Getenv("LOPER_TEST_HOLDER"); dir != "" {
		enter(t, dir, "killed", usernet.Needs{Out: true})
		fmt.Println("holds")
		select {}
	}
	if !env.AsUser(t, true, outside(t)) {
		return
	}
	env.Need(t, "pasta")
	dir := t.TempDir()
	c := exec.Command("/proc/self/exe", "-test.run=^TestHolderIsKilled$")
	c.Env = append(os.Environ(), "LOPER_TEST_HOLDER="+dir)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fscanln(out)
	pasta := pastaOf(t, dir)
	found, err := usernet.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Process.Kill()
	c.Wait()
	if err := usernet.Hold(dir, "killed"); err != nil {
		t.Error(err) // its heir, had it been given the descriptors
	}
	if err := usernet.Leave(dir, "killed"); err != nil {
		t.Error(err)
	}
	ends(t, pasta)
	found.Close()
	empty(t, dir)
}

// A pasta that does not start is told of in its own words, and keeps nobody from having networks.
func TestPastaFails(t *testing.T) {
	if !env.AsUser(t, true, nil) {
		return
	}
	bin, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "pasta"), []byte("#!/bin/sh\necho first >&2\necho 'no template interface' >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("LOPER_NET", filepath.Join(bin, "none"))
	s := enter(t, dir, "first", usernet.Needs{Out: true})
	if s.NoWay == nil || !strings.Contains(s.NoWay.Error(), "no template interface") || strings.Contains(s.NoWay.Error(), "\n") {
		t.Errorf("%v", s.NoWay)
	}
	if _, err := usernet.Enter(dir, "second", usernet.Needs{Out: true, Ports: true}); err == nil || !strings.Contains(err.Error(), "publish ports") {
		t.Errorf("%v", err)
	}
	if err := usernet.Leave(dir, "second"); err != nil {
		t.Error(err)
	}
	leave(t, dir, "first", s)
	empty(t, dir)
}
