package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
)

// ErrSchema1 tells of an image in Docker's first format, which has no digests
// that could be checked.
var ErrSchema1 = errors.New("the image has Docker's schema 1, which no longer is supported: push it again with a current tool")

// Document is an index or a manifest, never both (CVE-2021-41190).
type Document struct {
	MediaType string
	Index     *Index
	Manifest  *Manifest
}

// ParseDocument reads an index or a manifest. mediaType is what the registry or
// the descriptor calls it; it decides, and a body that says or looks otherwise
// is an error. Types that say nothing (such as application/json) are ignored.
func ParseDocument(body []byte, mediaType string) (*Document, error) {
	if len(body) > MaxManifest {
		return nil, fmt.Errorf("manifest is larger than %d bytes", MaxManifest)
	}
	fields, err := topLevel(body)
	if err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if t, _, err := mime.ParseMediaType(mediaType); err == nil {
		mediaType = t
	}
	var head struct {
		SchemaVersion int    `json:"schemaVersion"`
		MediaType     string `json:"mediaType"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if head.SchemaVersion == 1 || mediaType == typeDockerSchema1 || mediaType == typeDockerSigned1 {
		return nil, ErrSchema1
	}
	if head.SchemaVersion != 2 {
		return nil, fmt.Errorf("manifest has schema version %d, want 2", head.SchemaVersion)
	}
	looksIndex := fields["manifests"]
	looksManifest := fields["config"] || fields["layers"] || fields["fslayers"] || fields["history"]
	if looksIndex == looksManifest {
		return nil, errors.New("manifest is ambiguous: it must have either manifests, or config and layers")
	}
	switch known := isIndex(mediaType) || isManifest(mediaType); {
	case known && head.MediaType != "" && head.MediaType != mediaType:
		return nil, fmt.Errorf("manifest calls itself %.100q, but was sent as %.100q", head.MediaType, mediaType)
	case known:
	case head.MediaType != "":
		mediaType = head.MediaType
	case looksIndex:
		mediaType = TypeIndex
	default:
		mediaType = TypeManifest
	}
	switch {
	case isIndex(mediaType) && looksIndex:
		return parseIndex(body, mediaType)
	case isManifest(mediaType) && looksManifest:
		return parseManifest(body, mediaType)
	case !isIndex(mediaType) && !isManifest(mediaType):
		return nil, fmt.Errorf("%.100q is neither an image nor an index of images", mediaType)
	}
	return nil, fmt.Errorf("manifest is sent as %.100q, but its body is something else", mediaType)
}

func parseIndex(body []byte, mediaType string) (*Document, error) {
	x := new(Index)
	if err := json.Unmarshal(body, x); err != nil {
		return nil, fmt.Errorf("decode index: %w", err)
	}
	if len(x.Manifests) > MaxEntries {
		return nil, fmt.Errorf("index has %d manifests, more than %d", len(x.Manifests), MaxEntries)
	}
	if err := x.Subject.checkSubject(); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	for i, d := range x.Manifests {
		if err := d.check(); err != nil {
			return nil, fmt.Errorf("index: manifests[%d]: %w", i, err)
		}
	}
	return &Document{MediaType: mediaType, Index: x}, nil
}

func parseManifest(body []byte, mediaType string) (*Document, error) {
	m := new(Manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if len(m.Layers) > MaxLayers {
		return nil, fmt.Errorf("manifest has %d layers, more than %d", len(m.Layers), MaxLayers)
	}
	if err := m.Subject.checkSubject(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := m.Config.check(); err != nil {
		return nil, fmt.Errorf("manifest: config: %w", err)
	}
	for i, d := range m.Layers {
		if err := d.check(); err != nil {
			return nil, fmt.Errorf("manifest: layers[%d]: %w", i, err)
		}
	}
	return &Document{MediaType: mediaType, Manifest: m}, nil
}

func (d Descriptor) check() error {
	if d.Digest.IsZero() {
		return errors.New("has no digest")
	}
	if d.Size < 0 {
		return fmt.Errorf("has size %d", d.Size)
	}
	if len(d.Data) > 0 {
		return d.checkData()
	}
	return nil
}

func isIndex(t string) bool    { return t == TypeIndex || t == TypeDockerIndex }
func isManifest(t string) bool { return t == TypeManifest || t == TypeDockerManifest }

// ParseImage reads an image's configuration, and checks that it describes as
// many layers as its manifest.
func ParseImage(body []byte, m *Manifest) (*Image, error) {
	img, err := DecodeImage(body)
	if err != nil {
		return nil, err
	}
	if len(img.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("image configuration has %d layers, its manifest %d", len(img.RootFS.DiffIDs), len(m.Layers))
	}
	return img, nil
}

// DecodeImage reads an image's configuration.
func DecodeImage(body []byte) (*Image, error) {
	if len(body) > MaxConfig {
		return nil, fmt.Errorf("image configuration is larger than %d bytes", MaxConfig)
	}
	img := new(Image)
	if err := json.Unmarshal(body, img); err != nil {
		return nil, fmt.Errorf("decode image configuration: %w", err)
	}
	if img.RootFS.Type != "layers" {
		return nil, fmt.Errorf("image configuration: rootfs.type is %.40q, want \"layers\"", img.RootFS.Type)
	}
	if len(img.RootFS.DiffIDs) > MaxLayers {
		return nil, fmt.Errorf("image configuration has %d layers, more than %d", len(img.RootFS.DiffIDs), MaxLayers)
	}
	for i, d := range img.RootFS.DiffIDs {
		if d.IsZero() {
			return nil, fmt.Errorf("image configuration: rootfs.diff_ids[%d] is empty", i)
		}
	}
	return img, nil
}

// topLevel returns the names of an object's fields in lower case. Two fields of
// one name would let two readers see two documents: that is an error.
func topLevel(body []byte) (map[string]bool, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	fields := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name := strings.ToLower(t.(string))
		if fields[name] {
			return nil, fmt.Errorf("field %.60q appears twice", name)
		}
		fields[name] = true
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return nil, err
		}
	}
	return fields, nil
}
