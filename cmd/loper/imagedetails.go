package main

import (
	"time"

	"loper.run/image"
	"loper.run/image/oci"
	"loper.run/image/trust"
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
	// Signer is who signed the image, or "unsigned".
	Signer string
	// Signatures tells for each name by which the image came what was found.
	Signatures []signatureDetails
}

// signatureDetails is why an image may be used.
type signatureDetails struct {
	Name     string // of the image as it came
	Digest   string // that the name stood for
	Signers  []trust.Signer
	Rule     string // policy, known-signers, first-signed, none
	Scope    string `json:",omitempty"` // of the policy
	Verified time.Time
	Note     string `json:",omitempty"` // why signatures that are there don't count
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
		Signer:       signedBy(img, true),
		Signatures:   []signatureDetails{},
	}
	for _, v := range img.Verdicts {
		s := signatureDetails{Name: v.Origin(), Signers: append([]trust.Signer{}, v.Signers...), Rule: v.Rule, Scope: v.Scope, Verified: v.Verified, Note: v.Note}
		if len(v.Digests) > 0 {
			s.Digest = v.Digests[0].String()
		}
		d.Signatures = append(d.Signatures, s)
	}
	for _, id := range img.DiffIDs {
		d.RootFS.Layers = append(d.RootFS.Layers, id.String())
	}
	return d
}
