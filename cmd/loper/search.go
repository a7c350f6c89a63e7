package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/image/reference"
	"loper.run/image/registry"
)

// searchRow is a line of `loper search`, with docker's names and podman's.
type searchRow struct {
	Description string
	IsAutomated string
	IsOfficial  string
	Name        string
	StarCount   string
	Tag         string // with --list-tags
}

var searchHeader = searchRow{Name: "NAME", Description: "DESCRIPTION", StarCount: "STARS", IsOfficial: "OFFICIAL", IsAutomated: "AUTOMATED", Tag: "TAG"}

func newSearch(c *cli) *cobra.Command {
	var where registryFlags
	var words []string
	var limit int
	var noTrunc, tags bool
	l := listing[searchRow]{Name: func(r searchRow) string { return r.Name }, Header: searchHeader}
	cmd := &cobra.Command{
		Use:   "search [OPTIONS] TERM",
		Short: "Search a registry for images",
		Long: "Search a registry for images. A term that begins with a registry, as in quay.io/name, is for that one;\n" +
			"others are for the unqualified-search-registries of registries.conf, or else for Docker Hub.",
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 || limit > 10_000 {
				return fmt.Errorf("--limit %d: write a number from 1 to 10000", limit)
			}
			fs, err := parseFilters(words, "is-official", "is-automated", "stars")
			if err != nil {
				return err
			}
			l.Columns = func(r searchRow) []string { return []string{r.Name, r.Description, r.StarCount, r.IsOfficial} }
			var rows []searchRow
			if tags {
				l.Columns = func(r searchRow) []string { return []string{r.Name, r.Tag} }
				rows, err = listTags(cmd.Context(), &where, args[0], limit)
			} else {
				rows, err = search(cmd.Context(), &where, args[0], limit, fs, noTrunc)
			}
			if err != nil {
				return err
			}
			return l.print(c.out, rows)
		},
	}
	f := cmd.Flags()
	f.VarP(list(&words), "filter", "f", "Only images that match: is-official, is-automated, stars")
	f.IntVar(&limit, "limit", 25, "Most results of one registry")
	f.BoolVar(&noTrunc, "no-trunc", false, "Show whole descriptions")
	f.BoolVar(&tags, "list-tags", false, "List the tags of a repository")
	where.add(cmd)
	listFormatFlag(cmd, &l.Format)
	return cmd
}

func search(ctx context.Context, where *registryFlags, term string, limit int, fs filters, noTrunc bool) ([]searchRow, error) {
	stars := 0
	for _, s := range fs["stars"] {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("invalid filter 'stars=%s': write a number", s)
		}
		stars = max(stars, n)
	}
	official, askedOfficial, err := fs.bool("is-official")
	if err != nil {
		return nil, err
	}
	automated, askedAutomated, err := fs.bool("is-automated")
	if err != nil {
		return nil, err
	}
	domains, rest, err := registry.SearchPlaces(term)
	if err != nil {
		return nil, err
	}
	var rows []searchRow
	for _, domain := range domains {
		client, err := where.client(domain)
		if err != nil {
			return nil, err
		}
		found, err := client.Search(ctx, rest, limit)
		client.Close()
		if err != nil {
			return nil, fmt.Errorf("search %s: %w", domain, err)
		}
		for _, r := range found {
			if r.Stars < stars || askedOfficial && r.Official != official || askedAutomated && r.Automated != automated {
				continue
			}
			row := searchRow{Name: r.Name, Description: r.Description, StarCount: strconv.Itoa(r.Stars), IsOfficial: okay(r.Official), IsAutomated: okay(r.Automated)}
			if !noTrunc {
				row.Description = ellipsis(r.Description, 45)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func okay(yes bool) string {
	if yes {
		return "[OK]"
	}
	return ""
}

func listTags(ctx context.Context, where *registryFlags, name string, limit int) ([]searchRow, error) {
	ref, err := reference.Parse(strings.TrimSuffix(name, "/"))
	if err != nil {
		return nil, err
	}
	client, err := where.client(ref.Domain)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	tags, err := client.Tags(ctx, ref.Path)
	if err != nil {
		return nil, fmt.Errorf("search %s: %w", name, err)
	}
	var rows []searchRow
	for _, t := range tags[:min(limit, len(tags))] {
		rows = append(rows, searchRow{Name: ref.Name(), Tag: t})
	}
	return rows, nil
}
