package main

import (
	"path"
	"strings"
	"time"

	"github.com/docker/go-units"

	"loper.run/image"
)

// imageRow is a line of `loper images`, with docker's names.
type imageRow struct {
	Containers   string
	CreatedAt    string
	CreatedSince string
	Digest       string
	ID           string
	Platform     string
	Repository   string
	SharedSize   string
	Signer       string
	Size         string
	Tag          string
	UniqueSize   string
	VirtualSize  string
}

var imageHeader = imageRow{
	Containers: "CONTAINERS", CreatedAt: "CREATED AT", CreatedSince: "CREATED", Digest: "DIGEST", ID: "IMAGE ID", Platform: "PLATFORM",
	Repository: "REPOSITORY", SharedSize: "SHARED SIZE", Signer: "SIGNED BY", Size: "SIZE", Tag: "TAG", UniqueSize: "UNIQUE SIZE", VirtualSize: "VIRTUAL SIZE",
}

// imageRows makes a row of each name of an image that matches a reference
// pattern, or one of an image without names.
func imageRows(img *image.Image, patterns []string, digests, whole bool, now time.Time) []imageRow {
	row := imageRow{
		Containers: "N/A", SharedSize: "N/A", UniqueSize: "N/A",
		CreatedAt: img.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"), CreatedSince: ago(img.Created, now),
		Digest: "<none>", ID: shortDigest(img.ID.String(), whole),
		Repository: "<none>", Tag: "<none>",
		Size: units.HumanSizeWithPrecision(float64(img.Size), 3),
	}
	row.VirtualSize = row.Size
	row.Signer = signedBy(img, whole)
	if img.Platform.Architecture != "" {
		row.Platform = img.Platform.String()
	}
	digestOf := map[string]string{}
	for _, d := range img.Digests {
		repository, digest, _ := strings.Cut(d, "@")
		digestOf[repository] = digest
	}
	var rows []imageRow
	for _, name := range img.Names {
		r := row
		r.Repository, r.Tag = splitTag(name)
		if d := digestOf[r.Repository]; d != "" {
			r.Digest = d
		}
		if matchReference(patterns, r.Repository, r.Tag) {
			rows = append(rows, r)
		}
	}
	if len(img.Names) > 0 || len(patterns) > 0 && len(img.Digests) == 0 {
		return rows
	}
	for repository, digest := range digestOf {
		r := row
		r.Repository, r.Digest = repository, digest
		if matchReference(patterns, r.Repository, r.Tag) {
			rows = append(rows, r)
		}
	}
	if len(img.Digests) == 0 {
		rows = append(rows, row)
	}
	return rows
}

// matchReference reports whether a name satisfies one of the patterns, with
// or without the tag, as in busybox, busybox:1* or */app.
func matchReference(patterns []string, repository, tag string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, repository); ok {
			return true
		}
		if ok, _ := path.Match(p, repository+":"+tag); ok {
			return true
		}
	}
	return len(patterns) == 0
}

// uniqueImages keeps one row an image.
func uniqueImages(rows []imageRow) []imageRow {
	seen := map[string]bool{}
	kept := rows[:0]
	for _, r := range rows {
		if !seen[r.ID] {
			kept = append(kept, r)
		}
		seen[r.ID] = true
	}
	return kept
}

// signedBy is who signed an image, shortened unless the whole is wanted.
func signedBy(img *image.Image, whole bool) string {
	const most = 40
	switch {
	case img.Builtin != "":
		return "loper"
	case img.Signer == "":
		return "unsigned"
	}
	signer := strings.TrimPrefix(img.Signer, "the ")
	if !whole && len(signer) > most {
		signer = strings.ToValidUTF8(signer[:most-1], "") + "…"
	}
	return signer
}
