package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newPort(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "port CONTAINER [PRIVATE_PORT[/PROTO]]",
		Short:             "List a container's published ports, or where one of them is",
		Args:              between(1, 2),
		ValidArgsFunction: c.completeContainers(container.Running, container.Paused),
		RunE: func(_ *cobra.Command, args []string) error {
			ports, err := c.ports(args[0])
			if err != nil {
				return err
			}
			if len(args) == 1 {
				for _, p := range portList(ports) {
					if p.public != 0 {
						fmt.Fprintf(c.out, "%s -> %s\n", p.key(p.private), net.JoinHostPort(p.ip, fmt.Sprint(p.public)))
					}
				}
				return nil
			}
			asked := args[1]
			if !strings.Contains(asked, "/") {
				asked += "/tcp"
			}
			if keys, err := container.ParseExpose(asked); err != nil || len(keys) != 1 {
				return fmt.Errorf("invalid port '%s'", args[1])
			}
			if len(ports[asked]) == 0 {
				return fmt.Errorf("no public port '%s' published for %s", asked, args[0])
			}
			for _, b := range ports[asked] {
				fmt.Fprintln(c.out, net.JoinHostPort(b.HostIP, b.HostPort))
			}
			return nil
		},
	}
}

// ports are those of a container, if it runs.
func (c *cli) ports(name string) (container.PortMap, error) {
	ctr, err := c.container(name)
	if err != nil {
		return nil, err
	}
	st, err := ctr.Status()
	if err != nil || !st.Alive() {
		return nil, err
	}
	n, err := ctr.Sandbox()
	return ctr.Ports(n), err
}
