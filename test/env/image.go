package env

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Media types of manifests and layers.
const (
	OCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex       = "application/vnd.oci.image.index.v1+json"
	OCIConfig      = "application/vnd.oci.image.config.v1+json"
	OCILayer       = "application/vnd.oci.image.layer.v1.tar"
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerConfig   = "application/vnd.docker.container.image.v1+json"
	DockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Blob is content with its media type. DiffID is the digest of a layer's uncompressed tar.
type Blob struct {
	MediaType string
	Data      []byte
	DiffID    string
}

// Digest is the sha256 digest of the content.
func (b Blob) Digest() string { return Digest(b.Data) }

// Digest is the sha256 digest of data, "sha256:…".
func Digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// RunConfig is the part of an image's config that a container takes over.
type RunConfig struct {
	User         string              `json:",omitempty"`
	Env          []string            `json:",omitempty"`
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	WorkingDir   string              `json:",omitempty"`
	Volumes      map[string]struct{} `json:",omitempty"`
	Labels       map[string]string   `json:",omitempty"`
	StopSignal   string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
}

// Image is a manifest and all that it names.
type Image struct {
	Manifest Blob
	Config   Blob
	Layers   []Blob
}

// Blobs are the config and the layers.
func (i *Image) Blobs() []Blob { return append([]Blob{i.Config}, i.Layers...) }

// NewImage makes an image for this machine's architecture. Docker media types are used when a layer has one.
func NewImage(config RunConfig, layers ...Blob) *Image {
	return NewImageFor("linux", runtime.GOARCH, config, layers...)
}

// NewImageFor makes an image for a platform.
func NewImageFor(goos, arch string, config RunConfig, layers ...Blob) *Image {
	var diffIDs []string
	manifestType, configType := OCIManifest, OCIConfig
	for _, l := range layers {
		diffIDs = append(diffIDs, l.DiffID)
		if l.MediaType == DockerLayer {
			manifestType, configType = DockerManifest, DockerConfig
		}
	}
	img := &Image{Layers: layers}
	img.Config = Blob{MediaType: configType, Data: mustJSON(map[string]any{
		"architecture": arch, "os": goos, "created": "2026-01-02T03:04:05Z", "config": config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})}
	img.Remanifest(manifestType)
	return img
}

// Remanifest writes the manifest anew, after a test changed a blob.
func (i *Image) Remanifest(mediaType string) {
	layers := []any{}
	for _, l := range i.Layers {
		layers = append(layers, descriptor(l))
	}
	i.Manifest = Blob{MediaType: mediaType, Data: mustJSON(map[string]any{
		"schemaVersion": 2, "mediaType": mediaType, "config": descriptor(i.Config), "layers": layers,
	})}
}

// Platform is one image of an index.
type Platform struct {
	OS, Arch, Variant string
	Image             *Image
}

// Index is an image index of several platforms.
func Index(platforms ...Platform) Blob {
	var manifests []any
	for _, p := range platforms {
		d := descriptor(p.Image.Manifest)
		platform := map[string]string{"os": p.OS, "architecture": p.Arch}
		if p.Variant != "" {
			platform["variant"] = p.Variant
		}
		d["platform"] = platform
		manifests = append(manifests, d)
	}
	return Blob{MediaType: OCIIndex, Data: mustJSON(map[string]any{"schemaVersion": 2, "mediaType": OCIIndex, "manifests": manifests})}
}

func descriptor(b Blob) map[string]any {
	return map[string]any{"mediaType": b.MediaType, "digest": b.Digest(), "size": len(b.Data)}
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// File is one tar entry; the zero Typeflag is a regular file, or a directory when the name ends in a slash.
type File struct {
	Name, Link string
	Body       string
	Mode       int64
	Type       byte
	UID, GID   int
	Major      int64
	Minor      int64
}

// Tar writes entries exactly as they are told, bad ones too.
func Tar(files ...File) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{
			Name: f.Name, Linkname: f.Link, Mode: f.Mode, Typeflag: f.Type, Uid: f.UID, Gid: f.GID, Size: int64(len(f.Body)),
			Devmajor: f.Major, Devminor: f.Minor, ModTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Format: tar.FormatPAX,
		}
		if f.Type == 0 && strings.HasSuffix(f.Name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if f.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(f.Body)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// Gzipped makes an OCI gzip layer of a tar.
func Gzipped(tarball []byte) Blob {
	return Blob{MediaType: OCILayer + "+gzip", Data: Gzip(tarball), DiffID: Digest(tarball)}
}

// Plain makes an OCI layer that is not compressed.
func Plain(tarball []byte) Blob {
	return Blob{MediaType: OCILayer, Data: tarball, DiffID: Digest(tarball)}
}

// Gzip compresses fast, and the same bytes to the same bytes.
func Gzip(data []byte) []byte {
	var buf bytes.Buffer
	w, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	w.Write(data)
	w.Close()
	return buf.Bytes()
}

// TarDir is a directory tree as a tar, owned by root.
func TarDir(dir string) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		link := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if link, err = os.Readlink(path); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return nil // a socket has no place in a tar
		}
		h.Name, _ = filepath.Rel(dir, path)
		h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
		if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return buf.Bytes(), w.Close()
}
