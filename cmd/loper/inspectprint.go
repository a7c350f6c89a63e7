package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"text/template"

	"github.com/spf13/cobra"
)

// inspectCommand is a command that describes named objects as a JSON list, or
// by a template each. What is found is printed even when some are not.
func (c *cli) inspectCommand(use, short string, open func() (inspector, error)) *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: use, Short: short, Args: atLeast(1)}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		var t *template.Template
		var err error
		if format != "" && format != "json" {
			if t, err = parseTemplate(format); err != nil {
				return err
			}
		}
		find, err := open()
		if err != nil {
			return err
		}
		found := []any{}
		failed := c.each(args, func(name string) error {
			v, err := find(name)
			if err == nil {
				found = append(found, v)
			}
			return err
		})
		if err := c.printObjects(found, format, t); err != nil {
			return err
		}
		return failed
	}
	formatFlag(cmd, &format)
	return cmd
}

// printObjects prints a list as indented JSON, as one line of it, or by a
// template.
func (c *cli) printObjects(found []any, format string, t *template.Template) error {
	switch {
	case format == "json":
		return c.printOne(format, found)
	case t == nil:
		return writeJSON(c.out, found)
	}
	for _, v := range found {
		var b bytes.Buffer
		if err := t.Execute(&b, v); err != nil {
			generic, jsonErr := asMap(v)
			if jsonErr != nil {
				return jsonErr
			}
			b.Reset()
			if t.Execute(&b, generic) != nil {
				return fmt.Errorf("--format: %w", err)
			}
		}
		fmt.Fprintln(c.out, b.String())
	}
	return nil
}

// asMap is a value as its JSON has it, for templates that use those names.
func asMap(v any) (m any, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err = d.Decode(&m)
	return m, err
}
