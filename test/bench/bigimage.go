package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"loper.run/test/env"
)

// The image of the pull: programs, libraries and texts of this machine's /usr, as large images have them.
const (
	imageFiles  = 34000
	imageBytes  = 840 << 20
	imageLayers = 4
	bigFile     = 64 << 10 // files from here on are four fifths of the bytes
	hugeFile    = 16 << 20 // but none from here on
)

// bigImage makes the image of a sample of /usr that has the wanted number of files and bytes, if the machine has as many.
func bigImage() (img *env.Image, size int64, files int, err error) {
	paths, err := sample("/usr")
	if err != nil {
		return nil, 0, 0, err
	}
	layers := make([]env.Blob, imageLayers)
	sizes := make([]int64, imageLayers)
	errs := make([]error, imageLayers)
	var wait sync.WaitGroup
	for i := range layers {
		// Each layer has a part of the paths, whole directories as far as possible.
		part := paths[len(paths)*i/imageLayers : len(paths)*(i+1)/imageLayers]
		files += len(part)
		wait.Go(func() { layers[i], sizes[i], errs[i] = layerOf(part) })
	}
	wait.Wait()
	for i := range layers {
		size += sizes[i]
		if errs[i] != nil {
			return nil, 0, 0, errs[i]
		}
	}
	return env.NewImage(env.RunConfig{Cmd: []string{"/bin/true"}}, layers...), size, files, nil
}

// sample picks big files until they make up four fifths of the bytes, and fills up with small files and links. The same
// machine gives the same sample.
func sample(root string) ([]string, error) {
	var big, small []string
	sizes := map[string]int64{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0 || info.Mode().IsRegular() && info.Size() < bigFile:
			small = append(small, path)
		case info.Mode().IsRegular() && info.Size() < hugeFile:
			big = append(big, path)
		}
		sizes[path] = info.Size()
		return nil
	})
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(1, 2))
	var bytes int64
	var picked []string
	for _, i := range random.Perm(len(big)) {
		if bytes >= imageBytes*4/5 {
			break
		}
		bytes += sizes[big[i]]
		picked = append(picked, big[i])
	}
	for _, i := range random.Perm(len(small)) {
		if len(picked) >= imageFiles || bytes >= imageBytes {
			break
		}
		bytes += sizes[small[i]]
		picked = append(picked, small[i])
	}
	slices.Sort(picked)
	return picked, nil
}

// layerOf is a gzip layer of the paths and their parents.
func layerOf(paths []string) (env.Blob, int64, error) {
	var buffer bytes.Buffer
	var size int64
	w := tar.NewWriter(&buffer)
	parents := map[string]bool{"/": true}
	for _, path := range paths {
		if err := addParents(w, filepath.Dir(path), parents); err != nil {
			return env.Blob{}, 0, err
		}
		data, err := add(w, path)
		if err != nil {
			return env.Blob{}, 0, err
		}
		size += data
	}
	if err := w.Close(); err != nil {
		return env.Blob{}, 0, err
	}
	blob, err := packed(buffer.Bytes())
	return blob, size, err
}

// packed is a layer as builders make it.
func packed(tarball []byte) (env.Blob, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, 6)
	if err != nil {
		return env.Blob{}, err
	}
	z.Write(tarball)
	if err := z.Close(); err != nil {
		return env.Blob{}, err
	}
	return env.Blob{MediaType: env.OCILayer + "+gzip", Data: out.Bytes(), DiffID: env.Digest(tarball)}, nil
}

// gigaLayer has 20 files of 50 MB, half of each noise and half text.
func gigaLayer() (env.Blob, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	noise := rand.NewChaCha8([32]byte{1})
	body := make([]byte, 50<<20)
	for i := range 20 {
		noise.Read(body[:len(body)/2])
		for at := len(body) / 2; at < len(body); {
			at += copy(body[at:], fmt.Sprintf("%d: a line of text, as logs have them: %x\n", at, at*at))
		}
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("file%d", i), Mode: 0o644, Size: int64(len(body))}); err != nil {
			return env.Blob{}, err
		}
		if _, err := w.Write(body); err != nil {
			return env.Blob{}, err
		}
	}
	if err := w.Close(); err != nil {
		return env.Blob{}, err
	}
	return packed(buffer.Bytes())
}

func addParents(w *tar.Writer, dir string, done map[string]bool) error {
	if done[dir] {
		return nil
	}
	done[dir] = true
	if err := addParents(w, filepath.Dir(dir), done); err != nil {
		return err
	}
	_, err := add(w, dir)
	return err
}

func add(w *tar.Writer, path string) (int64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(path); err != nil {
			return 0, err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return 0, err
	}
	h.Name = strings.TrimPrefix(path, "/")
	if info.IsDir() {
		h.Name += "/"
	}
	var data []byte
	if info.Mode().IsRegular() {
		if data, err = os.ReadFile(path); err != nil {
			return 0, err
		}
		h.Size = int64(len(data))
	}
	if err := w.WriteHeader(h); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	_, err = w.Write(data)
	return int64(len(data)), err
}
