package main

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newPs(c *cli) *cobra.Command {
	var words []string
	var all, latest, noTrunc, size bool
	var last int
	l := listing[psRow]{Name: func(r psRow) string { return r.ID }, Header: psHeader}
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS]",
		Short: "List containers",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			if latest {
				last = 1
			}
			found, err := c.listContainers(e, words, all || last > 0)
			if err != nil {
				return err
			}
			if last > 0 {
				found = found[:min(last, len(found))]
			}
			l.Columns = func(r psRow) []string {
				cells := []string{r.ID, r.Image, r.Command, r.RunningFor, r.Status, r.Ports, r.Names}
				if size {
					cells = append(cells, r.Size)
				}
				return cells
			}
			rows := make([]psRow, len(found))
			for i, f := range found {
				rows[i] = newPsRow(f, noTrunc, time.Now())
				if size || wants(l.Format, "Size") {
					if rows[i].Size, err = sizeText(f.Container); err != nil {
						return err
					}
				}
			}
			return l.print(c.out, rows)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "Show all containers, not only those that run")
	f.BoolVarP(&latest, "latest", "l", false, "Show the container that was created last, in any state")
	f.IntVarP(&last, "last", "n", -1, "Show the n containers that were created last, in any state")
	f.BoolVar(&noTrunc, "no-trunc", false, "Do not shorten")
	f.BoolVarP(&l.Quiet, "quiet", "q", false, "Only show ids")
	f.BoolVarP(&size, "size", "s", false, "Show the size of what containers wrote")
	f.VarP(list(&words), "filter", "f", "Only containers that match: "+filterHelp)
	listFormatFlag(cmd, &l.Format)
	return cmd
}

// listed is a container with its state at the time of the listing.
type listed struct {
	*container.Container
	status container.Status
	ports  container.PortMap // while it runs
}

// listContainers lists the containers that match, the newest first; only those
// that run, unless all are wanted or a filter names another state.
func (c *cli) listContainers(e *container.Engine, words []string, all bool) ([]listed, error) {
	fs, err := parseFilters(words, containerFilters...)
	if err != nil {
		return nil, err
	}
	containers, err := e.List()
	if err != nil {
		return nil, err
	}
	match, err := containerMatch(e, fs)
	if err != nil {
		return nil, err
	}
	all = all || fs["status"] != nil || fs["exited"] != nil
	var found []listed
	for _, ctr := range containers {
		status, err := ctr.Status()
		if err != nil {
			c.warn("container %s: %v", ctr.Name, err)
			continue
		}
		if !all && !status.Alive() {
			continue
		}
		l := listed{Container: ctr, status: status}
		if status.Alive() {
			n, err := ctr.Sandbox()
			if err != nil {
				c.warn("container %s: %v", ctr.Name, err)
			}
			l.ports = ctr.Ports(n)
		}
		if match(l) {
			found = append(found, l)
		}
	}
	slices.SortFunc(found, func(a, b listed) int { return b.Created.Compare(a.Created) })
	return found, nil
}
