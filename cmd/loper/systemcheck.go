package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"loper.run/image"
)

// checkReport is what `system check --format json` prints.
type checkReport struct {
	// Damage is how many problems are more than left over, and not repaired.
	Damage   int             `json:"damage"`
	Problems []image.Problem `json:"problems"`
}

func newSystemCheck(c *cli) *cobra.Command {
	var quick, deep, repair bool
	var age, format string
	cmd := &cobra.Command{
		Use:   "check [OPTIONS]",
		Short: "Look for damage in images, containers, volumes and networks, and repair it",
		Long: "Look for damage in images, containers, volumes and networks, and repair it.\n\nLayers are compared with what they were when they were unpacked; --deep compares what\n" +
			"their files hold too. A repair fetches only what is damaged. The exit code is 1 when\ndamage is found that was not repaired.",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := image.Check{Repair: repair}
			switch {
			case quick && deep:
				return badUsage(cmd, "--quick and --deep exclude each other")
			case quick:
				o.Depth = image.Quick
			case deep:
				o.Depth = image.Deep
			}
			var err error
			if o.Age, err = time.ParseDuration(age); err != nil {
				return badUsage(cmd, "--max: '%s' is no duration such as 24h", age)
			}
			if format != "" && format != "json" {
				return badUsage(cmd, "--format: '%s' is not json", format)
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			report := checkReport{Problems: []image.Problem{}}
			o.Report = func(p image.Problem) {
				report.Problems = append(report.Problems, p)
				if !p.Harmless && !p.Repaired {
					report.Damage++
				}
				if format == "" {
					fmt.Fprintln(c.out, problemText(p))
				}
			}
			if err := e.Check(cmd.Context(), o); err != nil {
				return err
			}
			if format != "" {
				if err := c.printOne(format, report); err != nil {
					return err
				}
			}
			if report.Damage > 0 {
				return exit(1, errors.New("damage detected"))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quick, "quick", "q", false, "Do not compare layers with what they were")
	f.BoolVar(&deep, "deep", false, "Read everything, what files hold and large blobs too")
	f.BoolVarP(&repair, "repair", "r", false, "Repair what is damaged, and remove what is left over")
	f.StringVarP(&age, "max", "m", "24h0m0s", "How old what nobody needs must be to be told")
	f.StringVar(&format, "format", "", `"json", or a line each`)
	return cmd
}

// problemText is one line about a problem.
func problemText(p image.Problem) string {
	text := fmt.Sprintf("%s %s: %s", p.Kind, p.Name, p.What)
	if len(p.Images) > 0 {
		text += "; of " + strings.Join(p.Images, ", ")
	}
	if len(p.Containers) > 0 {
		text += "; containers made of it: " + strings.Join(p.Containers, ", ")
	}
	switch {
	case p.Repaired:
		text += ": repaired: " + p.Repair
	case p.Repair != "":
		text += ": not repaired: " + p.Repair
	}
	return oneLine(text)
}
