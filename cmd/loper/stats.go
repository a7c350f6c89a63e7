package main

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"loper.run/container"
)

// How long the use of CPUs is measured before a line says something of it.
const (
	statsFirst = 250 * time.Millisecond
	statsEvery = time.Second
)

func newStats(c *cli) *cobra.Command {
	l := listing[statsRow]{Name: func(r statsRow) string { return r.ID }, Header: statsHeader, Columns: statsRow.columns}
	var all, once, whole bool
	cmd := &cobra.Command{
		Use:               "stats [OPTIONS] [CONTAINER...]",
		Short:             "Show what containers use, again and again",
		ValidArgsFunction: c.completeContainers(container.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			m := meter{c: c, engine: e, names: args, all: all, whole: whole, last: map[string]container.Stats{}}
			if _, err := m.rows(); err != nil {
				return err
			}
			time.Sleep(statsFirst)
			for {
				rows, err := m.rows()
				if err != nil {
					return err
				}
				var screen bytes.Buffer
				if err := l.print(&screen, rows); err != nil {
					return err
				}
				if err := c.draw(screen.Bytes(), !once && l.Format == ""); err != nil || once {
					return err
				}
				time.Sleep(statsEvery)
			}
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "Show all containers, not only those that run")
	f.BoolVar(&once, "no-stream", false, "Show the first result only")
	f.BoolVar(&whole, "no-trunc", false, "Do not shorten ids")
	listFormatFlag(cmd, &l.Format)
	return cmd
}

// draw writes a screenful: on a terminal over the one before, line by line and
// in one write, so that nothing flickers.
func (c *cli) draw(screen []byte, over bool) error {
	if over && isTerminal(c.out) {
		screen = bytes.ReplaceAll(screen, []byte("\n"), []byte("\x1b[K\n"))
		screen = append(append([]byte("\x1b[H"), screen...), "\x1b[J"...)
	}
	_, err := io.Copy(c.out, bytes.NewReader(screen))
	return err
}

// meter measures containers again and again.
type meter struct {
	c          *cli
	engine     *container.Engine
	names      []string // of the containers; none: all
	all, whole bool
	last       map[string]container.Stats
}

// rows measures each container now, against what it had used the last time.
func (m *meter) rows() ([]statsRow, error) {
	containers, err := m.containers()
	if err != nil {
		return nil, err
	}
	var rows []statsRow
	for i, ctr := range containers {
		st, err := ctr.Stats()
		if err != nil {
			// One that does not run, or that cannot be measured.
			if m.all || i < len(m.names) || !isNotRunning(err) {
				rows = append(rows, m.row(ctr, i, nil, 0))
			}
			continue
		}
		before := m.last[ctr.ID]
		m.last[ctr.ID] = st
		share := 0.0
		if passed := st.Read.Sub(before.Read); !before.Read.IsZero() && passed > 0 && st.CPUTotal >= before.CPUTotal {
			share = 100 * float64(st.CPUTotal-before.CPUTotal) / float64(passed)
		}
		rows = append(rows, m.row(ctr, i, &st, share))
	}
	return rows, nil
}

func isNotRunning(err error) bool {
	return errors.Is(err, container.ErrNotRunning) || errors.Is(err, container.ErrNotFound)
}

// containers finds the containers that are measured.
func (m *meter) containers() ([]*container.Container, error) {
	if len(m.names) == 0 {
		return m.engine.List()
	}
	found := make([]*container.Container, len(m.names))
	for i, name := range m.names {
		ctr, err := find(m.engine, name)
		if err != nil {
			return nil, err
		}
		found[i] = ctr
	}
	return found, nil
}

// row is a line about the i-th container; nil is one that does not run.
func (m *meter) row(ctr *container.Container, i int, st *container.Stats, cpu float64) statsRow {
	r := newStatsRow(st, cpu)
	r.ID, r.Name, r.Container = shortID(ctr.ID, m.whole), ctr.Name, shortID(ctr.ID, m.whole)
	if i < len(m.names) {
		r.Container = m.names[i]
	}
	return r
}
