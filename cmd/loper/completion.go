package main

import (
	"github.com/spf13/cobra"
)

func newCompletion(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "Print the completion script of a shell",
		Long:      "Print the completion script of a shell.\n\nbash: source <(loper completion bash)\nzsh:  loper completion zsh > \"${fpath[1]}/_loper\"\nfish: loper completion fish | source",
		Args:      exactly(1),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.out, true)
			case "zsh":
				return root.GenZshCompletion(c.out)
			case "fish":
				return root.GenFishCompletion(c.out, true)
			}
			return badUsage(cmd, "no completion for shell '%s'", args[0])
		},
	}
}
