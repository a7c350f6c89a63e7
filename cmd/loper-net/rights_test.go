package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"loper.run/internal/netcontrol"
	"loper.run/test/env"
)

// Both processes have given up what they don't need.
func TestRights(t *testing.T) {
	w := newWorld(t, wayOut())
	out, err := exec.Command("pgrep", "-f", "^loper-net-inside").Output()
	if err != nil {
		t.Skip(err)
	}
	for _, pid := range append(strings.Fields(string(out)), fmt.Sprint(w.client.Hello.PID)) {
		inside := pid != fmt.Sprint(w.client.Hello.PID)
		if link, _ := os.Readlink("/proc/" + pid + "/ns/net"); inside && link != w.nsName() {
			continue // another test's
		}
		status, err := os.ReadFile("/proc/" + pid + "/status")
		must(t, err)
		want := []string{"NoNewPrivs:\t1", "Seccomp:\t2"}
		if inside {
			want = append(want, "CapEff:\t0000000000002000", "CapPrm:\t0000000000002000", "CapInh:\t0000000000000000") // CAP_NET_RAW
		}
		for _, line := range want {
			if !strings.Contains(string(status), line+"\n") {
				t.Errorf("inside %v: not %q in\n%s", inside, line, status)
			}
		}
		files, err := os.ReadDir("/proc/" + pid + "/fd")
		must(t, err)
		for _, f := range files {
			link, _ := os.Readlink("/proc/" + pid + "/fd/" + f.Name())
			if inside && !strings.HasPrefix(link, "socket:") && !strings.HasPrefix(link, "anon_inode:") && link != "/dev/null" && !strings.HasSuffix(link, "/log") && !strings.HasPrefix(link, "/sys/fs/cgroup/") { // Go's runtime reads its limits
				t.Errorf("the process inside has %s", link)
			}
		}
	}
}

// An ordinary user starts it as loper does.
func TestOrdinaryUser(t *testing.T) {
	u := env.Ordinary(t, false)
	env.Tun(t)
	host, peer := env.TestNetns(t), env.TestNetns(t)
	must(t, env.Wire(host, "wire", []string{hostAddress + "/24"}, peer, "wire", []string{peerAddress + "/24"}))
	l := listen(t, peer, peerAddress+":0")
	go serveEach(l, func(c net.Conn) { fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP) })
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = d[:strings.LastIndex(d, "/")] {
		must(t, os.Chmod(d, 0o755))
	}
	must(t, os.Chmod(programs, 0o755))
	must(t, u.Own(dir))
	own, err := os.Executable()
	must(t, err)
	copied := dir + "/test"
	if out, err := exec.Command("cp", own, programs+"/loper-net", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.Rename(dir+own[strings.LastIndex(own, "/"):], copied))
	cmd := exec.Command(copied)
	u.Command(cmd)
	cmd.Env = []string{asUser + "=" + dir, peerEnv + "=" + l.Addr().String(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	var out []byte
	host.Do(func() { out, err = cmd.CombinedOutput() })
	if err != nil || string(out) != hostAddress+"\n" {
		log, _ := os.ReadFile(dir + "/log")
		t.Errorf("%v: %s\n%s", err, out, log)
	}
}

// What TestOrdinaryUser has a process of the user told.
const asUser, peerEnv = "LOPER_TEST_AS_USER", "LOPER_TEST_PEER"

// userMain is that process: it makes namespaces, starts loper-net for them, and connects from within.
func userMain(dir string) error {
	inner := exec.Command("unshare", "--user", "--map-root-user", "--net", dir+"/test")
	inner.Env = []string{innerEnv + "=1", peerEnv + "=" + os.Getenv(peerEnv), "PATH=" + os.Getenv("PATH")}
	begin, err := inner.StdinPipe()
	if err != nil {
		return err
	}
	out, err := inner.StdoutPipe()
	if err != nil {
		return err
	}
	inner.Stderr = os.Stderr
	if err := inner.Start(); err != nil {
		return err
	}
	defer inner.Process.Kill()
	out.Read(make([]byte, 1)) // it is there
	var files []*os.File
	for _, name := range []string{"user", "net"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", inner.Process.Pid, name))
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	c, err := netcontrol.Program{Path: dir + "/loper-net", Dir: dir, Log: dir + "/log", Interface: "out0"}.Start(files[0], files[1])
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintln(begin)
	said := make([]byte, 100)
	n, _ := out.Read(said)
	fmt.Println(string(said[:n]))
	if err := inner.Wait(); err != nil {
		return err
	}
	c.Close()
	for range 500 {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", c.Hello.PID)); os.IsNotExist(err) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("loper-net is still there")
}

const innerEnv = "LOPER_TEST_INNER"

// innerMain is the process in the user's namespaces.
func innerMain() error {
	fmt.Print("x")
	os.Stdin.Read(make([]byte, 1))
	c, err := net.DialTimeout("tcp", os.Getenv(peerEnv), 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	said := make([]byte, 100)
	n, err := c.Read(said)
	os.Stdout.Write(said[:n])
	return err
}
