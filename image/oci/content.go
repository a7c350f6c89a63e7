package oci

import (
	"fmt"
	"strings"
)

// EmptyJSON is the content that a descriptor of TypeEmpty points at.
const EmptyJSON = "{}"

// Empty describes EmptyJSON, with the content embedded.
func Empty() Descriptor {
	return Descriptor{MediaType: TypeEmpty, Digest: FromBytes([]byte(EmptyJSON)), Size: int64(len(EmptyJSON)), Data: []byte(EmptyJSON)}
}

// Embedded returns the content that a descriptor carries within, and false when
// it carries none. What ParseDocument read was verified by it.
func (d Descriptor) Embedded() ([]byte, bool) {
	return d.Data, len(d.Data) > 0 && d.checkData() == nil
}

// checkData compares the embedded content with digest and size (descriptor.md,
// "Embedded Content").
func (d Descriptor) checkData() error {
	if int64(len(d.Data)) != d.Size {
		return fmt.Errorf("embeds %d bytes, its size is %d", len(d.Data), d.Size)
	}
	h := d.Digest.Hash()
	h.Write(d.Data)
	if err := d.Digest.Verify(h); err != nil {
		return fmt.Errorf("embedded data: %w", err)
	}
	return nil
}

func (d *Descriptor) checkSubject() error {
	if d == nil {
		return nil
	}
	if err := d.check(); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	return nil
}

// Kind names what a manifest holds when that is no container image: its
// artifactType, or else its configuration's type (manifest.md, "Guidelines for
// Artifact Usage"). For an image it is "".
func (m *Manifest) Kind() string {
	switch t := m.Config.MediaType; t {
	case TypeConfig, TypeDockerConfig:
		return ""
	case "", "application/octet-stream", "application/json", "text/plain":
		return m.ArtifactType
	case TypeEmpty:
		if m.ArtifactType == "" {
			return t
		}
		return m.ArtifactType
	default:
		if m.ArtifactType != "" {
			return m.ArtifactType
		}
		return t
	}
}

// CheckImage returns an error when the manifest is not that of a container image
// that can be unpacked.
func (m *Manifest) CheckImage() error {
	if err := m.CheckConfig(); err != nil {
		return err
	}
	return m.CheckLayers()
}

// CheckConfig returns an error when the manifest is not that of a container
// image but of some other artifact.
func (m *Manifest) CheckConfig() error {
	if kind := m.Kind(); kind != "" {
		return fmt.Errorf("not a container image: it is an artifact of the type %.100q, whose config has the type %.100q", kind, m.Config.MediaType)
	}
	return nil
}

// CheckLayers returns an error when a layer is nothing that can be unpacked.
func (m *Manifest) CheckLayers() error {
	for i, d := range m.Layers {
		switch t := strings.Replace(d.MediaType, ".nondistributable.v1", ".v1", 1); t {
		case TypeLayer, TypeLayer + "+gzip", TypeLayer + "+zstd",
			TypeDockerLayer, TypeDockerLayer + ".gzip", TypeDockerLayer + ".zstd",
			typeForeignLayer, typeForeignLayer + ".gzip", "":
		default:
			return fmt.Errorf("manifest: layers[%d] has the type %.100q, which is no layer of an image", i, d.MediaType)
		}
	}
	return nil
}

// IsForeign reports whether a layer is one that registries need not hold: it
// may have to be fetched from the descriptor's URLs, and is not pushed.
func (d Descriptor) IsForeign() bool {
	return strings.HasPrefix(d.MediaType, typeForeignLayer) || strings.Contains(d.MediaType, ".layer.nondistributable.v1.")
}

// Subject is the manifest that the document refers to, or nil.
func (d *Document) Subject() *Descriptor {
	if d.Index != nil {
		return d.Index.Subject
	}
	return d.Manifest.Subject
}

// AsReferrer describes the document, which has that digest and size, as a list
// of its subject's referrers does (distribution specification, "Listing Referrers").
func (d *Document) AsReferrer(digest Digest, size int64) Descriptor {
	r := Descriptor{MediaType: d.MediaType, Digest: digest, Size: size}
	switch {
	case d.Index != nil:
		r.ArtifactType, r.Annotations = d.Index.ArtifactType, d.Index.Annotations
	case d.Manifest.ArtifactType != "":
		r.ArtifactType, r.Annotations = d.Manifest.ArtifactType, d.Manifest.Annotations
	default:
		r.ArtifactType, r.Annotations = d.Manifest.Config.MediaType, d.Manifest.Annotations
	}
	return r
}
