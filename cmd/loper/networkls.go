package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/network"
)

// networkRow is a line of `network ls`, with docker's names.
type networkRow struct {
	CreatedAt string
	Driver    string
	ID        string
	IPv4      string
	IPv6      string
	Internal  string
	Labels    string
	Name      string
	Scope     string
}

func newNetworkLs(c *cli) *cobra.Command {
	var words []string
	var whole, bare bool
	l := listing[networkRow]{
		Name: func(r networkRow) string { return r.ID },
		Header: networkRow{CreatedAt: "CREATED AT", Driver: "DRIVER", ID: "NETWORK ID", IPv4: "IPV4", IPv6: "IPV6", Internal: "INTERNAL",
			Labels: "LABELS", Name: "NAME", Scope: "SCOPE"},
		Columns: func(r networkRow) []string { return []string{r.ID, r.Name, r.Driver, r.Scope} },
	}
	cmd := &cobra.Command{
		Use:   "ls [OPTIONS]",
		Short: "List networks",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			fs, err := parseFilters(words, "driver", "id", "label", "name", "scope", "type", "dangling", "until")
			if err != nil {
				return err
			}
			found, err := c.listNetworks(fs)
			if err != nil {
				return err
			}
			rows := make([]networkRow, len(found))
			for i, n := range found {
				rows[i] = newNetworkRow(n, whole)
			}
			l.Bare = bare
			return l.print(c.out, rows)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&l.Quiet, "quiet", "q", false, "Only show ids")
	f.BoolVar(&whole, "no-trunc", false, "Show whole ids")
	f.BoolVarP(&bare, "noheading", "n", false, "No names of columns")
	f.VarP(list(&words), "filter", "f", "Only networks that match: driver, id, label, name, scope, type, dangling, until")
	listFormatFlag(cmd, &l.Format)
	return cmd
}

func newNetworkRow(n *network.Network, whole bool) networkRow {
	r := networkRow{Driver: n.Driver, ID: shortID(n.ID, whole), Internal: strconv.FormatBool(n.Internal), Labels: labelText(n.Labels), Name: n.Name, Scope: "local"}
	if !n.Created.IsZero() {
		r.CreatedAt = n.Created.Local().Format("2006-01-02 15:04:05.999999999 -0700 MST")
	}
	four, six := families(n)
	r.IPv4, r.IPv6 = strconv.FormatBool(four), strconv.FormatBool(six)
	return r
}

// families reports which a network has.
func families(n *network.Network) (four, six bool) {
	for _, sub := range n.Subnets {
		four, six = four || sub.Prefix.Addr().Is4(), six || sub.Prefix.Addr().Is6()
	}
	return four, six
}

// listNetworks lists the networks that match.
func (c *cli) listNetworks(fs filters) ([]*network.Network, error) {
	e, err := c.engine()
	if err != nil {
		return nil, err
	}
	if _, err := e.Networks.Default(); err != nil {
		return nil, err
	}
	dangling, asked, err := fs.bool("dangling")
	if err != nil {
		return nil, err
	}
	var until time.Time
	for _, word := range fs["until"] {
		if until, err = parseTime(word, time.Now()); err != nil {
			return nil, err
		}
	}
	for _, kind := range fs["type"] {
		if kind != "custom" && kind != "builtin" {
			return nil, fmt.Errorf("invalid filter 'type=%s': write custom or builtin", kind)
		}
	}
	all, err := e.Networks.List()
	if err != nil {
		return nil, err
	}
	used := func(*network.Network) bool { return false }
	if asked {
		if used, err = networkUse(e); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(n *network.Network) bool {
		return asked && dangling != (!n.Predefined() && !used(n)) ||
			!until.IsZero() && !n.Created.Before(until) ||
			!fs.labels(n.Labels) ||
			!fs.match("driver", func(d string) bool { return d == n.Driver }) ||
			!fs.match("scope", func(s string) bool { return s == "local" }) ||
			!fs.match("type", func(kind string) bool { return n.Predefined() == (kind == "builtin") }) ||
			!fs.match("id", func(id string) bool { return strings.Contains(n.ID, id) }) ||
			!fs.match("name", func(name string) bool { return strings.Contains(n.Name, name) })
	}), nil
}

// networkUse finds out which networks containers are connected to, or will be
// when they are started; some containers count as removed.
func networkUse(e *container.Engine, gone ...string) (func(*network.Network) bool, error) {
	containers, err := e.List()
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, ctr := range containers {
		if slices.Contains(gone, ctr.ID) {
			continue
		}
		for _, r := range ctr.Settings.Networks {
			n, err := e.Networks.Get(r.Network)
			if err == nil {
				used[n.ID] = true
			} else if !errors.Is(err, network.ErrNotFound) && !errors.Is(err, network.ErrAmbiguous) {
				return nil, err
			}
		}
	}
	return func(n *network.Network) bool { return used[n.ID] }, nil
}

// completeNetworks offers the names of networks.
func (c *cli) completeNetworks(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := c.listNetworks(nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, n := range all {
		names = append(names, n.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
