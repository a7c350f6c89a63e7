package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"loper.run/runtime"

	"github.com/spf13/pflag"
)

func listCommand() command {
	var quiet bool
	var format string
	return command{
		name: "list", short: "List the containers",
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&format, "format", "f", "table", "table or json")
			f.BoolVarP(&quiet, "quiet", "q", false, "print ids only")
		},
		run: func(g *global, args []string) error {
			if err := none(args); err != nil {
				return err
			}
			list, damaged, err := runtime.List(g.root)
			if err != nil {
				return err
			}
			for _, d := range damaged {
				g.warn([]string{d.Error()})
			}
			if quiet {
				for _, c := range list {
					fmt.Println(c.ID())
				}
				return nil
			}
			states := []*containerState{}
			for _, c := range list {
				s, err := stateOf(c)
				if err != nil {
					return err
				}
				states = append(states, s)
			}
			switch format {
			case "json":
				return json.NewEncoder(os.Stdout).Encode(states)
			case "table":
				return listTable(states)
			}
			return fmt.Errorf("--format %q: table and json are known", format)
		},
	}
}

func listTable(list []*containerState) error {
	w := tabwriter.NewWriter(os.Stdout, 12, 1, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return w.Flush()
}
