package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/image/registry"
)

func newRegistryExplain(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "explain [OPTIONS] IMAGE",
		Short: "Show which requests a pull would make, and why",
		Long: "Show which requests a pull of an image would make, in their order, and which file says so.\n" +
			"Only files are read: neither a registry nor a credential helper is asked.",
		Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			x, err := registry.Explain(args[0])
			if err != nil {
				return err
			}
			switch format {
			case "":
				return c.printExplanation(x)
			case "json":
				return writeJSON(c.out, x)
			}
			t, err := parseTemplate(format)
			if err != nil {
				return err
			}
			return render(c.out, t, x)
		},
	}
	cmd.Flags().StringVar(&format, "format", "", `Format: "json" or a Go template`)
	return cmd
}

// printExplanation shows a table of endpoints for each name.
func (c *cli) printExplanation(x *registry.Explanation) error {
	files := strings.Join(x.Files, " ")
	if files == "" {
		files = "none"
	}
	fmt.Fprintf(c.out, "registries.conf: %s\n", files)
	if x.Mode != "" {
		fmt.Fprintf(c.out, "short name of %d registries (short-name-mode is %s)\n", len(x.Candidates), x.Mode)
	}
	for _, n := range x.Candidates {
		fmt.Fprintf(c.out, "\n%s (%s)\n", n.Reference, n.Because)
		if n.Table != "" {
			fmt.Fprintf(c.out, "by %s: prefix %s\n", n.Table, n.Prefix)
		}
		if n.Blocked {
			fmt.Fprintln(c.out, "blocked: no request is made")
			continue
		}
		t := newTable(c.out)
		t.line([]string{"#", "ROLE", "REQUEST", "TLS", "PLAIN HTTP", "CERTS.D", "CREDENTIALS", "PROXY"})
		for i, e := range n.Endpoints {
			certs := strings.Join(e.Certificates, ", ")
			if e.ClientCerts > 0 {
				certs += fmt.Sprintf(" (%d for us)", e.ClientCerts)
			}
			t.line([]string{fmt.Sprint(i + 1), e.Role, "GET " + e.Manifest, e.TLS, e.PlainHTTP, orDash(certs), orDash(strings.Join(e.Credentials, ", then ")), orDash(e.Proxy)})
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
