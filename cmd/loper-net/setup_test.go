package main

import (
	"fmt"
	"net"
	"net/netip"
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

// programs is where loper-net was built.
var programs string

func TestMain(m *testing.M) {
	role := func() error { return nil }
	if dir := os.Getenv(asUser); dir != "" {
		role = func() error { return userMain(dir) }
	} else if os.Getenv(innerEnv) != "" {
		role = innerMain
	}
	if os.Getenv(asUser)+os.Getenv(innerEnv) != "" {
		if err := role(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := func() int {
		var err error
		if programs, err = os.MkdirTemp("", "loper-net-"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(programs)
		if err := env.BuildNet(programs); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}()
	os.Exit(code)
}

// The addresses of a world.
const (
	hostAddress, hostAddress6           = "192.0.2.1", "2001:db8::1"
	peerAddress, peerAddress6           = "192.0.2.2", "2001:db8::2"
	containerAddress, containerAddress6 = "10.89.0.2", "fd89::2"
	gateway, gateway6                   = "10.89.0.1", "fd89::1"
)

// world is a host, a peer on its wire, a user's namespaces, and a container in them.
type world struct {
	t                           testing.TB
	host, peer, user, container *env.Netns
	owner                       *os.File // the user namespace
	dir                         string
	client                      *netcontrol.Client
	carrier                     int // the process whose time benchmarks measure
}

// newWorld makes a world, where loper-net has been started if program is given.
func newWorld(t testing.TB, program *netcontrol.Program) *world {
	t.Helper()
	w := &world{t: t, host: env.TestNetns(t), peer: env.TestNetns(t), container: env.TestNetns(t), dir: t.TempDir()}
	must(t, env.Wire(w.host, "wire", []string{hostAddress + "/24", hostAddress6 + "/64"}, w.peer, "wire", []string{peerAddress + "/24", peerAddress6 + "/64"}))
	holder := exec.Command("sleep", "infinity")
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{Size: 65536}}, GidMappings: []syscall.SysProcIDMap{{Size: 65536}},
	}
	must(t, holder.Start())
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	ns := func(name string) *os.File {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", holder.Process.Pid, name))
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	w.owner, w.user = ns("user"), env.NetnsOf(ns("net"))
	must(t, env.Wire(w.user, "bridge0", []string{gateway + "/24", gateway6 + "/64"}, w.container, "eth0", []string{containerAddress + "/24", containerAddress6 + "/64"}))
	must(t, w.container.IP("route", "add", "default", "via", gateway))
	must(t, w.container.IP("route", "add", "default", "via", gateway6))
	must(t, w.user.Setting("ipv4/ip_forward", "1"))
	must(t, w.user.Setting("ipv6/conf/all/forwarding", "1"))
	must(t, w.host.IP("route", "add", "default", "via", peerAddress))
	must(t, w.host.IP("route", "add", "default", "via", peerAddress6))
	must(t, w.host.Setting("ipv4/ping_group_range", "0 2147483647"))
	if program != nil {
		w.start(*program)
	}
	return w
}

// start starts loper-net on the host.
func (w *world) start(p netcontrol.Program) {
	w.t.Helper()
	p.Path, p.Dir, p.Log = filepath.Join(programs, "loper-net"), w.dir, filepath.Join(w.dir, "log")
	var err error
	w.host.Do(func() { w.client, err = p.Start(w.owner, w.user.File()) })
	log, _ := os.ReadFile(p.Log)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, log)
	}
	w.t.Cleanup(func() {
		w.client.Close()
		w.gone()
		if log, _ := os.ReadFile(p.Log); len(log) > 0 {
			w.t.Errorf("loper-net said:\n%s", log)
		}
	})
}

// gone waits until loper-net has ended, and its helper too.
func (w *world) gone() {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left := w.left()
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("still there: %s", left)
		}
	}
}

// left are loper-net's processes: itself, and what is in the namespace besides its holder.
func (w *world) left() string {
	var found []string
	if c := w.client; c != nil {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", c.Hello.PID)); err == nil {
			found = append(found, "loper-net")
		}
	}
	out, _ := exec.Command("pgrep", "-f", "^loper-net-inside", "--ns", fmt.Sprint(os.Getpid()), "--nslist", "pid").Output()
	for _, pid := range strings.Fields(string(out)) {
		if link, _ := os.Readlink("/proc/" + pid + "/ns/net"); link == w.nsName() {
			found = append(found, "its process inside")
		}
	}
	return strings.Join(found, ", ")
}

func (w *world) nsName() string {
	var st syscall.Stat_t
	must(w.t, syscall.Fstat(int(w.user.File().Fd()), &st))
	return fmt.Sprintf("net:[%d]", st.Ino)
}

// listen listens in a namespace.
func listen(t testing.TB, n *env.Netns, address string) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	n.Do(func() { l, err = net.Listen("tcp", address) })
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// dial connects from a namespace.
func dial(n *env.Netns, network, address string) (net.Conn, error) {
	var c net.Conn
	var err error
	n.Do(func() { c, err = net.DialTimeout(network, address, 10*time.Second) })
	return c, err
}

// published is a port that leads to the container.
func published(protocol, host string, port uint16) netcontrol.Port {
	p := netcontrol.Port{Protocol: protocol, Port: port, Targets: []netcontrol.Target{
		{Address: netip.AddrPortFrom(netip.MustParseAddr(containerAddress), 80), Subnet: netip.MustParsePrefix(gateway + "/24").Masked(), Gateway: netip.MustParseAddr(gateway)},
		{Address: netip.AddrPortFrom(netip.MustParseAddr(containerAddress6), 80), Subnet: netip.MustParsePrefix(gateway6 + "/64").Masked(), Gateway: netip.MustParseAddr(gateway6)},
	}}
	if host != "" {
		p.Host = netip.MustParseAddr(host)
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
