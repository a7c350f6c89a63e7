package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"loper.run/test/env"
)

// pull measures how long an image takes from the registry to a directory tree, stores and registry on a tmpfs, then the
// stores on a disk.
func (b *bench) pull() error {
	img, size, files, err := bigImage()
	if err != nil {
		return err
	}
	compressed := 0
	for _, l := range img.Layers {
		compressed += len(l.Data)
	}
	reference, err := b.registry.Push(img, "big:latest")
	if err != nil {
		return err
	}
	what := fmt.Sprintf("pull and unpack %d MB (%d MB, %d files, %d layers)", compressed>>20, size>>20, files, len(img.Layers))
	img.Layers = trim(img.Layers)
	if err := b.pullTo(filepath.Join(b.dir, "pull"), what+", tmpfs", b.pulls, reference, img); err != nil {
		return err
	}
	if b.disk == "" {
		return nil
	}
	dir, err := os.MkdirTemp(b.disk, "loper-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return b.pullTo(dir, "the same, "+b.disk, b.pulls, reference, img)
}

// trim forgets the layers' bytes, but not their digests.
func trim(layers []env.Blob) []env.Blob {
	var out []env.Blob
	for _, l := range layers {
		out = append(out, env.Blob{MediaType: l.Digest(), DiffID: l.DiffID})
	}
	return out
}

func (b *bench) pullTo(dir, what string, n int, reference string, img *env.Image) error {
	fresh := func(sub string) func() error {
		return func() error {
			if err := remove(filepath.Join(dir, sub)); err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
				return err
			}
			_, err := must([]string{"sync"})
			return err
		}
	}
	contenders := []contender{
		{name: "loper", before: fresh("loper"), argv: []string{b.loper, "--root", dir + "/loper/root", "--runroot", dir + "/loper/run", "pull", "-q", reference}},
		{name: "curl|tee >(sha256sum)|gunzip|tar, parallel", before: fresh("pipe"), argv: []string{"bash", "-c", pipeline(b.registry.Addr, dir+"/pipe", img)}},
	}
	if b.podman.missing == "" {
		p := podman{dir: dir + "/podman", environ: b.podman.environ}
		contenders = append(contenders, contender{name: "podman", before: fresh("podman"), argv: p.argv("crun", "pull", "-q", "--tls-verify=false", reference), environ: p.environ})
	}
	all, err := inTurns(n, contenders)
	if err != nil {
		return err
	}
	b.compare(what, all, "loper", "podman", "≤ 0.55")
	b.compare(what, all, "loper", "curl|tee >(sha256sum)|gunzip|tar, parallel", "")
	return remove(dir)
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
func pipeline(addr, dir string, img *env.Image) string {
	var script strings.Builder
	script.WriteString("set -eo pipefail\n")
	for i, l := range img.Layers {
		fmt.Fprintf(&script, "mkdir -p %[1]s/%[2]d; { curl -sf http://%[3]s/v2/big/blobs/%[4]s | tee >(sha256sum >%[1]s/%[2]d.sum) | gunzip | tar -x -p --same-owner --xattrs -C %[1]s/%[2]d; } &\n", dir, i, addr, l.MediaType)
	}
	script.WriteString("wait\n")
	return script.String()
}
