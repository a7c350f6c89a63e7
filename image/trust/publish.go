package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
)

// Publish writes a signature where cosign looks for it: below the tag of the
// manifest's signatures, beside those that are there, or as a referrer of it.
// subject describes the manifest.
func (s Signature) Publish(ctx context.Context, c *registry.Client, path string, subject oci.Descriptor) error {
	layer := oci.Descriptor{MediaType: TypeCosignPayload, Digest: oci.FromBytes(s.Body), Size: int64(len(s.Body)), Annotations: s.Annotations}
	if err := putBlob(ctx, c, path, s.Body); err != nil {
		return err
	}
	if s.Form == Cosign {
		return s.tag(ctx, c, path, layer)
	}
	layer.MediaType = TypeBundle
	config := oci.Empty()
	if err := putBlob(ctx, c, path, config.Data); err != nil {
		return err
	}
	config.Data = nil
	return putManifest(ctx, c, path, &oci.Manifest{
		SchemaVersion: 2, MediaType: oci.TypeManifest, ArtifactType: TypeBundle, Config: config, Layers: []oci.Descriptor{layer},
		Subject: &oci.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: map[string]string{
			"dev.sigstore.bundle.content":      "dsse-envelope",
			annotationPredicate:                cosignPredict,
			"org.opencontainers.image.created": time.Now().UTC().Format(time.RFC3339),
		},
	})
}

// tag adds the layer to the manifest of the tag. Somebody else may do the same
// at the same time, so it is read again until the layer is in it.
func (s Signature) tag(ctx context.Context, c *registry.Client, path string, layer oci.Descriptor) error {
	tag := signatureTag(s.Of)
	if len(tag) > 128 {
		return fmt.Errorf("the digest %s is too long for cosign's tag", s.Of)
	}
	for range 5 {
		m := &oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeManifest}
		body, mediaType, _, err := c.Manifest(ctx, reference.Reference{Path: path, Tag: tag})
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
		if err == nil {
			doc, err := oci.ParseDocument(body, mediaType)
			if err != nil || doc.Manifest == nil {
				return fmt.Errorf("the tag %s holds no signatures: remove it first", tag)
			}
			m = doc.Manifest
			m.SchemaVersion = 2
		}
		there := slices.ContainsFunc(m.Layers, func(l oci.Descriptor) bool {
			return l.Digest == layer.Digest && l.Annotations[annotationSignature] == layer.Annotations[annotationSignature]
		})
		if there {
			return nil
		}
		m.Layers = append(m.Layers, layer)
		config, err := signatureConfig(m.Layers)
		if err != nil {
			return err
		}
		if err := putBlob(ctx, c, path, config); err != nil {
			return err
		}
		m.Config = oci.Descriptor{MediaType: oci.TypeConfig, Digest: oci.FromBytes(config), Size: int64(len(config))}
		if err := putManifest(ctx, c, path, m, tag); err != nil {
			return err
		}
	}
	return fmt.Errorf("the tag %s is changed by others all the time: try again", tag)
}

// signatureConfig is the configuration of the image that cosign makes of signatures.
func signatureConfig(layers []oci.Descriptor) ([]byte, error) {
	img := oci.Image{RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{}}}
	for _, l := range layers {
		img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, l.Digest)
	}
	return json.Marshal(img)
}

func putBlob(ctx context.Context, c *registry.Client, path string, body []byte) error {
	_, err := c.PutBlob(ctx, path, registry.Upload{
		Descriptor: oci.Descriptor{Digest: oci.FromBytes(body), Size: int64(len(body))},
		Open: func(offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(body[offset:])), nil
		},
	})
	return err
}

func putManifest(ctx context.Context, c *registry.Client, path string, m *oci.Manifest, tags ...string) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.PutManifest(ctx, path, body, oci.TypeManifest, oci.FromBytes(body), tags...)
}
