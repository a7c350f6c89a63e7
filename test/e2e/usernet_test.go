package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"loper.run/internal/proc"
	"loper.run/test/env"
)

// world is what lies behind the host of a test: its address, and a server there that tells who asked.
const world = "198.51.100.1"

// abroad is an ordinary user's engine on a host of the test's own, which has a way to the world.
func abroad(t *testing.T, ranges bool) (e *engine, out *env.Netns) {
	t.Helper()
	env.Need(t, "pasta")
	env.Tun(t)
	host, out := env.TestNetns(t), env.TestNetns(t)
	e = asUser(t, ranges).busybox()
	e.host = host
	if err := env.Wire(e.host, "eth0", []string{"198.51.100.2/24"}, out, "world", []string{world + "/24"}); err != nil {
		t.Fatal(err)
	}
	if err := e.host.IP("route", "add", "default", "via", world); err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	var err error
	out.Do(func() { l, err = net.Listen("tcp", world+":80") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintln(w, "you are "+host)
	}))
	return e, out
}

// sees is what the world tells a container. Debian 12's pasta lets a connection hang now and then, by itself too, so one
// that got no answer is made anew, and said.
func (e *engine) sees(container string) (text string) {
	e.t.Helper()
	tries := 1
	if _, err := os.Stat(filepath.Join(e.runroot, "usernet/pasta.pid")); err == nil {
		tries = 3
	}
	for range tries {
		r := e.run("exec", container, "busybox", "timeout", "5", "busybox", "wget", "-qO-", "http://"+world)
		if r.code == 0 {
			return strings.TrimSpace(r.stdout)
		}
		e.t.Logf("asked the world: %v", r)
	}
	return ""
}

// carrier builds loper-net beside loper, unless it is there.
var carrier = sync.OnceValue(func() error {
	if _, err := os.Stat(filepath.Join(programs, "loper-net")); err == nil {
		return nil
	}
	return env.BuildNet(programs)
})

// without leaves a program out of the engine's PATH.
func (e *engine) without(hidden string) {
	e.t.Helper()
	bin := e.directory()
	for _, name := range []string{"newuidmap", "newgidmap", "pasta"} {
		if path, err := exec.LookPath(name); err == nil && name != hidden {
			if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
				e.t.Fatal(err)
			}
		}
	}
	for i, v := range e.environ {
		if strings.HasPrefix(v, "PATH=") {
			e.environ[i] = "PATH=" + bin
		}
	}
}

// ask fetches a page over TCP, from a namespace.
func ask(from *env.Netns, url string) (string, error) {
	var text string
	var err error
	from.Do(func() {
		out, e := exec.Command("busybox", "timeout", "5", "busybox", "wget", "-qO-", url).CombinedOutput()
		text, err = string(out), e
	})
	return text, err
}

// gone checks that nothing of the user's networks is left.
func (e *engine) gone() {
	e.t.Helper()
	dir := filepath.Join(e.runroot, "usernet")
	eventually(e.t, "no "+dir, func() bool { _, err := os.Lstat(dir); return os.IsNotExist(err) })
	eventually(e.t, "no pasta", func() bool { return exec.Command("pgrep", "-f", "pasta .*"+dir).Run() != nil })
}

func (e *engine) pasta() int {
	e.t.Helper()
	text, err := os.ReadFile(filepath.Join(e.runroot, "usernet/pasta.pid"))
	if err != nil {
		e.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		e.t.Fatal(err)
	}
	return pid
}

// Containers of an ordinary user find each other by name, reach the world, and leave nothing.
func TestUserNetworks(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprintf("ranges=%v", ranges), func(t *testing.T) {
			e, _ := abroad(t, ranges)
			e.must("network", "create", "web")
			e.start("--name", "server", "--network", "web", "busybox", "sh", "-c", "echo served >/tmp/page; exec busybox httpd -f -p 8000 -h /tmp")
			eventually(t, "the server answers by name", func() bool {
				return strings.TrimSpace(e.run("run", "--rm", "--network", "web", "busybox", "busybox", "wget", "-qO-", "http://server:8000/page").stdout) == "served"
			})
			expect(t, "the world sees the host", e.sees("server"), "you are 198.51.100.2")
			expect(t, "ids", e.must("exec", "server", "id", "-u"), "0")
			if out := e.must("exec", "server", "ip", "route"); !strings.Contains(out, "default via") {
				t.Errorf("routes %q", out)
			}
			if !ranges {
				expect(t, "who may ping", e.must("exec", "server", "cat", "/proc/sys/net/ipv4/ping_group_range"), "0\t0")
			} else if out := e.must("exec", "server", "cat", "/proc/sys/net/ipv4/ping_group_range"); out == "0\t0" {
				t.Error("root's group alone may ping")
			}
			// The user namespace is one of the container's own.
			own := e.must("exec", "server", "readlink", "/proc/self/ns/user")
			if other := e.must("run", "--rm", "--network", "web", "busybox", "readlink", "/proc/self/ns/user"); own == other {
				t.Errorf("two containers share the user namespace %s", own)
			}
			e.must("rm", "-f", "server")
			e.gone()
			e.must("network", "rm", "web")
		})
	}
}

