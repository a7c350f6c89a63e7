package main

import (
	"github.com/spf13/pflag"

	"loper.run/image/trust"
	"loper.run/internal/config"
)

// trustFlags are the flags of commands that take in images.
type trustFlags struct {
	policy  string
	require bool
}

func (t *trustFlags) add(f *pflag.FlagSet) {
	f.StringVar(&t.policy, "signature-policy", "", "Signature policy, instead of the user's or the system's policy.json")
	f.BoolVar(&t.require, "require-signature", false, "Refuse images that nobody is known to have signed")
}

// options joins the flags with the configuration.
func (t *trustFlags) options() (trust.Options, error) {
	c, err := config.Load()
	return trust.Options{Policy: t.policy, Require: t.require || c.Image.RequireSignature}, err
}
