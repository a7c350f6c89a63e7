package keyless

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/sigstore/sigstore-go/pkg/bundle"
)

// Identity is whose signature is wanted. What is empty is not asked for.
type Identity struct {
	Issuer    string // exactly
	SAN       string // exactly
	SANRegexp string // has to match the whole name, from its first to its last character
}

// compile makes a function that tells why a certificate's issuer and name are not the wanted ones.
func (want Identity) compile() (func(issuer, san string) error, error) {
	var pattern *regexp.Regexp
	if want.SANRegexp != "" {
		var err error
		if _, err = regexp.Compile(want.SANRegexp); err == nil { // with the parentheses around it, ")|(" would be one too
			// A pattern for a host must not match a path of another one that ends alike.
			pattern, err = regexp.Compile(`\A(?:` + want.SANRegexp + `)\z`)
		}
		if err != nil {
			return nil, fmt.Errorf("the pattern of the identity: %w", err)
		}
	}
	return func(issuer, san string) error {
		switch {
		case want.Issuer != "" && issuer != want.Issuer:
			return fmt.Errorf("signed by %q, for whom %q vouches and not %q", san, issuer, want.Issuer)
		case want.SAN != "" && san != want.SAN:
			return fmt.Errorf("signed by %q and not by %q", san, want.SAN)
		case pattern != nil && !pattern.MatchString(san):
			return fmt.Errorf("signed by %q, which is not like %q", san, want.SANRegexp)
		}
		return nil
	}, nil
}

// onlyOneName refuses a certificate with several names: the library would look at one of them alone.
func onlyOneName(b *bundle.Bundle) error {
	content, err := b.VerificationContent()
	if err != nil {
		return err
	}
	c := content.Certificate()
	if n := len(c.URIs) + len(c.EmailAddresses) + len(c.DNSNames) + len(c.IPAddresses); n > 1 {
		return errors.New("the certificate has several names, of which one is wanted")
	}
	return nil
}
