package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// listing prints rows of one kind as --format and --quiet ask. A row is a
// struct of strings; its fields are what a template can name, and the keys of
// JSON, which is why they are sorted.
type listing[T any] struct {
	Format  string // of --format
	Quiet   bool   // only the name of each row
	Bare    bool   // no names of columns
	Name    func(row T) string
	Header  T                    // the row of column names
	Columns func(row T) []string // of the table that is the default
}

// print writes the rows, all at once: a call for each cell takes longer than
// finding the rows.
func (l listing[T]) print(w io.Writer, rows []T) error {
	b := bufio.NewWriterSize(w, 64<<10)
	return errors.Join(l.write(b, rows), b.Flush())
}

func (l listing[T]) write(w io.Writer, rows []T) error {
	format, table := strings.CutPrefix(l.Format, "table")
	format = strings.TrimSpace(format)
	switch {
	case l.Quiet && l.Format == "":
		for _, row := range rows {
			fmt.Fprintln(w, l.Name(row))
		}
		return nil
	case format == "" && (table || l.Format == ""):
		t := newTable(w)
		if !l.Bare {
			t.line(l.Columns(l.Header))
		}
		for _, row := range rows {
			t.line(l.Columns(row))
		}
		return t.Flush()
	case format == "json" && !table:
		for _, row := range rows {
			s, err := compactJSON(row)
			if err != nil {
				return err
			}
			fmt.Fprintln(w, s)
		}
		return nil
	}
	return l.template(w, rows, format, table)
}

// template prints each row by a template, below a header when it is a table.
func (l listing[T]) template(w io.Writer, rows []T, format string, table bool) error {
	t, err := parseTemplate(format)
	if err != nil {
		return err
	}
	if !table {
		for _, row := range rows {
			if err := render(w, t, row); err != nil {
				return err
			}
		}
		return nil
	}
	out := newTable(w)
	if !l.Bare {
		if err := render(out, t, l.Header); err != nil {
			return err
		}
	}
	for _, row := range rows {
		if err := render(out, t, row); err != nil {
			return err
		}
	}
	return out.Flush()
}

// wants reports whether the format shows a field that costs something.
func wants(format, field string) bool {
	return format == "json" || strings.Contains(format, "."+field) || strings.Contains(format, "json .")
}

// table aligns columns as docker does.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)} }

func (t table) line(cells []string) {
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}
