package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/internal/version"
)

// rootCommand builds the program itself, with no command below it.
func (c *cli) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "loper [OPTIONS] COMMAND [ARG...]",
		Short:             "A container engine at an easy stride: no daemon, no root, no C",
		SilenceErrors:     true,
		SilenceUsage:      true,
		TraverseChildren:  true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
		PersistentPreRunE:     func(*cobra.Command, []string) error { return c.checkLogLevel() },
		Version:               version.String(),
		DisableFlagsInUseLine: true,
	}
	root.SetVersionTemplate("Loper version {{.Version}}\n")
	root.SetUsageFunc(usage)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit(engineExit, badUsage(cmd, "%w", err))
	})
	f := root.PersistentFlags()
	f.StringVar(&c.root, "root", "", "Directory of images, containers, volumes and networks ($LOPER_ROOT)")
	f.StringVar(&c.runroot, "runroot", "", "Directory of the state of running containers ($LOPER_RUNROOT)")
	f.StringVar(&c.logLevel, "log-level", "warn", "Say more or less: debug, info, warn, error")
	return root
}

// unknownCommand names the commands that look like the one that is not there.
func unknownCommand(parent *cobra.Command, name string) error {
	parent.SuggestionsMinimumDistance = 2
	message := fmt.Sprintf("unknown command: %s %s", parent.CommandPath(), name)
	if near := parent.SuggestionsFor(name); len(near) > 0 {
		message += " (did you mean " + strings.Join(near, " or ") + "?)"
	}
	return badUsage(parent, "%s", message)
}

// exactly, atLeast and between check the number of arguments, and say what is
// wanted with the command's own usage line.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

func atLeast(n int) cobra.PositionalArgs { return between(n, -1) }

func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		want := ""
		switch {
		case most == 0:
			want = "accepts no arguments"
		case least == most:
			want = fmt.Sprintf("requires %d argument%s", least, plural(least))
		case most < 0:
			want = fmt.Sprintf("requires at least %d argument%s", least, plural(least))
		case len(args) > most:
			want = fmt.Sprintf("requires at most %d argument%s", most, plural(most))
		default:
			want = fmt.Sprintf("requires at least %d and at most %d arguments", least, most)
		}
		return badUsage(cmd, "'%s' %s: %s", cmd.CommandPath(), want, cmd.UseLine())
	}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
