package main

import (
	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/network"
)

func newNetworkConnect(c *cli) *cobra.Command {
	var n networkFlags
	var r network.Request
	var links []string
	cmd := &cobra.Command{
		Use:               "connect [OPTIONS] NETWORK CONTAINER",
		Short:             "Connect a container to a network",
		Args:              exactly(2),
		ValidArgsFunction: c.completeNetworkAndContainer,
		RunE: func(_ *cobra.Command, args []string) error {
			ctr, err := c.container(args[1])
			if err != nil {
				return err
			}
			mode, named, err := container.ParseNetwork(args[0])
			if err != nil {
				return err
			}
			if r.Network = named.Network; mode != "" {
				r.Network = mode
			}
			if err := n.apply(&r); err != nil {
				return err
			}
			return ctr.Connect(r, links)
		},
	}
	f := cmd.Flags()
	f.Var(appendTo(&n.aliases, parseAlias), "alias", "Add a name by which the network finds the container")
	n.addresses(f)
	f.IntVar(&r.Priority, "gw-priority", 0, "The way out is by the network of the highest priority")
	f.Var(list(&links), "link", "Add another container's address to /etc/hosts (CONTAINER[:ALIAS])")
	f.Var(repeated{value{"list", func(word string) error { return container.EndpointOption(&r, word) }}}, "driver-opt", "Options of the driver: com.docker.network.endpoint.ifname=NAME")
	return cmd
}

func newNetworkDisconnect(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "disconnect [OPTIONS] NETWORK CONTAINER",
		Short:             "Disconnect a container from a network",
		Args:              exactly(2),
		ValidArgsFunction: c.completeNetworkAndContainer,
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			ctr, err := find(e, args[1])
			if err != nil {
				if force && e.Forget(args[0], args[1]) == nil {
					return nil
				}
				return err
			}
			return ctr.Disconnect(args[0])
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Disconnect a container too that is no more")
	return cmd
}

// completeNetworkAndContainer offers networks, and then containers.
func (c *cli) completeNetworkAndContainer(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return c.completeContainers()(cmd, args, word)
	}
	e, err := c.engine()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	all, err := e.Networks.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.Name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
