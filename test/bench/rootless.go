package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"loper.run/test/env"
)

// rootless measures what containers of an ordinary user reach, and how they are reached: through pasta and through
// loper-net, beside podman, and beside pasta and slirp4netns with no engine at all.
func (b *bench) rootless() error {
	user, err := env.Someone()
	if err != nil {
		return err
	}
	if err := os.Chmod(b.dir, 0o711); err != nil {
		return err
	}
	if err := env.BuildNet(filepath.Join(b.dir, "bin")); err != nil {
		return err
	}
	restore, err := env.OpenTun() // which desktops give to everybody, and a way out takes
	if err != nil {
		return err
	}
	defer restore()
	archive, reference, err := b.trafficImage()
	if err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(archive, 0o644), os.Chmod(filepath.Join(b.dir, "traffic"), 0o755)); err != nil {
		return err
	}
	var all []*paths
	for _, begin := range []func() (*paths, error){
		func() (*paths, error) {
			return b.rootlessLoper(user, "loper with loper-net", "pasta", archive, reference)
		},
		func() (*paths, error) { return b.rootlessLoper(user, "loper with pasta", "", archive, reference) },
		func() (*paths, error) { return b.rootlessPodman(user, archive, reference) },
		func() (*paths, error) {
			return b.wayOut(user, "slirp4netns alone", "slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback")
		},
		func() (*paths, error) {
			return b.wayOut(user, "pasta alone", "pasta", "--foreground", "--quiet", "--config-net", "--no-map-gw", "-t", publishedPort+":"+trafficPort, "-u", "none", "-T", "none", "-U", "none")
		},
	} {
		p, err := begin()
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: without", err)
			continue
		}
		defer p.stop()
		all = append(all, p)
	}
	for _, ways := range []struct {
		way  int
		name string
	}{{toHost, "rootless: container to outside"}, {fromOutside, "rootless: outside to a published port"}} {
		for _, m := range []struct {
			what, mode, arg string
			more            bool
		}{{"throughput", "stream", "0.7", true}, {"round trip", "answers", "4000", false}} {
			results, err := b.measureWay(all, ways.way, m.mode, m.arg)
			if err != nil {
				return err
			}
			for _, ours := range []string{"loper with loper-net", "loper with pasta"} {
				b.addTraffic(ways.name+", "+strings.TrimPrefix(ours, "loper with ")+": "+m.what, m.more, ours, results, rootlessPeers)
			}
		}
	}
	return nil
}

// rootlessPeers are who an ordinary user's containers are compared with.
var rootlessPeers = []string{"podman with slirp4netns", "slirp4netns alone", "pasta alone"}

// asUser begins a command of the user's.
func asUser(u *env.User) []string {
	return []string{"setpriv", fmt.Sprintf("--reuid=%d", u.UID), fmt.Sprintf("--regid=%d", u.GID), "--clear-groups", "--"}
}

// home makes the user's directories for one engine, and its environment. One program is not found in it.
func (b *bench) home(u *env.User, name, hidden string) (dir string, environ []string, err error) {
	dir = filepath.Join(b.dir, strings.ReplaceAll(name, " ", "-"))
	for _, d := range []string{dir, dir + "/run", dir + "/bin"} {
		if err := errors.Join(os.Mkdir(d, 0o700), u.Own(d)); err != nil {
			return "", nil, err
		}
	}
	path := os.Getenv("PATH")
	if hidden != "" {
		path = dir + "/bin"
		for _, program := range []string{"newuidmap", "newgidmap", "setpriv"} {
			found, err := exec.LookPath(program)
			if err != nil {
				return "", nil, err
			}
			if err := os.Symlink(found, filepath.Join(path, program)); err != nil {
				return "", nil, err
			}
		}
	}
	return dir, []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + dir + "/run", "XDG_CONFIG_HOME=", "XDG_DATA_HOME=", "PATH=" + path}, nil
}