// An internal network leads nowhere, and starts no pasta.
func TestUserInternalNetwork(t *testing.T) {
	e, _ := abroad(t, true)
	e.must("network", "create", "--internal", "closed")
	e.start("--name", "inside", "--network", "closed", "busybox", "sleep", "600")
	if r := e.run("exec", "inside", "busybox", "timeout", "1", "busybox", "wget", "-qO-", "http://"+world); r.code == 0 {
		t.Errorf("reached: %v", r)
	}
	if _, err := os.Stat(filepath.Join(e.runroot, "usernet/pasta.pid")); err == nil {
		t.Error("pasta runs for an internal network")
	}
	// Once it is connected to another network, it has a way out.
	e.must("network", "create", "open")
	e.must("network", "connect", "open", "inside")
	expect(t, "the world", e.sees("inside"), "you are 198.51.100.2")
	e.must("network", "disconnect", "open", "inside")
	if r := e.run("exec", "inside", "busybox", "timeout", "1", "busybox", "wget", "-qO-", "http://"+world); r.code == 0 {
		t.Errorf("reached: %v", r)
	}
	e.must("rm", "-f", "inside")
	e.gone()
	e.must("network", "rm", "closed", "open")
}

// The next container mends what a kill left: of pasta, and of a monitor.
func TestUserNetworkIsMended(t *testing.T) {
	e, _ := abroad(t, true)
	e.start("--name", "first", "--network", "bridge", "busybox", "sleep", "600")
	expect(t, "before", e.sees("first"), "you are 198.51.100.2")
	pasta, err := proc.Find(e.pasta())
	if err != nil {
		t.Fatal(err)
	}
	pasta.Signal(syscall.SIGKILL)
	eventually(t, "pasta has ended", func() bool { return !pasta.Alive() })
	e.start("--name", "second", "--network", "bridge", "busybox", "sleep", "600")
	expect(t, "a new container", e.sees("second"), "you are 198.51.100.2")
	expect(t, "the old container", e.sees("first"), "you are 198.51.100.2")
	for _, name := range []string{"first", "second"} {
		pid := e.inspect(name, "{{.State.Pid}}")
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			t.Fatal(err)
		}
		monitor, _ := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(lineWith(string(status), "PPid:"), "PPid:")))
		if monitor < 2 {
			t.Fatalf("the monitor of %s: %d", name, monitor)
		}
		syscall.Kill(monitor, syscall.SIGKILL)
	}
	eventually(t, "both have ended", func() bool { return e.must("ps", "-q") == "" })
	e.must("run", "--rm", "--network", "bridge", "busybox", "true")
	e.must("rm", "-f", "first", "second")
	e.gone()
}

// Twenty at once get along.
func TestUserNetworkCrowd(t *testing.T) {
	e, _ := abroad(t, true)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if r := e.run("run", "--rm", "--network", "bridge", "busybox", "busybox", "timeout", "5", "busybox", "wget", "-qO-", "http://"+world); r.code != 0 || !strings.HasPrefix(r.stdout, "you are") {
				t.Error(r)
			}
		})
	}
	all.Wait()
	e.gone()
}

// Where nothing carries packets, containers have their networks all the same, and a line says what to install.
func TestUserNetworkWithoutWayOut(t *testing.T) {
	e, _ := abroad(t, true)
	e.without("pasta")
	e.environ = append(e.environ, "LOPER_NET=/no/such/program")
	r := e.run("run", "-d", "--name", "alone", "--network", "bridge", "busybox", "sleep", "600")
	if r.code != 0 || !strings.Contains(r.stderr, "install pasta") || strings.Count(r.stderr, "\n") != 1 {
		t.Error(r)
	}
	if out := e.must("run", "--rm", "--log-level", "error", "--network", "bridge", "busybox", "busybox", "nslookup", "alone"); !strings.Contains(out, "Address: 10.") {
		t.Error(out)
	}
	checkFailure(t, e.run("run", "--rm", "--network", "bridge", "-p", "8080:80", "busybox", "true"), 125, []string{"publish ports"})
	checkFailure(t, e.run("run", "--rm", "--network", "bridge", "-p", "80:80", "busybox", "true"), 125, []string{"port 80 is below 1024", "ip_unprivileged_port_start"})
	e.must("rm", "-f", "alone")
	e.gone()
}

