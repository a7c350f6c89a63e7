package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"loper.run/test/env"
)

const shell = "curl|tee >(sha256sum)|gunzip|tar, parallel"

// big is the large image in the registry, made when it is first needed.
type big struct {
	img       *env.Image
	reference string
	what      string
}

func (b *bench) bigImage() (*big, error) {
	if b.large != nil {
		return b.large, nil
	}
	img, size, files, err := bigImage()
	if err != nil {
		return nil, err
	}
	compressed := 0
	for _, l := range img.Layers {
		compressed += len(l.Data)
	}
	l := &big{what: fmt.Sprintf("%d MB (%d MB, %d files, %d layers)", compressed>>20, size>>20, files, len(img.Layers))}
	if l.reference, err = b.registry.Push(img, "big:latest"); err != nil {
		return nil, err
	}
	// The next version has one more layer, a small one.
	next := env.NewImage(env.RunConfig{Cmd: []string{"/bin/false"}}, append(img.Layers[:len(img.Layers):len(img.Layers)], env.Gzipped(env.Tar(env.File{Name: "etc/version", Body: "2\n"})))...)
	if _, err := b.registry.Push(next, "big:next"); err != nil {
		return nil, err
	}
	l.img = &env.Image{Manifest: img.Manifest, Config: img.Config, Layers: trim(img.Layers)}
	b.large = l
	return l, nil
}

// trim forgets the layers' bytes, but not their digests.
func trim(layers []env.Blob) []env.Blob {
	var out []env.Blob
	for _, l := range layers {
		out = append(out, env.Blob{MediaType: l.Digest(), DiffID: l.DiffID})
	}
	return out
}

// pull measures how long an image takes from the registry to a directory tree, stores and registry on a tmpfs, then the
// stores on a disk.
func (b *bench) pull() error {
	l, err := b.bigImage()
	if err != nil {
		return err
	}
	tmpfs := filepath.Join(b.dir, "pull")
	daemon := containerd{dir: tmpfs + "/containerd"}
	defer daemon.stop()
	what := "pull and unpack " + l.what
	err = b.beside(what+", tmpfs", b.pulls,
		[]contender{b.pullOurs(tmpfs, l.reference), b.pullShell(tmpfs, "big", l.img), b.pullPodman(tmpfs, l.reference), daemon.pull(l.reference)},
		goal{"podman", "≤ 0.4"}, goal{shell, "≤ 0.9"}, goal{"ctr", "≤ 0.6"})
	if err != nil {
		return err
	}
	daemon.stop()
	if err := b.peakOfPull(l, tmpfs); err != nil {
		return err
	}
	if err := remove(tmpfs); err != nil || b.disk == "" {
		return err
	}
	dir, err := os.MkdirTemp(b.disk, "loper-bench-")
	if err != nil {
		return err
	}
	defer remove(dir)
	return b.beside("the same, "+b.disk, b.pulls,
		[]contender{b.pullOurs(dir, l.reference), b.pullShell(dir, "big", l.img), b.pullPodman(dir, l.reference)}, goal{"podman", "≤ 0.4"}, goal{shell, "≤ 0.9"})
}

// giga is one layer of a gigabyte: half of it is noise, half of it compresses well.
func (b *bench) giga() error {
	blob, err := gigaLayer()
	if err != nil {
		return err
	}
	img := env.NewImage(env.RunConfig{Cmd: []string{"/none"}}, blob)
	reference, err := b.registry.Push(img, "giga:latest")
	if err != nil {
		return err
	}
	what := fmt.Sprintf("pull and unpack one layer of 1 GB (%d MB packed), tmpfs", len(blob.Data)>>20)
	img.Layers, blob.Data = trim(img.Layers), nil
	dir := filepath.Join(b.dir, "giga")
	defer remove(dir)
	return b.beside(what, b.pulls, []contender{b.pullOurs(dir, reference), b.pullShell(dir, "giga", img), b.pullPodman(dir, reference)}, goal{"podman", "≤ 0.5"}, goal{shell, ""})
}

// next measures the pull of an image of which all but a small layer is there.
func (b *bench) next() error {
	l, err := b.bigImage()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "next")
	defer remove(dir)
	next := strings.TrimSuffix(l.reference, "latest") + "next"
	var both []contender
	for _, c := range []func(string, string) contender{b.pullOurs, b.pullPodman} {
		first, second := c(dir, l.reference), c(dir, next)
		if first.skip == "" {
			if err := first.before(); err != nil {
				return err
			}
			if _, err := must(first.argv, first.environ...); err != nil {
				return err
			}
		}
		rmi := append(second.argv[:second.command:second.command], "rmi", next)
		second.before = func() error {
			must(rmi, second.environ...) // not there at first
			return nil
		}
		both = append(both, second)
	}
	return b.beside("pull of a new version with one small layer more", max(3, b.n/4), both, goal{"podman", "≤ 0.2"})
}

// fresh empties a directory.
func fresh(dir string) func() error {
	return func() error {
		if err := remove(dir); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		_, err := must([]string{"sync"})
		return err
	}
}

func (b *bench) pullOurs(dir, reference string) contender {
	c := contender{name: "loper", before: fresh(dir + "/loper"), argv: []string{b.loper, "--root", dir + "/loper/root", "--runroot", dir + "/loper/run"}}
	return c.with("pull", "-q", reference)
}

func (b *bench) pullPodman(dir, reference string) contender {
	p := podman{dir: dir + "/podman", environ: b.podman.environ}
	c := contender{name: "podman", before: fresh(p.dir), argv: p.argv("crun"), environ: p.environ, skip: b.podman.missing}
	return c.with("pull", "-q", "--tls-verify=false", reference)
}

func (b *bench) pullShell(dir, repo string, img *env.Image) contender {
	return contender{name: shell, before: fresh(dir + "/pipe"), argv: []string{"bash", "-c", pipeline(b.registry.Addr, repo, dir+"/pipe", img)}}
}

// remove removes a tree after unmounting what a peer left mounted below it.
func remove(dir string) error {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			syscall.Unmount(fields[4], syscall.MNT_DETACH)
		}
	}
	return os.RemoveAll(dir)
}

// pipeline is what a shell does with the same layers, all at once.
func pipeline(addr, repo, dir string, img *env.Image) string {
	var script strings.Builder
	script.WriteString("set -eo pipefail\n")
	for i, l := range img.Layers {
		fmt.Fprintf(&script, "mkdir -p %[1]s/%[2]d; { curl -sf http://%[3]s/v2/%[5]s/blobs/%[4]s | tee >(sha256sum >%[1]s/%[2]d.sum) | gunzip | tar -x -p --same-owner --xattrs -C %[1]s/%[2]d; } &\n", dir, i, addr, l.MediaType, repo)
	}
	script.WriteString("wait\n")
	return script.String()
}
