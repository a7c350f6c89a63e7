package main

import (
	"time"

	"loper.run/image"
	"loper.run/image/oci"
)

// imageDetails is what `image inspect` shows, with docker's names.
type imageDetails struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Created      string
	Author       string
	Config       oci.ImageConfig
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size         int64 // bytes
	GraphDriver  graphDriver
	RootFS       rootFS
	Builtin      string `json:",omitempty"`
}

type graphDriver struct {
	Name string
	Data map[string][]string
}

type rootFS struct {
	Type   string
	Layers []string `json:",omitempty"`
}

func newImageDetails(img *image.Image) imageDetails {
	d := imageDetails{
		ID:           img.ID.String(),
		RepoTags:     append([]string{}, img.Names...),
		RepoDigests:  append([]string{}, img.Digests...),
		Created:      img.Created.UTC().Format(time.RFC3339Nano),
		Author:       img.Author,
		Config:       img.Config,
		Architecture: img.Platform.Architecture,
		Variant:      img.Platform.Variant,
		Os:           img.Platform.OS,
		Size:         img.Size,
		GraphDriver:  graphDriver{Name: "overlay", Data: map[string][]string{"LowerDirs": img.Layers}},
		RootFS:       rootFS{Type: "layers"},
		Builtin:      img.Builtin,
	}
	for _, id := range img.DiffIDs {
		d.RootFS.Layers = append(d.RootFS.Layers, id.String())
	}
	return d
}
