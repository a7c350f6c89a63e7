package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/image/reference"
	"loper.run/image/trust"
)

func newImageTrust(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust COMMAND",
		Short: "Manage which images are trusted",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	for _, sub := range []*cobra.Command{c.trustShow(), c.trustSet(), c.trustRm()} {
		sub.DisableFlagsInUseLine = true
		sub.Flags().BoolP("help", "h", false, "Show this help")
		cmd.AddCommand(sub)
	}
	return cmd
}

// trustSet is podman's command, and adds known signers too.
func (c *cli) trustSet() *cobra.Command {
	var kind, policy string
	var keys []string
	var signer trust.Signer
	cmd := &cobra.Command{
		Use:   "set [OPTIONS] REGISTRY[/REPOSITORY[:TAG]]|default",
		Short: "Set what is required of the images of a registry or repository",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind != "knownSigner" {
				path, err := trust.SetPolicy(policy, args[0], kind, keys)
				if err == nil {
					fmt.Fprintln(c.out, path)
				}
				return err
			}
			repository, err := repositoryName(args[0])
			if err != nil {
				return err
			}
			signers, err := namedSigners(keys, signer)
			if err != nil {
				return err
			}
			if len(signers) == 0 {
				return badUsage(cmd, "a known signer needs --pubkeysfile, --fingerprint, or --certificate-identity with --certificate-oidc-issuer")
			}
			return trust.Remember(repository, signers...)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&kind, "type", "t", trust.SetGPG, "Type: signedBy, sigstoreSigned, accept, reject, or knownSigner")
	f.StringSliceVarP(&keys, "pubkeysfile", "f", nil, "File with a public key")
	f.StringVar(&signer.Fingerprint, "fingerprint", "", "Fingerprint of a known signer's key")
	f.StringVar(&signer.Subject, "certificate-identity", "", "Known signer whom a certificate names so")
	f.StringVar(&signer.Issuer, "certificate-oidc-issuer", "", "Who has to know that signer")
	f.StringVar(&policy, "policypath", "", "Policy to be changed, instead of the one in use")
	return cmd
}

// namedSigners are the signers that flags name.
func namedSigners(keys []string, s trust.Signer) (all []trust.Signer, err error) {
	for _, file := range keys {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		k, err := trust.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w (of an OpenPGP key give the --fingerprint)", file, err)
		}
		all = append(all, trust.KeySigner(k, filepath.Base(file)))
	}
	if s.Fingerprint != "" {
		all = append(all, trust.FingerprintSigner(s.Fingerprint))
	}
	if s.Subject != "" && s.Issuer != "" {
		all = append(all, trust.PersonSigner(s.Issuer, s.Subject))
	} else if s.Subject != "" || s.Issuer != "" {
		return nil, errors.New("--certificate-identity and --certificate-oidc-issuer go together")
	}
	return all, nil
}

func repositoryName(name string) (string, error) {
	ref, err := reference.Parse(name)
	return ref.Name(), err
}

func (c *cli) trustRm() *cobra.Command {
	var who string
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] REPOSITORY [REPOSITORY...]",
		Aliases: []string{"remove"},
		Short:   "Forget who is known to sign a repository",
		Args:    atLeast(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.each(args, func(name string) error {
				repository, err := repositoryName(name)
				if err != nil {
					return err
				}
				gone, err := trust.Forget(repository, who)
				for _, s := range gone {
					fmt.Fprintf(c.out, "Forgotten: %s signed by %s\n", repository, s)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&who, "signer", "", "Only the signer with this fingerprint or certificate identity")
	return cmd
}

// trustRow is a line of trust show, with podman's names.
type trustRow struct {
	Transport string
	Name      string `json:"RepoName"`
	Type      string
	ID        string `json:"GPGId"`
	Store     string `json:"SignatureStore"`
}

func (c *cli) trustShow() *cobra.Command {
	var raw, asJSON bool
	var policy string
	l := listing[trustRow]{
		Header: trustRow{Transport: "TRANSPORT", Name: "NAME", Type: "TYPE", ID: "ID", Store: "STORE"},
		Columns: func(r trustRow) []string {
			return []string{r.Transport, r.Name, r.Type, r.ID, r.Store}
		},
	}
	cmd := &cobra.Command{
		Use:     "show [OPTIONS] [REGISTRY[/REPOSITORY]]",
		Aliases: []string{"ls", "list"},
		Short:   "Show the policy, and who is known to sign what",
		Args:    between(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := trust.LoadPolicy(policy)
			if err != nil {
				return err
			}
			if raw {
				if p == nil {
					return errors.New("there is no policy.json")
				}
				body, err := os.ReadFile(p.Path)
				if err == nil {
					_, err = c.out.Write(body)
				}
				return err
			}
			known, err := trust.AllKnown()
			if err != nil {
				return err
			}
			rows := trustRows(p, known)
			if len(args) == 1 {
				kept := rows[:0:0]
				for _, r := range rows {
					if r.Name == args[0] || strings.HasPrefix(args[0], r.Name+"/") || strings.HasPrefix(r.Name, args[0]+"/") {
						kept = append(kept, r)
					}
				}
				rows = kept
			}
			if asJSON {
				return writeJSON(c.out, rows)
			}
			return l.print(c.out, rows)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&raw, "raw", false, "Show the policy's file as it is")
	f.BoolVarP(&asJSON, "json", "j", false, "Output as JSON")
	listFormatFlag(cmd, &l.Format)
	f.StringVar(&policy, "policypath", "", "Policy to be shown, instead of the one in use")
	return cmd
}
