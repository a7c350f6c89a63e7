package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newExport(c *cli) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "export [OPTIONS] CONTAINER",
		Short:             "Write the files of a container as a tar",
		Args:              exactly(1),
		ValidArgsFunction: c.completeContainers(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctr, err := c.container(args[0])
			if err != nil {
				return err
			}
			_, latest, err := buildTime()
			if err != nil {
				return err
			}
			return c.writeTo(output, func(f *os.File) error { return ctr.Export(cmd.Context(), f, latest) })
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "File to write, instead of standard output")
	return cmd
}

// writeTo calls write with standard output or, given a path, with a file that
// gets its name when all was written.
func (c *cli) writeTo(path string, write func(f *os.File) error) error {
	if path == "" {
		if term.IsTerminal(int(c.out.Fd())) {
			return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
		}
		return write(c.out)
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return write(f)
	}
	dir, base := filepath.Split(path)
	f, err := os.CreateTemp(filepath.Clean(dir+"."), "."+base+".*")
	if err != nil {
		return err
	}
	defer f.Close()
	err = write(f)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
