package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/container"
)

// volumeRow is a line of `volume ls`, with docker's names.
type volumeRow struct {
	Availability string
	Driver       string
	Group        string
	Labels       string
	Links        string
	Mountpoint   string
	Name         string
	Scope        string
	Size         string
	Status       string
}

func newVolumeLs(c *cli) *cobra.Command {
	var words []string
	l := listing[volumeRow]{
		Name: func(r volumeRow) string { return r.Name },
		Header: volumeRow{Availability: "AVAILABILITY", Driver: "DRIVER", Group: "GROUP", Labels: "LABELS", Links: "LINKS",
			Mountpoint: "MOUNTPOINT", Name: "VOLUME NAME", Scope: "SCOPE", Size: "SIZE", Status: "STATUS"},
		Columns: func(r volumeRow) []string { return []string{r.Driver, r.Name} },
	}
	cmd := &cobra.Command{
		Use:   "ls [OPTIONS]",
		Short: "List volumes",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			fs, err := parseFilters(words, "name", "label", "dangling", "driver")
			if err != nil {
				return err
			}
			found, err := c.listVolumes(fs)
			if err != nil {
				return err
			}
			rows := make([]volumeRow, len(found))
			for i, v := range found {
				rows[i] = volumeRow{Availability: "N/A", Driver: "local", Group: "N/A", Labels: labelText(v.Labels), Links: "N/A",
					Mountpoint: v.Mountpoint, Name: v.Name, Scope: "local", Size: "N/A", Status: "N/A"}
			}
			return l.print(c.out, rows)
		},
	}
	cmd.Flags().BoolVarP(&l.Quiet, "quiet", "q", false, "Only show names")
	cmd.Flags().VarP(list(&words), "filter", "f", "Only volumes that match: name, label, dangling, driver")
	listFormatFlag(cmd, &l.Format)
	return cmd
}

// listVolumes lists the volumes that match.
func (c *cli) listVolumes(fs filters) ([]*container.Volume, error) {
	e, err := c.engine()
	if err != nil {
		return nil, err
	}
	dangling, asked, err := fs.bool("dangling")
	if err != nil {
		return nil, err
	}
	all, err := e.VolumeList()
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	if asked {
		containers, err := e.List()
		if err != nil {
			return nil, err
		}
		for _, ctr := range containers {
			for _, m := range ctr.Record.Mounts {
				used[m.Source] = true
			}
		}
	}
	return slices.DeleteFunc(all, func(v *container.Volume) bool {
		return asked && dangling == used[v.Name] ||
			!fs.labels(v.Labels) ||
			!fs.match("driver", func(d string) bool { return d == "local" }) ||
			!fs.match("name", func(n string) bool { return strings.Contains(v.Name, n) })
	}), nil
}

// completeVolumes offers the names of volumes.
func (c *cli) completeVolumes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := c.listVolumes(nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, v := range all {
		names = append(names, v.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
