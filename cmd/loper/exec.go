package main

import (
	"github.com/spf13/cobra"

	"loper.run/container"
)

func newExec(c *cli) *cobra.Command {
	var s container.ExecSettings
	var env, envFiles []string
	cmd := &cobra.Command{
		Use:               "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short:             "Run a command in a running container",
		Args:              atLeast(2),
		ValidArgsFunction: c.completeContainers(container.Running),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if s.Env, err = environment(envFiles, env); err != nil {
				return err
			}
			if s.OpenStdin && s.Terminal && !s.Detach && !isTerminal(c.in) {
				return errNotTerminal
			}
			ctr, err := c.container(args[0])
			if err != nil {
				return err
			}
			s.Command = args[1:]
			s.Stdin, s.Stdout, s.Stderr = c.in, c.out, c.err
			if err := ctr.ProtectSelf(); err != nil {
				return err
			}
			code, err := ctr.Exec(cmd.Context(), s)
			if err != nil && code == engineExit {
				code = 1 // as docker's, where 125 is for run alone
			}
			return exit(code, err)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&s.Detach, "detach", "d", false, "Do not wait for the command")
	f.VarP(list(&env), "env", "e", "Set environment variables")
	f.Var(list(&envFiles), "env-file", "Read environment variables from a file")
	f.BoolVarP(&s.OpenStdin, "interactive", "i", false, "Connect standard input")
	f.BoolVar(&s.Privileged, "privileged", false, "Give the command all capabilities of the container's namespaces")
	f.BoolVarP(&s.Terminal, "tty", "t", false, "Allocate a terminal")
	f.StringVarP(&s.User, "user", "u", "", "User name or id (<name|uid>[:<group|gid>])")
	f.StringVarP(&s.WorkingDir, "workdir", "w", "", "Working directory inside the container")
	return cmd
}