func (b *bench) rootlessLoper(u *env.User, name, hidden, archive, reference string) (*paths, error) {
	dir, environ, err := b.home(u, name, hidden)
	if err != nil {
		return nil, err
	}
	host, outside, err := world()
	if err != nil {
		return nil, err
	}
	e := &netEngine{name: name, host: host, outside: outside, options: append(asUser(u), b.loper, "--root", dir+"/root", "--runroot", dir+"/run/loper"), environ: environ, image: reference, bridge: []string{"--network", "bridge"}}
	e.stop = func() { e.removeAll(); host.Close(); outside.Close() }
	if _, err := e.must(e.command("load", "-q", "-i", archive)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b.rootlessPaths(e)
}

func (b *bench) rootlessPodman(u *env.User, archive, reference string) (*paths, error) {
	for _, program := range []string{"podman", "slirp4netns"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	dir, environ, err := b.home(u, "pm", "")
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "containers.conf")
	if err := os.WriteFile(conf, []byte(containersConf), 0o644); err != nil {
		return nil, err
	}
	host, outside, err := world()
	if err != nil {
		return nil, err
	}
	e := &netEngine{name: "podman with slirp4netns", host: host, outside: outside, image: reference,
		options: append(asUser(u), "podman", "--root", dir+"/root", "--runroot", dir+"/r", "--tmpdir", dir+"/t", "--storage-driver", "vfs", "--runtime", "crun"),
		environ: append(environ, "CONTAINERS_CONF="+conf), bridge: []string{"--network", "slirp4netns"}}
	e.stop = func() {
		e.must(e.command("rm", "--force", "--all", "-t", "0"))
		host.Close()
		outside.Close()
	}
	if _, err := e.must(e.command("load", "-q", "-i", archive)); err != nil {
		return nil, err
	}
	return b.rootlessPaths(e)
}

// rootlessPaths starts a container that serves and sends, and a server outside.
func (b *bench) rootlessPaths(e *netEngine) (*paths, error) {
	if _, err := e.must(e.run("-d", "--name", "both", "-p", publishedPort+":"+trafficPort, e.image, "/traffic", "serve", ":"+trafficPort)); err != nil {
		e.stop()
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	stopServer, err := b.server(e.outside)
	if err != nil {
		e.stop()
		return nil, err
	}
	p := &paths{name: e.name, stop: func() { stopServer(); e.stop() }}
	p.ways[toHost], p.to[toHost] = e.command("exec", "both", "/traffic"), outsideAddress+":"+trafficPort
	p.ways[fromOutside], p.to[fromOutside] = b.trafficFrom(e.outside), hostAddress+":"+publishedPort
	return p, nil
}

// wayOut is a namespace of the user's with nothing but a way out, as what podman gives a container. Only pasta's has a
// published port.
func (b *bench) wayOut(u *env.User, name, program string, args ...string) (*paths, error) {
	if _, err := exec.LookPath(program); err != nil {
		return nil, err
	}
	host, outside, err := world()
	if err != nil {
		return nil, err
	}
	// Killed one after the other at the end: the server inside, the way out, the server outside.
	var running []*exec.Cmd
	stop := func() {
		for _, cmd := range slices.Backward(running) {
			cmd.Process.Kill()
			cmd.Wait()
		}
		host.Close()
		outside.Close()
	}
	start := func(argv ...string) (*exec.Cmd, error) {
		cmd := exec.Command(argv[0], argv[1:]...)
		u.Command(cmd)
		var err error
		host.Do(func() { err = cmd.Start() })
		if err == nil {
			running = append(running, cmd)
		}
		return cmd, err
	}
	inside, err := start("unshare", "--user", "--map-root-user", "--net", "sh", "-c", "ip link set lo up; exec "+filepath.Join(b.dir, "traffic")+" serve :"+trafficPort)
	if err != nil {
		return nil, err
	}
	time.Sleep(300 * time.Millisecond)
	pid := fmt.Sprint(inside.Process.Pid)
	args = append(args, pid)
	if program == "slirp4netns" {
		args = append(args, "tap0")
	}
	if _, err := start(append([]string{program}, args...)...); err != nil {
		stop()
		return nil, err
	}
	time.Sleep(500 * time.Millisecond)
	stopServer, err := b.server(outside)
	if err != nil {
		stop()
		return nil, err
	}
	p := &paths{name: name, stop: func() { stopServer(); stop() }}
	p.ways[toHost] = contender{argv: []string{"nsenter", "--target", pid, "--user", "--net", "--preserve-credentials", filepath.Join(b.dir, "traffic")}, in: host}
	p.to[toHost] = outsideAddress + ":" + trafficPort
	if program == "pasta" {
		p.ways[fromOutside], p.to[fromOutside] = b.trafficFrom(outside), hostAddress+":"+publishedPort
	}
	return p, nil
}
