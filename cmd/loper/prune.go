package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/image"
	"loper.run/image/oci"
)

// pruning is what the prune commands have in common.
type pruning struct {
	c       *cli
	force   bool
	dryRun  bool
	keep    int64    // of --keep-storage; 0: no budget
	words   []string // of --filter
	filters filters
	until   time.Time
	space   int64
}

func (p *pruning) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&p.force, "force", "f", false, "Do not ask")
	f.BoolVar(&p.dryRun, "dry-run", false, "Only tell what would be removed")
	f.Var(list(&p.words), "filter", "Only what matches: until, label, label!")
}

// begin reads the filters and asks whether to go on.
func (p *pruning) begin(warning string, allowed ...string) (bool, error) {
	var err error
	if p.filters, err = parseFilters(p.words, append(allowed, "label", "label!")...); err != nil {
		return false, err
	}
	for _, word := range p.filters["until"] {
		if p.until, err = parseTime(word, time.Now()); err != nil {
			return false, err
		}
	}
	if p.force || p.dryRun {
		return true, nil
	}
	fmt.Fprint(p.c.out, "WARNING! "+warning+"\nAre you sure you want to continue? [y/N] ")
	answer, _ := bufio.NewReader(p.c.in).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// matches reports whether the filters are about something of that age and with
// those labels.
func (p *pruning) matches(made time.Time, labels map[string]string) bool {
	if !p.until.IsZero() && !made.Before(p.until) {
		return false
	}
	for _, not := range p.filters["label!"] {
		if (filters{"label": {not}}).labels(labels) {
			return false
		}
	}
	return p.filters.labels(labels)
}

// told prints what was removed of one kind.
func (p *pruning) told(kind string, names []string, space int64) {
	p.space += space
	if len(names) == 0 {
		return
	}
	verb := "Deleted "
	if p.dryRun {
		verb = "Would delete "
	}
	fmt.Fprintf(p.c.out, "%s%s:\n%s\n\n", verb, kind, strings.Join(names, "\n"))
}

// end prints the sum.
func (p *pruning) end() error {
	word := "reclaimed"
	if p.dryRun {
		word = "reclaimable"
	}
	_, err := fmt.Fprintf(p.c.out, "Total %s space: %s\n", word, units.HumanSize(float64(p.space)))
	return err
}

func (p *pruning) containers(ctx context.Context, e *container.Engine) (gone []string, err error) {
	done, err := e.PruneContainers(ctx, container.Prune{DryRun: p.dryRun, Container: func(ctr *container.Container) bool {
		return p.matches(ctr.Created, ctr.Labels())
	}})
	p.told("Containers", done.Names, done.Space)
	return done.Names, err
}

func (p *pruning) volumes(ctx context.Context, e *container.Engine, all bool, gone []string) error {
	done, err := e.PruneVolumes(ctx, container.Prune{DryRun: p.dryRun, All: all, Gone: gone, Volume: func(v *container.Volume) bool {
		return p.matches(time.Time{}, v.Labels)
	}})
	p.told("Volumes", done.Names, done.Space)
	return err
}

// budgetFlag adds docker's word for a budget.
func (p *pruning) budgetFlag(cmd *cobra.Command) {
	cmd.Flags().Var(value{"bytes", func(word string) (err error) {
		if p.keep, err = units.FromHumanSize(word); err == nil && p.keep <= 0 {
			err = fmt.Errorf("'%s' is no size", word)
		}
		return err
	}}, "keep-storage", "Only remove until the images take no more than this: what was used longest ago goes first")
}

// shrink removes images until they are within the budget.
func (p *pruning) shrink(ctx context.Context, e *container.Engine, gone []string) error {
	done, err := e.Images.Shrink(ctx, image.Budget{Bytes: p.keep, DryRun: p.dryRun, Users: func(id oci.Digest) []string { return e.UsersBeside(id.String(), gone) }})
	p.pruned(done)
	return err
}

func (p *pruning) images(ctx context.Context, e *container.Engine, all, downloads bool, gone []string) error {
	if p.keep > 0 {
		return p.shrink(ctx, e, gone)
	}
	o := image.Prune{All: all, DryRun: p.dryRun, Partials: downloads, Beside: gone, Users: func(id oci.Digest) []string { return e.UsersBeside(id.String(), gone) }}
	if !p.until.IsZero() || p.filters["label"] != nil || p.filters["label!"] != nil {
		o.Match = func(img *image.Image) bool { return p.matches(img.Created, img.Config.Labels) }
	}
	done, err := e.Images.Prune(ctx, o)
	p.pruned(done)
	return err
}

// pruned tells what became of images.
func (p *pruning) pruned(done image.Pruned) {
	if done.Damaged != nil {
		p.c.warn("%s (see 'loper system check')", oneLine(done.Damaged.Error()))
	}
	var lines []string
	for _, name := range done.Untagged {
		lines = append(lines, "untagged: "+name)
	}
	for _, id := range done.Deleted {
		lines = append(lines, "deleted: "+id)
	}
	p.told("Images", lines, done.Space)
}
