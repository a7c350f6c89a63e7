package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// challenge is one way to log in that a registry offers (RFC 9110, 11.6.1).
type challenge struct {
	scheme string // lower case
	params map[string]string
}

// parseChallenges reads WWW-Authenticate headers. What it does not understand
// it leaves out.
func parseChallenges(headers []string) []challenge {
	var all []challenge
	for _, h := range headers {
		for h = strings.TrimLeft(h, " ,\t"); h != ""; h = strings.TrimLeft(h, " ,\t") {
			word, rest := token(h)
			if word == "" {
				break
			}
			if rest = strings.TrimLeft(rest, " \t"); strings.HasPrefix(rest, "=") && len(all) > 0 {
				var value string
				value, h = paramValue(strings.TrimLeft(rest[1:], " \t"))
				all[len(all)-1].params[strings.ToLower(word)] = value
				continue
			}
			all = append(all, challenge{strings.ToLower(word), map[string]string{}})
			h = rest
		}
	}
	return all
}

func token(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t,=\"")
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

func paramValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		return token(s)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i == len(s) {
				return b.String(), ""
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// login makes the Authorization header for a request's scopes. used is the one
// that was refused: when another request has logged in since, its is taken.
func (e *endpoint) login(ctx context.Context, r *request, used string, challenges []challenge) error {
	e.logins.Lock()
	defer e.logins.Unlock()
	key := r.key()
	if now := e.authorization(key); now != "" && now != used {
		return nil
	}
	var cred Credential
	if e.c.Credentials != nil {
		var err error
		if cred, err = e.c.Credentials(e.domain, r.path); err != nil {
			return err
		}
	}
	var header string
	for _, ch := range challenges {
		switch {
		case ch.scheme == "bearer" && header == "":
			t, err := e.token(ctx, tokenRequest{challenge: ch, cred: cred, scopes: r.scopes()})
			if err != nil {
				return err
			}
			header = "Bearer " + t.access
		case ch.scheme == "basic" && header == "" && cred.Username != "":
			header = basic(cred)
		}
	}
	if header == "" {
		return &StatusError{Op: r.String(), Host: e.domain, Status: http.StatusUnauthorized, Anonymous: cred == Credential{}}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.auth[key] = session{header, cred == Credential{}}
	return nil
}

func basic(cred Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(cred.Username+":"+cred.Password))
}

// tokenRequest is what a token server is asked.
type tokenRequest struct {
	challenge challenge
	cred      Credential
	scopes    []string // what we need, not what the challenge says
	offline   bool     // a token to keep in place of the password is welcome
}

// tokens is what a token server gives.
type tokens struct{ access, refresh string }

// token asks the registry's token server.
func (e *endpoint) token(ctx context.Context, t tokenRequest) (tokens, error) {
	if t.cred.RegistryToken != "" {
		return tokens{access: t.cred.RegistryToken}, nil
	}
	realm, err := url.Parse(t.challenge.params["realm"])
	if err != nil || realm.Host == "" || realm.User != nil {
		return tokens{}, fmt.Errorf("registry %s: its token server %.200q is no address", e.domain, t.challenge.params["realm"])
	}
	local := isLoopback(realm.Hostname()) && isLoopback(e.base().Hostname())
	if realm.Scheme != "https" && !(realm.Scheme == "http" && (local || e.lenient(realm.Host))) {
		return tokens{}, fmt.Errorf("registry %s: its token server %s is refused: only HTTPS is safe for credentials", e.domain, origin(realm))
	}
	req, err := t.build(ctx, realm)
	if err != nil {
		return tokens{}, err
	}
	return e.askToken(req, t.cred == Credential{})
}

// build makes the request: by the token that is kept in place of a password
// (OAuth 2), or by name and password or none.
func (t *tokenRequest) build(ctx context.Context, realm *url.URL) (*http.Request, error) {
	form := url.Values{}
	if s := t.challenge.params["service"]; s != "" {
		form.Set("service", s)
	}
	if t.cred.IdentityToken != "" {
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", t.cred.IdentityToken)
		form.Set("client_id", "loper")
		if len(t.scopes) > 0 {
			form.Set("scope", strings.Join(t.scopes, " ")) // one parameter (RFC 6749, 3.3)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}
	if len(t.scopes) > 0 {
		form["scope"] = t.scopes
	}
	if t.cred.Username != "" {
		form.Set("account", t.cred.Username)
	}
	if t.offline {
		form.Set("offline_token", "true")
		form.Set("client_id", "loper")
	}
	query := realm.Query()
	for k, v := range form {
		query[k] = v
	}
	realm.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err == nil && t.cred.Username != "" {
		req.Header.Set("Authorization", basic(t.cred))
	}
	return req, err
}

func (e *endpoint) askToken(req *http.Request, anonymous bool) (tokens, error) {
	// All of it is one small answer.
	ctx, cancel := context.WithTimeout(req.Context(), 2*e.c.stall())
	defer cancel()
	req = req.WithContext(ctx)
	req.Header.Set("User-Agent", e.c.userAgent())
	rt := e.own
	if req.URL.Host != e.host {
		// A private authority vouches for the whole site.
		var err error
		if rt, err = e.foreign.transport(req.URL.Host, e.certs.roots); err != nil {
			return tokens{}, fmt.Errorf("token server %s: %w", origin(req.URL), err)
		}
	}
	// No redirects: the request may hold a password.
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return tokens{}, fmt.Errorf("token server %s: %w", origin(req.URL), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return tokens{}, &StatusError{Op: "token", Host: req.URL.Host, Status: resp.StatusCode, Anonymous: anonymous, Retry: retryAfter(resp), Detail: detail(resp)}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return tokens{}, fmt.Errorf("token server %s: %w", origin(req.URL), err)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		Refresh     string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return tokens{}, fmt.Errorf("token server %s: decode its answer: %w", origin(req.URL), err)
	}
	t := tokens{answer.Token, answer.Refresh}
	if t.access == "" {
		t.access = answer.AccessToken
	}
	if t.access == "" || strings.ContainsAny(t.access, "\r\n") {
		return tokens{}, errors.New("token server " + origin(req.URL) + " sent no token")
	}
	return t, nil
}
