package main

import (
	"strconv"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"loper.run/image"
)

// historyRow is a line of `loper history`, with docker's names.
type historyRow struct {
	Comment      string
	CreatedAt    string
	CreatedBy    string
	CreatedSince string
	ID           string
	Size         string
}

var historyHeader = historyRow{
	Comment: "COMMENT", CreatedAt: "CREATED AT", CreatedBy: "CREATED BY", CreatedSince: "CREATED", ID: "IMAGE", Size: "SIZE",
}

func newHistory(c *cli) *cobra.Command {
	var noTrunc, human bool
	l := listing[historyRow]{Name: func(r historyRow) string { return r.ID }, Header: historyHeader}
	cmd := &cobra.Command{
		Use:               "history [OPTIONS] IMAGE",
		Short:             "Show how an image was made",
		Args:              exactly(1),
		ValidArgsFunction: c.completeImages,
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			img, err := resolve(store, args[0])
			if err != nil {
				return err
			}
			steps, err := store.Steps(img)
			if err != nil {
				return err
			}
			l.Columns = func(r historyRow) []string {
				when := r.CreatedSince
				if !human && r != historyHeader {
					when = r.CreatedAt
				}
				return []string{r.ID, when, r.CreatedBy, r.Size, r.Comment}
			}
			var rows []historyRow
			for i, step := range steps {
				r := newHistoryRow(step, noTrunc, human, time.Now())
				if i == 0 {
					r.ID = shortDigest(img.ID.String(), noTrunc)
				}
				rows = append(rows, r)
			}
			return l.print(c.out, rows)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&human, "human", "H", true, "Show sizes and dates for people")
	f.BoolVar(&noTrunc, "no-trunc", false, "Show whole ids and texts")
	f.BoolVarP(&l.Quiet, "quiet", "q", false, "Only show ids")
	listFormatFlag(cmd, &l.Format)
	return cmd
}

// newHistoryRow shows a step. Images of before have no names in a history any
// more, for which docker has a word.
func newHistoryRow(step image.Step, whole, human bool, now time.Time) historyRow {
	r := historyRow{ID: "<missing>", CreatedBy: oneLine(step.CreatedBy), Comment: oneLine(step.Comment), CreatedSince: "N/A", Size: strconv.FormatInt(step.Size, 10)}
	if !whole {
		r.CreatedBy = ellipsis(r.CreatedBy, 45)
	}
	if human {
		r.Size = units.HumanSizeWithPrecision(float64(step.Size), 3)
	}
	if step.Created != nil {
		r.CreatedAt, r.CreatedSince = step.Created.Local().Format(time.RFC3339), ago(*step.Created, now)
	}
	return r
}
