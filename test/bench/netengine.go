package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"loper.run/test/env"
)

// netEngine is an engine whose host is a network namespace of its own, with a machine outside.
type netEngine struct {
	name          string
	host, outside *env.Netns
	options       []string // of every command: program first
	environ       []string
	bridge        []string // options of run for the default bridge
	image         string
	stop          func()
}

const (
	hostAddress    = "198.51.100.1"
	outsideAddress = "198.51.100.2"
)

// world makes a host and its neighbour.
func world() (host, outside *env.Netns, err error) {
	if host, err = env.NewNetns(); err != nil {
		return nil, nil, err
	}
	if outside, err = env.NewNetns(); err != nil {
		return nil, nil, err
	}
	if err := env.Wire(host, "eth0", []string{hostAddress + "/24"}, outside, "eth0", []string{outsideAddress + "/24"}); err != nil {
		return nil, nil, err
	}
	return host, outside, host.IP("route", "add", "default", "via", outsideAddress)
}

// command is one of the engine's, as a contender of that name.
func (e *netEngine) command(args ...string) contender {
	argv := append(e.options[:len(e.options):len(e.options)], args...)
	return contender{name: e.name, argv: argv, environ: e.environ, in: e.host}
}

// run is the engine's run on its default bridge.
func (e *netEngine) run(args ...string) contender {
	return e.command(append(append([]string{"run"}, e.bridge...), args...)...)
}

// removeAll removes all containers.
func (e *netEngine) removeAll() {
	if ids, err := e.must(e.command("ps", "-aq")); err == nil && ids != "" {
		e.must(e.command(append([]string{"rm", "-f"}, strings.Fields(ids)...)...))
	}
}

func (e *netEngine) must(c contender) (out string, err error) {
	c.in.Do(func() { out, err = must(c.argv, c.environ...) })
	return out, err
}

// netEngines starts loper, podman and docker, as far as they are installed, each with the image that has busybox and the
// program traffic.
func (b *bench) netEngines() (engines []*netEngine, stop func(), err error) {
	stop = func() {
		for _, e := range engines {
			e.stop()
			e.host.Close()
			e.outside.Close()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	archive, reference, err := b.trafficImage()
	if err != nil {
		return nil, stop, err
	}
	for _, begin := range []func(archive, reference string) (*netEngine, error){b.netLoper, b.netPodman, b.netDocker} {
		e, err := begin(archive, reference)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: without", err)
			continue
		}
		e.image = reference
		engines = append(engines, e)
		if _, err := e.must(e.run("--rm", reference, "true")); err != nil {
			return engines, stop, err
		}
	}
	return engines, stop, nil
}

// trafficImage makes the image and its archive.
func (b *bench) trafficImage() (archive, reference string, err error) {
	program := filepath.Join(b.dir, "traffic")
	if _, err := must([]string{"go", "build", "-o", program, "loper.run/test/bench/traffic"}, "CGO_ENABLED=0"); err != nil {
		return "", "", err
	}
	base, err := env.Busybox()
	if err != nil {
		return "", "", err
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return "", "", err
	}
	img := env.NewImage(env.RunConfig{Cmd: []string{"sh"}}, base.Layers[0], env.Gzipped(env.Tar(env.File{Name: "traffic", Body: string(text), Mode: 0o755})))
	if reference, err = b.registry.Push(img, "traffic:latest"); err != nil {
		return "", "", err
	}
	if _, err := must(b.engine("pull", "-q", reference)); err != nil {
		return "", "", err
	}
	archive = filepath.Join(b.dir, "traffic.tar")
	_, err = must(b.engine("save", "--format", "docker-archive", "-o", archive, reference))
	return archive, reference, err
}

func (b *bench) netLoper(string, string) (*netEngine, error) {
	host, outside, err := world()
	if err != nil {
		return nil, err
	}
	e := &netEngine{name: "loper", host: host, outside: outside, options: b.engine()}
	e.stop = func() {
		e.removeAll()
		e.must(e.command("network", "prune", "--force"))
	}
	return e, nil
}

func (b *bench) netPodman(archive, _ string) (*netEngine, error) {
	if b.podman.missing != "" {
		return nil, fmt.Errorf("podman: %s", b.podman.missing)
	}
	host, outside, err := world()
	if err != nil {
		return nil, err
	}
	e := &netEngine{name: "podman", host: host, outside: outside, options: b.podman.argv("crun"), environ: b.podman.environ, bridge: []string{"--network", "podman"}}
	e.stop = func() { e.must(e.command("rm", "--force", "--all", "-t", "0")) }
	_, err = e.must(e.command("load", "-q", "-i", archive))
	return e, err
}

func (b *bench) netDocker(archive, _ string) (*netEngine, error) {
	for _, program := range []string{"dockerd", "docker", "containerd", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("docker: no %s", program)
		}
	}
	host, outside, err := world()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "docker-") // each part of the benchmarks has a daemon of its own
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		return nil, err
	}
	socket := "unix://" + filepath.Join(dir, "sock")
	daemon := exec.Command("dockerd", "--config-file", config, "--host", socket, "--pidfile", filepath.Join(dir, "pid"), "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--exec-opt", "native.cgroupdriver=cgroupfs")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	daemon.Stdout, daemon.Stderr = log, log
	host.Do(func() { err = daemon.Start() })
	if err != nil {
		return nil, err
	}
	e := &netEngine{name: "docker", host: host, outside: outside, options: []string{"docker", "--host", socket}, environ: []string{"DOCKER_CONFIG=" + dir}}
	e.stop = func() {
		e.removeAll()
		daemon.Process.Signal(syscall.SIGTERM)
		daemon.Wait()
	}
	for range 100 {
		if _, err = e.must(e.command("load", "-q", "-i", archive)); err == nil {
			return e, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	e.stop()
	return nil, err
}
