package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/image/registry"
)

func newLogout(c *cli) *cobra.Command {
	var authfile string
	var all bool
	cmd := &cobra.Command{
		Use:   "logout [OPTIONS] [SERVER]",
		Short: "Log out from a registry",
		Long: "Log out from a registry; Docker Hub without an argument. Its credentials are removed from every file\n" +
			"that is read, Podman's and Docker's, and from the helpers that these name.",
		Args: between(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if all {
				if len(args) > 0 {
					return fmt.Errorf("--all takes no registry")
				}
				if _, err := registry.ForgetAll(authfile); err != nil {
					return err
				}
				fmt.Fprintln(c.out, "Removed login credentials for all registries")
				return nil
			}
			server, err := registry.Server(strings.Join(args, ""))
			if err != nil {
				return err
			}
			found, err := registry.Forget(server, authfile)
			if err != nil {
				return err
			}
			if found {
				fmt.Fprintf(c.out, "Removing login credentials for %s\n", server)
			} else {
				fmt.Fprintf(c.out, "Not logged in to %s\n", server)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&authfile, "authfile", "", "File with credentials, in place of all others")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Log out from all registries")
	return cmd
}
