package engines_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"loper.run/test/env"
)

// image is what the engines run, by the name that its archive has; pause sleeps, as the first container of a pod.
const (
	image = "test.local/busybox:latest"
	pause = "test.local/pause:latest"
)

var busybox = sync.OnceValues(func() (string, error) {
	img, err := env.Busybox()
	if err != nil {
		return "", err
	}
	return archive(img, image)
})

var pauseImage = sync.OnceValues(func() (string, error) {
	base, err := env.Busybox()
	if err != nil {
		return "", err
	}
	return archive(env.NewImage(env.RunConfig{Cmd: []string{"/bin/sleep", "10000"}}, base.Layers...), pause)
})

func file(t testing.TB, of func() (string, error)) string {
	t.Helper()
	path, err := of()
	if err != nil {
		t.Skip(err)
	}
	return path
}

// archive writes an image in both forms that engines load: an OCI layout, and docker save's.
func archive(img *env.Image, name string) (string, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	put := func(name string, data []byte) {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}) // to memory: can't fail
		w.Write(data)
	}
	path := func(b env.Blob) string { return "blobs/" + strings.Replace(b.Digest(), ":", "/", 1) }
	for _, b := range append(img.Blobs(), img.Manifest) {
		put(path(b), b.Data)
	}
	var layers []string
	for _, l := range img.Layers {
		layers = append(layers, path(l))
	}
	put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{map[string]any{
		"mediaType": img.Manifest.MediaType, "digest": img.Manifest.Digest(), "size": len(img.Manifest.Data),
		"annotations": map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "latest"},
	}}})
	if err != nil {
		return "", err
	}
	put("index.json", index)
	manifest, err := json.Marshal([]any{map[string]any{"Config": path(img.Config), "RepoTags": []string{name}, "Layers": layers}})
	if err != nil {
		return "", err
	}
	put("manifest.json", manifest)
	if err := w.Close(); err != nil {
		return "", err
	}
	file := filepath.Join(workshop, strings.NewReplacer("/", "-", ":", "-").Replace(name)+".tar")
	return file, os.WriteFile(file, buf.Bytes(), 0o644)
}
