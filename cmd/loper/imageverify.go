package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"loper.run/image"
	"loper.run/image/trust"
)

func newImageVerify(c *cli) *cobra.Command {
	var keys []string
	var root, platform, format string
	var who trust.Who
	var signed trustFlags
	cmd := &cobra.Command{
		Use:   "verify [OPTIONS] IMAGE[:TAG|@DIGEST] [IMAGE...]",
		Short: "Check the signatures of images in their registry",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return fmt.Errorf("--format: '%s' is not text or json", format)
			}
			store, err := c.images()
			if err != nil {
				return err
			}
			o := image.PullOptions{Platform: platform}
			if o.Trust, err = signed.options(); err != nil {
				return err
			}
			for _, file := range keys {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				k, err := trust.ParseKey(text)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				who.Keys = append(who.Keys, k)
			}
			if root != "" {
				if who.TrustedRoot, err = os.ReadFile(root); err != nil {
					return err
				}
			}
			wanted := &who
			if who.Keys == nil && who.Subject == "" && who.SubjectRegexp == "" && who.Issuer == "" {
				wanted = nil
			}
			return c.each(args, func(name string) error {
				v, found, err := store.Verify(cmd.Context(), name, o, wanted)
				if err != nil {
					return err
				}
				return c.printVerified(name, format, v, found)
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&keys, "key", nil, "Public key that must have signed; of several any one")
	f.StringVar(&who.Subject, "certificate-identity", "", "Person or workflow that must have signed, by its certificate")
	f.StringVar(&who.SubjectRegexp, "certificate-identity-regexp", "", "Regular expression for the same")
	f.StringVar(&who.Issuer, "certificate-oidc-issuer", "", "Who must have known that person or workflow")
	f.StringVar(&root, "trusted-root", "", "Trusted root of the certificates: a trusted_root.json")
	f.StringVar(&platform, "platform", "", "Platform of the image, as in linux/arm64")
	f.StringVar(&format, "format", "text", "Output as text or json")
	signed.add(f)
	return cmd
}

// verified is the JSON of an image that was checked.
type verified struct {
	Image      string
	Digests    []string
	Signers    []trust.Signer
	Rule       string          `json:",omitempty"` // without somebody wanted
	Scope      string          `json:",omitempty"`
	Note       string          `json:",omitempty"`
	Signatures []trust.Finding `json:",omitempty"`
}

func (c *cli) printVerified(name, format string, v trust.Verdict, found []trust.Finding) error {
	out := verified{Image: name, Signers: append([]trust.Signer{}, v.Signers...), Rule: v.Rule, Scope: v.Scope, Note: v.Note, Signatures: found}
	for _, d := range v.Digests {
		out.Digests = append(out.Digests, d.String())
	}
	for _, f := range found {
		out.Signers = append(out.Signers, f.Signer)
	}
	if format == "json" {
		return writeJSON(c.out, out)
	}
	if len(out.Signers) == 0 {
		note := ""
		if v.Note != "" {
			note = ": " + v.Note
		}
		_, err := fmt.Fprintf(c.out, "%s@%s: unsigned%s (accepted: %s)\n", name, out.Digests[0], note, ruleText(v))
		return err
	}
	told := map[string]bool{}
	for _, s := range out.Signers {
		if told[s.String()] {
			continue // who signed in two forms is one signer
		}
		told[s.String()] = true
		if _, err := fmt.Fprintf(c.out, "%s@%s: signed by %s", name, out.Digests[0], s); err != nil {
			return err
		}
		if v.Rule != "" {
			fmt.Fprintf(c.out, " (%s)", ruleText(v))
		}
		fmt.Fprintln(c.out)
	}
	return nil
}

// ruleText says by what an image was accepted.
func ruleText(v trust.Verdict) string {
	switch v.Rule {
	case trust.ByPolicy:
		if v.Scope == "" {
			return "the policy's default"
		}
		return "the policy for " + v.Scope
	case trust.ByKnown:
		return "a known signer"
	case trust.ByFirst:
		return "no signer of the repository was known before"
	}
	return "neither a policy nor a known signer speaks of it"
}
