package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"loper.run/image"
	"loper.run/image/reference"
	"loper.run/image/trust"
)

func newImageSign(c *cli) *cobra.Command {
	var key, form string
	var o image.SignOptions
	cmd := &cobra.Command{
		Use:   "sign [OPTIONS] --key KEY IMAGE[:TAG|@DIGEST] [IMAGE...]",
		Short: "Sign images in their registry, as cosign does",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			switch form {
			case "tag":
				o.Forms = trust.Forms{Cosign: true}
			case "bundle":
				o.Forms = trust.Forms{Bundle: true}
			case "both":
				o.Forms = trust.Forms{Cosign: true, Bundle: true}
			default:
				return fmt.Errorf("--form: '%s' is not tag, bundle or both", form)
			}
			if key == "" {
				return badUsage(cmd, "--key is missing: 'loper image keygen' makes one")
			}
			text, err := os.ReadFile(key)
			if err != nil {
				return err
			}
			if o.Key, err = trust.ParsePrivateKey(text, c.keyPassword); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return c.each(args, func(name string) error {
				signed, err := image.Sign(cmd.Context(), name, o)
				for _, d := range signed {
					ref, err := reference.Parse(name)
					if err != nil {
						return err
					}
					fmt.Fprintf(c.out, "%s@%s\n", ref.FamiliarName(), d)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "Private key: cosign's, or one in PKCS #8 or SEC 1 ($COSIGN_PASSWORD opens cosign's)")
	f.StringVar(&form, "form", "both", "Where the signature goes: tag, bundle (a referrer) or both")
	f.BoolVarP(&o.Recursive, "recursive", "r", false, "Sign the images of all platforms too")
	f.StringVar(&o.Identity, "sign-identity", "", "Name that the signature is for, instead of the image's own")
	return cmd
}

// keyPassword asks for the password of a private key where the environment has none.
func (c *cli) keyPassword() ([]byte, error) {
	if word, ok := os.LookupEnv("COSIGN_PASSWORD"); ok {
		return []byte(word), nil
	}
	if !isTerminal(c.in) {
		return nil, errors.New("it is encrypted: set COSIGN_PASSWORD, or run this on a terminal")
	}
	fmt.Fprint(c.err, "Enter password for private key: ")
	word, err := term.ReadPassword(int(c.in.Fd()))
	fmt.Fprintln(c.err)
	return word, err
}

func newImageKeygen(c *cli) *cobra.Command {
	prefix := "loper"
	cmd := &cobra.Command{
		Use:   "keygen [OPTIONS]",
		Short: "Make a key that signs images, as cosign does",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			word, err := c.keyPassword()
			if err != nil {
				return err
			}
			private, public, err := trust.GenerateKey(word)
			if err != nil {
				return err
			}
			for _, file := range []struct {
				name string
				mode os.FileMode
				text []byte
			}{{prefix + ".key", 0o600, private}, {prefix + ".pub", 0o644, public}} {
				f, err := os.OpenFile(file.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, file.mode)
				if err != nil {
					return err
				}
				_, err = f.Write(file.text)
				if err = errors.Join(err, f.Close()); err != nil {
					return err
				}
				fmt.Fprintln(c.out, file.name)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&prefix, "output-prefix", prefix, "Beginning of the names of the two files")
	return cmd
}
