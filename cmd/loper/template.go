package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

// parseTemplate reads a --format template, with docker's functions. Written
// out, \t and \n stand for a tab and a new line.
func parseTemplate(format string) (*template.Template, error) {
	format = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format)
	t, err := template.New("").Funcs(template.FuncMap{
		"json":     compactJSON,
		"split":    strings.Split,
		"join":     joinAny,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"title":    title,
		"println":  fmt.Sprintln,
		"pad":      pad,
		"truncate": truncate,
	}).Option("missingkey=error").Parse(format)
	if err != nil {
		return nil, exit(64, fmt.Errorf("--format: %w", err))
	}
	return t, nil
}

// render executes a template on one value and ends the line.
func render(w io.Writer, t *template.Template, value any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, value); err != nil {
		return unknownField(err, value)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// unknownField says which fields there are when a template wants another one of
// a row.
func unknownField(err error, value any) error {
	row := reflect.TypeOf(value)
	_, field, _ := strings.Cut(err.Error(), "can't evaluate field ")
	field, of, found := strings.Cut(field, " in type ")
	if !found || of != row.String() || row.Kind() != reflect.Struct {
		return fmt.Errorf("--format: %w", err)
	}
	known := make([]string, row.NumField())
	for i := range known {
		known[i] = "." + row.Field(i).Name
	}
	return fmt.Errorf("--format: there is no .%s: known are %s", field, strings.Join(known, ", "))
}

// compactJSON is a value as one line of JSON, with <, > and & as they are.
func compactJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(b.String()), err
}

// writeJSON prints a value for people, indented by four spaces as docker does.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	return e.Encode(v)
}

// joinAny joins a list of strings, also one that came out of JSON.
func joinAny(list any, sep string) (string, error) {
	switch l := list.(type) {
	case []string:
		return strings.Join(l, sep), nil
	case []any:
		words := make([]string, len(l))
		for i := range l {
			words[i] = fmt.Sprint(l[i])
		}
		return strings.Join(words, sep), nil
	}
	return "", fmt.Errorf("join wants a list of strings, not %T", list)
}

// title begins each word with a capital.
func title(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, " ")
}

// pad puts spaces around a string that is not empty.
func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
}

// truncate keeps the first characters of a string.
func truncate(s string, length int) string {
	if r := []rune(s); length >= 0 && len(r) > length {
		return string(r[:length])
	}
	return s
}

// printOne prints a single value as --format asks: "json" or a template.
func (c *cli) printOne(format string, v any) error {
	if format == "json" {
		s, err := compactJSON(v)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.out, s)
		return err
	}
	t, err := parseTemplate(format)
	if err != nil {
		return err
	}
	return render(c.out, t, v)
}

// formatFlag declares --format.
func formatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "format", "f", "", `"json", or a Go template`)
}

// listFormatFlag declares --format of a command that lists.
func listFormatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "", `"table", "table TEMPLATE", "json", or a Go template`)
}
