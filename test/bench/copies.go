package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"loper.run/test/env"
)

// push measures the push of the large image into a registry that has nothing of it, beside podman, which packs the layers
// again, and beside skopeo, which has them packed in a directory.
func (b *bench) push() error {
	l, err := b.bigImage()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "push")
	defer remove(dir)
	if err := os.MkdirAll(dir+"/registry", 0o700); err != nil {
		return err
	}
	other, err := env.StartRegistry(dir+"/registry", false)
	if err != nil {
		return err
	}
	defer other.Stop()
	target := other.Addr + "/big:latest"
	empty := func() error { return os.RemoveAll(dir + "/registry/data") } // it remembers nothing

	ours, theirs := b.pullOurs(dir, l.reference), b.pullPodman(dir, l.reference)
	if err := prepare(l.reference, target, ours, theirs); err != nil {
		return err
	}
	skopeo := contender{name: "skopeo copy", before: empty, argv: []string{"skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:" + dir + "/layout:big", "docker://" + target}}
	if _, err := exec.LookPath("skopeo"); err != nil {
		skopeo.skip = "no skopeo"
	} else if _, err := must([]string{"skopeo", "copy", "-q", "--src-tls-verify=false", "docker://" + l.reference, "oci:" + dir + "/layout:big"}); err != nil {
		return err
	}
	ours.before, ours.argv = empty, append(ours.argv[:ours.command], "push", "-q", target)
	theirs.before, theirs.argv = empty, append(theirs.argv[:theirs.command], "push", "-q", "--tls-verify=false", target)
	return b.beside("push the same image", b.pulls, []contender{ours, theirs, skopeo}, goal{"podman", "≤ 0.6"}, goal{"skopeo copy", "≤ 1"})
}

// prepare pulls an image into each store and gives it another name.
func prepare(reference, name string, contenders ...contender) error {
	for _, c := range contenders {
		if c.skip != "" {
			continue
		}
		if err := c.before(); err != nil {
			return err
		}
		if _, err := must(c.argv, c.environ...); err != nil {
			return err
		}
		if _, err := must(append(c.argv[:c.command:c.command], "tag", reference, name), c.environ...); err != nil {
			return err
		}
	}
	return nil
}

// save measures writing the large image into a file, and reading that back into an empty store.
func (b *bench) save() error {
	l, err := b.bigImage()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "save")
	defer remove(dir)
	ours, theirs := b.pullOurs(dir, l.reference), b.pullPodman(dir, l.reference)
	emptyOurs, emptyTheirs := ours.before, theirs.before
	if err := prepare(l.reference, "saved:latest", ours, theirs); err != nil {
		return err
	}
	do := func(what string, before, beforeTheirs func() error, args ...string) error {
		for _, c := range []*contender{&ours, &theirs} {
			file := fmt.Sprintf("%s/%s.tar", dir, c.name)
			c.argv = append(c.argv[:c.command:c.command], args...)
			for i := range c.argv {
				c.argv[i] = strings.ReplaceAll(c.argv[i], "FILE", file)
			}
		}
		ours.before, theirs.before = before, beforeTheirs
		return b.beside(what, b.pulls, []contender{ours, theirs}, goal{"podman", "≤ 0.5"})
	}
	gone := func(name string) func() error {
		return func() error { return os.RemoveAll(fmt.Sprintf("%s/%s.tar", dir, name)) }
	}
	if err := do("save the same image", gone("loper"), gone("podman"), "save", "-q", "-o", "FILE", l.reference); err != nil {
		return err
	}
	if err := do("load it, each its own file", emptyOurs, emptyTheirs, "load", "-q", "-i", "FILE"); err != nil {
		return err
	}
	return do("load it, the file that podman saved", emptyOurs, emptyTheirs, "load", "-q", "-i", dir+"/podman.tar")
}

// thousand lists a thousand images.
func (b *bench) thousand() error {
	const count = 1000
	dir := filepath.Join(b.dir, "thousand")
	defer remove(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	archive := filepath.Join(dir, "images.tar")
	if err := os.WriteFile(archive, manyImages(count), 0o600); err != nil {
		return err
	}
	ours := b.pullOurs(dir, "")
	if _, err := must(append(ours.argv[:ours.command:ours.command], "load", "-q", "-i", archive)); err != nil {
		return err
	}
	ours.before, ours.argv = nil, append(ours.argv[:ours.command:ours.command], "images")
	time.Sleep(3 * time.Second) // what has just changed is read anew each time
	all, err := inTurns(b.n/2, []contender{ours})
	if err != nil {
		return err
	}
	b.add(row{what: fmt.Sprintf("loper images, %d images", count), ours: milliseconds(all["loper"].median()), best: milliseconds(all["loper"].least()), target: "≤ 20 ms"})
	return nil
}

// manyImages is a docker-archive of images that share one layer.
func manyImages(count int) []byte {
	layer := env.Tar(env.File{Name: "file", Body: "x"})
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	add := func(name string, data []byte) {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))})
		w.Write(data)
	}
	add("layer.tar", layer)
	var manifest []string
	for i := range count {
		config := env.NewImage(env.RunConfig{Cmd: []string{fmt.Sprint(i)}}, env.Plain(layer)).Config
		add(fmt.Sprintf("%d.json", i), config.Data)
		manifest = append(manifest, fmt.Sprintf(`{"Config":"%d.json","RepoTags":["many:%d"],"Layers":["layer.tar"]}`, i, i))
	}
	add("manifest.json", []byte("["+strings.Join(manifest, ",")+"]"))
	w.Close()
	return buffer.Bytes()
}
