package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"loper.run/image/oci"
)

// dockerEntry is one image in docker's manifest.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func readDockerList(from files) ([]dockerEntry, error) {
	data, err := file(from, "manifest.json", maxIndex)
	if err != nil {
		return nil, err
	}
	var list []dockerEntry
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	if len(list) == 0 {
		return nil, errors.New("manifest.json: there is no image in it")
	}
	if len(list) > maxImages {
		return nil, fmt.Errorf("manifest.json: %d images, more than %d", len(list), maxImages)
	}
	for i, e := range list {
		if len(e.Layers) > oci.MaxLayers || len(e.RepoTags) > maxNames {
			return nil, fmt.Errorf("manifest.json: image %d has more than %d layers or %d names", i, oci.MaxLayers, maxNames)
		}
	}
	return list, nil
}

// readDocker reads docker's classic form. It has no manifests, which are made:
// a layer that is not compressed is its own diff id, of any other the digest is
// computed.
func (a *Archive) readDocker(ctx context.Context) error {
	list, err := readDockerList(a.files)
	if err != nil {
		return err
	}
	a.blobs = make(map[oci.Digest]Content)
	hashed := make(map[string]oci.Descriptor)
	for i, e := range list {
		target, err := a.dockerManifest(ctx, e, hashed)
		if err != nil {
			return fmt.Errorf("manifest.json: image %d: %w", i, err)
		}
		a.Images = append(a.Images, Image{Names: e.RepoTags, Target: target})
	}
	return nil
}

// dockerManifest makes the manifest of an image. hashed has the layers of
// earlier images by name.
func (a *Archive) dockerManifest(ctx context.Context, e dockerEntry, hashed map[string]oci.Descriptor) (oci.Descriptor, error) {
	config, err := file(a.files, e.Config, oci.MaxConfig)
	if err != nil {
		return oci.Descriptor{}, err
	}
	doc, err := oci.DecodeImage(config)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if len(doc.RootFS.DiffIDs) != len(e.Layers) {
		return oci.Descriptor{}, fmt.Errorf("its configuration has %d layers, manifest.json %d", len(doc.RootFS.DiffIDs), len(e.Layers))
	}
	m := manifest{SchemaVersion: 2, MediaType: oci.TypeDockerManifest, Layers: []oci.Descriptor{}}
	m.Config = a.remember(config, oci.TypeDockerConfig)
	for i, name := range e.Layers {
		d, known := hashed[name]
		if !known {
			if d, err = a.dockerLayer(ctx, name, doc.RootFS.DiffIDs[i]); err != nil {
				return oci.Descriptor{}, fmt.Errorf("%.200s: %w", name, err)
			}
			hashed[name] = d
		} else if d.MediaType == oci.TypeDockerLayer && d.Digest != doc.RootFS.DiffIDs[i] {
			return oci.Descriptor{}, fmt.Errorf("%.200s stands for two different layers", name)
		}
		m.Layers = append(m.Layers, d)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return a.remember(body, oci.TypeDockerManifest), nil
}

// manifest is an image manifest to be written, in the specification's order.
type manifest struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     string           `json:"mediaType"`
	Config        oci.Descriptor   `json:"config"`
	Layers        []oci.Descriptor `json:"layers"`
}

// remember keeps a document that the archive has no place for.
func (a *Archive) remember(data []byte, mediaType string) oci.Descriptor {
	d := oci.Descriptor{MediaType: mediaType, Digest: oci.FromBytes(data), Size: int64(len(data))}
	a.blobs[d.Digest] = Content{memory: data, Size: d.Size}
	return d
}

// dockerLayer describes a layer's file.
func (a *Archive) dockerLayer(ctx context.Context, name string, diff oci.Digest) (oci.Descriptor, error) {
	c, err := a.files.open(name)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if c.own { // a classic archive that somebody has unpacked: it is opened again
		defer c.Close()
		return oci.Descriptor{}, errors.New("an unpacked archive of docker's classic form can't be read: pack it again")
	}
	d := oci.Descriptor{MediaType: oci.TypeDockerLayer, Digest: diff, Size: c.Size}
	if kind := Sniff(head(c)); kind != Plain {
		h := oci.SHA256.New()
		if _, err := io.Copy(h, &stopper{ctx, c.Reader()}); err != nil {
			return oci.Descriptor{}, err
		}
		d.Digest = oci.FromHash(oci.SHA256, h)
		switch kind {
		case Gzip:
			d.MediaType += ".gzip"
		case Zstd:
			d.MediaType += ".zstd"
		default:
			return oci.Descriptor{}, fmt.Errorf("layers compressed by %s are not supported", kind)
		}
	}
	a.blobs[d.Digest] = c
	return d, nil
}

// head is how a content begins, as far as it can be read.
func head(c Content) []byte {
	b := make([]byte, 8)
	n, _ := io.ReadFull(c.Reader(), b)
	return b[:n]
}

// stopper ends a stream when its context does.
type stopper struct {
	ctx context.Context
	r   io.Reader
}

func (s *stopper) Read(b []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}