// Ports of an ordinary user's containers are reached from the world, with its address, and from the host itself, by IPv4
// and IPv6, whatever carries packets out.
func TestUserPorts(t *testing.T) {
	for _, way := range []string{"pasta", "loper-net"} {
		t.Run(way, func(t *testing.T) {
			if err := carrier(); err != nil {
				t.Fatal(err)
			}
			e, out := abroad(t, true)
			for _, n := range []struct {
				ns      *env.Netns
				address string
				name    string
			}{{e.host, "2001:db8::2/64", "eth0"}, {out, "2001:db8::1/64", "world"}} {
				if err := n.ns.IP("address", "add", n.address, "dev", n.name, "nodad"); err != nil {
					t.Fatal(err)
				}
			}
			if way != "pasta" {
				e.without("pasta")
			}
			e.start("--name", "web", "--network", "bridge", "-p", "8080:80", "-p", "127.0.0.1:8081:80", "busybox", "sh", "-c",
				"echo page >/tmp/page; exec busybox httpd -f -v -p 80 -h /tmp")
			expect(t, "the way out", e.sees("web"), "you are 198.51.100.2")
			// The host's loopback is not for containers, by whatever address.
			var private net.Listener
			var err error
			e.host.Do(func() { private, err = net.Listen("tcp", "127.0.0.1:81") })
			if err != nil {
				t.Fatal(err)
			}
			defer private.Close()
			for _, address := range []string{world, "198.51.100.2", "192.0.0.1", "127.0.0.1", "host.containers.internal"} {
				if r := e.run("exec", "web", "busybox", "timeout", "2", "busybox", "nc", address, "81"); r.code == 0 {
					t.Errorf("the host's loopback is reached by %s: %v", address, r)
				}
			}
			private.(*net.TCPListener).SetDeadline(time.Now())
			if c, err := private.Accept(); err == nil {
				c.Close()
				t.Error("the host's loopback was reached")
			}
			served := func(from *env.Netns, url, client string) {
				t.Helper()
				if text, err := ask(from, url); err != nil || text != "page\n" {
					t.Errorf("%s: %q, %v", url, text, err)
					return
				}
				eventually(t, "the container saw "+client+" ask "+url, func() bool {
					r := e.run("logs", "web")
					lines := strings.Split(strings.TrimSpace(r.stdout+r.stderr), "\n")
					return strings.Contains(lines[len(lines)-1], client)
				})
			}
			served(out, "http://198.51.100.2:8080/page", world+"]")
			served(out, "http://[2001:db8::2]:8080/page", "[2001:db8::1]")
			gateway := e.inspect("web", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}")
			served(e.host, "http://127.0.0.1:8080/page", gateway+"]")
			served(e.host, "http://127.0.0.1:8081/page", gateway+"]")
			if text, err := ask(out, "http://198.51.100.2:8081/page"); err == nil {
				t.Errorf("a port of the host's loopback answered the world: %q", text)
			}
			checkFailure(t, e.run("run", "--rm", "--network", "bridge", "-p", "8080:80", "busybox", "true"), 125, []string{"8080"})

			// Whoever ends loper-net breaks what is open; the ports come back by themselves.
			pids, err := exec.Command("pgrep", "-f", "^"+filepath.Join(programs, "loper-net")).Output()
			if err != nil || len(strings.Fields(string(pids))) != 1 {
				t.Fatalf("loper-net: %q, %v", pids, err)
			}
			pid, _ := strconv.Atoi(strings.TrimSpace(string(pids)))
			syscall.Kill(pid, syscall.SIGKILL)
			eventually(t, "the port is back", func() bool {
				text, _ := ask(out, "http://198.51.100.2:8080/page")
				return text == "page\n"
			})
			expect(t, "the way out again", e.sees("web"), "you are 198.51.100.2")
			e.must("rm", "-f", "web")
			e.gone()
			eventually(t, "loper-net has ended", func() bool {
				return exec.Command("pgrep", "-f", "^"+filepath.Join(programs, "loper-net")).Run() != nil
			})
		})
	}
}
