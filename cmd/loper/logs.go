package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"loper.run/container/logs"
	"loper.run/container/monitor"
)

func newLogs(c *cli) *cobra.Command {
	var q logs.Query
	var tail, since, until string
	var details bool
	cmd := &cobra.Command{
		Use:               "logs [OPTIONS] CONTAINER",
		Short:             "Show the output of a container",
		Args:              exactly(1),
		ValidArgsFunction: c.completeContainers(),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.Tail, err = parseTail(tail); err != nil {
				return err
			}
			now := time.Now()
			if since != "" {
				if q.Since, err = parseTime(since, now); err != nil {
					return fmt.Errorf("--since: %w", err)
				}
			}
			if until != "" {
				if q.Until, err = parseTime(until, now); err != nil {
					return fmt.Errorf("--until: %w", err)
				}
			}
			ctr, err := c.container(args[0])
			if err != nil {
				return err
			}
			if ctr.Settings.LogDriver == logs.None {
				return fmt.Errorf("container %s has no log: it was made with --log-driver none", args[0])
			}
			q.Lock = filepath.Join(ctr.RunDir(), monitor.LockFile)
			err = logs.Copy(cmd.Context(), ctr.LogPath(), q, c.out, c.err)
			if errors.Is(err, unix.EPIPE) {
				return nil
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&q.Follow, "follow", "f", false, "Go on with what the container writes")
	f.StringVarP(&tail, "tail", "n", "all", "Number of lines to show from the end")
	f.BoolVarP(&q.Timestamps, "timestamps", "t", false, "Show when each line was written")
	f.StringVar(&since, "since", "", "Only output since a time (2026-01-02T13:23:37Z) or a while ago (42m)")
	f.StringVar(&until, "until", "", "Only output before a time (2026-01-02T13:23:37Z) or a while ago (42m)")
	f.BoolVar(&details, "details", false, "Show extra attributes (there are none)")
	return cmd
}

// parseTail reads the number of lines of --tail as logs.Query has it.
func parseTail(s string) (int, error) {
	if s == "all" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("--tail: '%s' is neither a number nor all", s)
	case n < 0:
		return 0, nil
	case n == 0:
		return -1, nil
	}
	return n, nil
}
