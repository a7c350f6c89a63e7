package main

import (
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"loper.run/image"
	"loper.run/image/oci"
)

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
			debug.SetGCPercent(800) // a long list is done before its memory is worth looking at
			found, err := c.filterImages(store, fs)
			if err != nil {
				return err
			}
			platforms := slices.ContainsFunc(found, isForeign)
			l.Columns = func(r imageRow) []string {
				columns := []string{r.Repository, r.Tag}
				if digests {
					columns = append(columns, r.Digest)
				}
				columns = append(columns, r.ID, r.CreatedSince, r.Size, r.Signer)
				if platforms {
					columns = append(columns, r.Platform)
				}
				return columns
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

// isForeign reports whether an image is for another platform than this machine's:
// then the list says what each is for, as several may have one name.
func isForeign(img *image.Image) bool {
	return img.Platform.Architecture != "" && oci.Host().Fit(img.Platform) == 0
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
		c.warn("%v (see 'loper system check')", err) // damaged records; the others are good
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
