package main

import (
	"path"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"loper.run/image"
)

// imageRow is a line of `loper images`, with docker's names.
type imageRow struct {
	Containers   string
	CreatedAt    string
	CreatedSince string
	Digest       string
	ID           string
	Repository   string
	SharedSize   string
	Size         string
	Tag          string
	UniqueSize   string
	VirtualSize  string
}

var imageHeader = imageRow{
	Containers: "CONTAINERS", CreatedAt: "CREATED AT", CreatedSince: "CREATED", Digest: "DIGEST", ID: "IMAGE ID",
	Repository: "REPOSITORY", SharedSize: "SHARED SIZE", Size: "SIZE", Tag: "TAG", UniqueSize: "UNIQUE SIZE", VirtualSize: "VIRTUAL SIZE",
}

func newImages(c *cli) *cobra.Command {
	var words []string
	var noTrunc, digests bool
	l := listing[imageRow]{Name: func(r imageRow) string { return r.ID }, Header: imageHeader}
	cmd := &cobra.Command{
		Use:   "images [OPTIONS] [REPOSITORY[:TAG]]",
		Short: "List images",
		Args:  between(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			fs, err := parseFilters(words, "dangling", "label", "reference", "before", "since")
			if err != nil {
				return err
			}
			if len(args) == 1 {
				fs["reference"] = append(fs["reference"], args[0])
			}
			store, err := c.images()
			if err != nil {
				return err
			}
			found, err := c.filterImages(store, fs)
			if err != nil {
				return err
			}
			l.Columns = func(r imageRow) []string {
				if digests {
					return []string{r.Repository, r.Tag, r.Digest, r.ID, r.CreatedSince, r.Size}
				}
				return []string{r.Repository, r.Tag, r.ID, r.CreatedSince, r.Size}
			}
			var rows []imageRow
			for _, img := range found {
				rows = append(rows, imageRows(img, fs["reference"], digests, noTrunc, time.Now())...)
			}
			if l.Quiet {
				rows = uniqueImages(rows)
			}
			return l.print(c.out, rows)
		},
	}
	f := cmd.Flags()
	f.BoolP("all", "a", false, "Show all images (there are no intermediate ones to hide)")
	f.BoolVar(&digests, "digests", false, "Show digests")
	f.BoolVar(&noTrunc, "no-trunc", false, "Show whole ids")
	f.BoolVarP(&l.Quiet, "quiet", "q", false, "Only show ids")
	f.VarP(list(&words), "filter", "f", "Only images that match: dangling, label, reference, before, since")
	listFormatFlag(cmd, &l.Format)
	return cmd
}

// filterImages lists the images that match, the newest first.
func (c *cli) filterImages(store *image.Store, fs filters) ([]*image.Image, error) {
	dangling, asked, err := fs.bool("dangling")
	if err != nil {
		return nil, err
	}
	var before, since time.Time
	for key, at := range map[string]*time.Time{"before": &before, "since": &since} {
		for _, name := range fs[key] {
			img, err := store.Resolve(name)
			if err != nil {
				return nil, err
			}
			*at = img.Created
		}
	}
	all, err := store.List()
	if err != nil {
		c.warn("%v", err) // damaged records; the others are good
	}
	var found []*image.Image
	for _, img := range all {
		if fs["label"] != nil {
			// Only the whole image has labels.
			if img, err = store.Resolve(img.ID.String()); err != nil {
				continue
			}
		}
		switch {
		case asked && dangling != (len(img.Names) == 0 && img.Builtin == ""):
		case !before.IsZero() && !img.Created.Before(before):
		case !since.IsZero() && !img.Created.After(since):
		case !fs.labels(img.Config.Labels):
		default:
			found = append(found, img)
		}
	}
	return found, nil
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
