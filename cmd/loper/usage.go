package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// usage prints how a command is written, what is below it, and its flags.
func usage(cmd *cobra.Command) error {
	w := cmd.OutOrStderr()
	fmt.Fprintf(w, "Usage:  %s\n", cmd.UseLine())
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(w, "\nAliases: %s\n", strings.Join(cmd.Aliases, ", "))
	}
	groups, plain := []*cobra.Command{}, []*cobra.Command{}
	for _, sub := range cmd.Commands() {
		switch {
		case !sub.IsAvailableCommand() || sub.Name() == "help":
		case sub.HasSubCommands():
			groups = append(groups, sub)
		default:
			plain = append(plain, sub)
		}
	}
	listCommands(w, "Commands", plain)
	listCommands(w, "Management Commands", groups)
	if cmd.HasAvailableLocalFlags() {
		fmt.Fprintf(w, "\nOptions:\n%s", cmd.LocalFlags().FlagUsagesWrapped(80))
	}
	if cmd.HasAvailableInheritedFlags() {
		fmt.Fprintf(w, "\nGlobal Options:\n%s", cmd.InheritedFlags().FlagUsagesWrapped(80))
	}
	if cmd.HasSubCommands() {
		fmt.Fprintf(w, "\nRun '%s COMMAND --help' for more about a command.\n", cmd.CommandPath())
	}
	return nil
}

func listCommands(w io.Writer, heading string, commands []*cobra.Command) {
	if len(commands) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", heading)
	for _, cmd := range commands {
		fmt.Fprintf(w, "  %-12s %s\n", cmd.Name(), cmd.Short)
	}
}
