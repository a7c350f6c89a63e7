package oci

import "time"

// Limits on documents from a registry. Real manifests stay far below them.
const (
	MaxManifest = 4 << 20 // bytes of a manifest or index
	MaxConfig   = 8 << 20 // bytes of an image configuration
	MaxLayers   = 500     // layers of one image
	MaxEntries  = 2000    // manifests of one index
	MaxDepth    = 3       // indexes inside indexes
)

// Media types of the OCI image specification and of Docker's schema 2.
const (
	TypeIndex          = "application/vnd.oci.image.index.v1+json"
	TypeManifest       = "application/vnd.oci.image.manifest.v1+json"
	TypeConfig         = "application/vnd.oci.image.config.v1+json"
	TypeLayer          = "application/vnd.oci.image.layer.v1.tar"
	TypeDockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	TypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	TypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	TypeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
	// TypeEmpty is the type of the two bytes {}, which stand for a configuration
	// or layer that an artifact doesn't have (manifest.md, "Guidance for an Empty Descriptor").
	TypeEmpty         = "application/vnd.oci.empty.v1+json"
	typeDockerSchema1 = "application/vnd.docker.distribution.manifest.v1+json"
	typeForeignLayer  = "application/vnd.docker.image.rootfs.foreign.diff.tar"
	typeDockerSigned1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Descriptor points at content (descriptor.md).
type Descriptor struct {
	MediaType string   `json:"mediaType,omitempty"`
	Digest    Digest   `json:"digest"`
	Size      int64    `json:"size"` // bytes
	URLs      []string `json:"urls,omitempty"`
	// Data is the content itself, embedded; Embedded verifies it.
	Data         []byte            `json:"data,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
}

// Index lists the manifests of an image's platforms (image-index.md, or
// Docker's manifest list).
type Index struct {
	SchemaVersion int               `json:"schemaVersion"` // 2
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Manifest names an image's configuration and its layers, lowest first
// (manifest.md, or Docker's schema 2).
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"` // 2
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Image is the document that a manifest's config points at (config.md).
// Everything in it is foreign: whoever made the image wrote it.
type Image struct {
	Platform
	Created *time.Time  `json:"created,omitempty"`
	Author  string      `json:"author,omitempty"`
	Config  ImageConfig `json:"config,omitzero"`
	RootFS  RootFS      `json:"rootfs"`
	History []History   `json:"history,omitempty"`
}

// ImageConfig is how an image wants to be run. It is foreign: only the fields
// that are named here, each checked where it is used, may shape a container.
type ImageConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	// Docker's additions.
	Healthcheck *Healthcheck `json:"Healthcheck,omitempty"`
	Shell       []string     `json:"Shell,omitempty"`
	OnBuild     []string     `json:"OnBuild,omitempty"`
}

// Healthcheck is Docker's addition to the configuration; times are nanoseconds.
type Healthcheck struct {
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

// RootFS lists the digests of the uncompressed layers, lowest first.
type RootFS struct {
	Type    string   `json:"type"`
	DiffIDs []Digest `json:"diff_ids"`
}

// History tells how a layer was made.
type History struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}
