package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Check asks a registry whether it takes the credentials. What comes back is
// what to keep: a token of the registry's in place of the password, when it gives
// one. An error that matches ErrUnauthorized says that it does not take them.
func (c *Client) Check(ctx context.Context, cred Credential) (Credential, error) {
	sources, err := c.sources(&request{})
	if err != nil {
		return cred, err
	}
	e := sources[0].at
	var resp *http.Response
	err = c.retry(ctx, func() (bool, error) {
		var err error
		if resp, err = e.once(ctx, request{}); err != nil {
			err = e.explain(err)
		}
		return false, err
	})
	if err != nil {
		return cred, err
	}
	status, challenges := resp.StatusCode, parseChallenges(resp.Header.Values("WWW-Authenticate"))
	base := sameOrigin(resp.Request.URL, e.base())
	discard(resp)
	switch {
	case status == http.StatusOK:
		return cred, nil // it asks nobody
	case status != http.StatusUnauthorized || !base:
		return cred, fmt.Errorf("registry %s: it answers /v2/ with status %d %s: is it a registry?", c.domain, status, http.StatusText(status))
	}
	var again error
	for _, ch := range challenges {
		if ch.scheme != "bearer" && ch.scheme != "basic" {
			continue
		}
		kept, err := e.check(ctx, ch, cred)
		if err == nil {
			return kept, nil
		}
		again = errors.Join(again, err)
		if !errors.Is(err, ErrUnauthorized) {
			return cred, err
		}
	}
	if again == nil {
		var offers []string
		for _, ch := range challenges {
			offers = append(offers, clean(ch.scheme))
		}
		return cred, fmt.Errorf("registry %s: it offers no way to log in that is known here: %.100q", c.domain, strings.Join(offers, ", "))
	}
	return cred, fmt.Errorf("registry %s: %w: the user name or password is wrong", c.domain, ErrUnauthorized)
}

// check tries one way to log in.
func (e *endpoint) check(ctx context.Context, ch challenge, cred Credential) (Credential, error) {
	header := basic(cred)
	if ch.scheme == "bearer" {
		t, err := e.token(ctx, tokenRequest{challenge: ch, cred: cred, offline: true})
		if err != nil {
			return cred, err
		}
		if header = "Bearer " + t.access; t.refresh != "" {
			cred = Credential{Username: cred.Username, IdentityToken: t.refresh}
		}
	}
	e.mu.Lock()
	e.auth[""] = session{header: header}
	e.mu.Unlock()
	resp, err := e.once(ctx, request{})
	if err != nil {
		return cred, e.explain(err)
	}
	if resp.StatusCode != http.StatusOK {
		return cred, e.statusError(request{what: "login"}, resp)
	}
	discard(resp)
	return cred, nil
}
