package main

import (
	"fmt"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"loper.run/container"
)

// dfRow is a line of `system df`, with docker's names; podman's are the bytes.
type dfRow struct {
	Active         string
	RawReclaimable int64
	RawSize        int64
	Reclaimable    string
	Size           string
	TotalCount     string
	Type           string
}

var dfHeader = dfRow{Active: "ACTIVE", Reclaimable: "RECLAIMABLE", Size: "SIZE", TotalCount: "TOTAL", Type: "TYPE"}

func newSystemDf(c *cli) *cobra.Command {
	var verbose bool
	l := listing[dfRow]{Header: dfHeader, Columns: func(r dfRow) []string {
		return []string{r.Type, r.TotalCount, r.Active, r.Size, r.Reclaimable}
	}}
	cmd := &cobra.Command{
		Use:   "df [OPTIONS]",
		Short: "Show what takes how much of the disk",
		Long: "Show what takes how much of the disk.\n\nSizes are those of the blocks that files occupy, as du counts them; the total is what\n" +
			"du says of the engine's root. What can be reclaimed is what 'loper system prune\n--all --volumes' and 'loper volume prune --all' would free.",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			u, err := e.DiskUsage(cmd.Context())
			if err != nil {
				return err
			}
			if u.Damaged != nil {
				c.warn("%s (see 'loper system check')", oneLine(u.Damaged.Error()))
			}
			if verbose {
				return c.dfDetails(u, l.Format)
			}
			return l.print(c.out, dfRows(u))
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show each image, container and volume")
	listFormatFlag(cmd, &l.Format)
	return cmd
}

func dfRows(u *container.DiskUsage) []dfRow {
	used := 0
	for _, img := range u.Images.Images {
		if len(img.Users) > 0 {
			used++
		}
	}
	var running, mounted int
	var disk, stopped, logs, oldLogs, volumes, unused int64
	for _, ctr := range u.Containers {
		disk += ctr.Disk
		logs += ctr.Logs
		if ctr.Status.Alive() {
			running++
		} else {
			stopped += ctr.Disk
			oldLogs += ctr.Logs
		}
	}
	for _, v := range u.Volumes {
		volumes += v.Disk
		if len(v.Users) > 0 {
			mounted++
		} else {
			unused += v.Disk
		}
	}
	rows := []dfRow{
		newDfRow("Images", len(u.Images.Images), used, u.Images.Disk, u.Images.Reclaimable),
		newDfRow("Containers", len(u.Containers), running, disk, stopped),
		newDfRow("Local Volumes", len(u.Volumes), mounted, volumes, unused),
		newDfRow("Build Cache", 0, 0, 0, 0),
		newDfRow("Logs", len(u.Containers), running, logs, oldLogs),
		newDfRow("Downloads", -1, -1, u.Images.Downloads, u.Images.Downloads),
		newDfRow("Other", -1, -1, u.Other, 0),
	}
	var sum, free int64
	for _, r := range rows {
		sum += r.RawSize
		free += r.RawReclaimable
	}
	return append(rows, newDfRow("Total", -1, -1, sum, free))
}

// newDfRow makes a line; counts below 0 are of what is not counted.
func newDfRow(kind string, total, active int, size, reclaimable int64) dfRow {
	r := dfRow{Type: kind, RawSize: size, RawReclaimable: reclaimable, Size: units.HumanSize(float64(size)), Reclaimable: units.HumanSize(float64(reclaimable))}
	if total >= 0 {
		r.TotalCount, r.Active = fmt.Sprint(total), fmt.Sprint(active)
	}
	if size > 0 {
		r.Reclaimable += fmt.Sprintf(" (%d%%)", reclaimable*100/size)
	}
	return r
}
