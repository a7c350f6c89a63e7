package env

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Tokens is a token server as docker-registry's `auth: token` wants one: it gives JWTs signed with RS256 to user tester
// with password secret, and to whoever shows the refresh token that it gave. Anonymous ones may pull below public/.
type Tokens struct {
	Server   *httptest.Server // HTTPS, with a certificate of the authority
	Lifetime time.Duration    // of a token; 0 is a minute
	Issuer   string
	Service  string

	ca *Authority

	mu    sync.Mutex
	given []string // scopes, as granted
	kinds []string // how was asked: anonymous, password, refresh
}

// refreshToken is what the server gives for offline_token=true.
const refreshToken = "keep-me"

// NewTokens starts a token server, which ends with the test.
func NewTokens(t testing.TB, ca *Authority) *Tokens {
	s := &Tokens{Issuer: "tests", Service: "registry of tests", ca: ca}
	s.Server = httptest.NewUnstartedServer(s)
	s.Server.TLS = ca.TLS(t)
	s.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Server.StartTLS()
	t.Cleanup(s.Server.Close)
	return s
}

// Realm is where tokens are to be had.
func (s *Tokens) Realm() string { return s.Server.URL + "/token" }

// Given lists the scopes that were granted, and how each was asked for.
func (s *Tokens) Given() (scopes, kinds []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.given), slices.Clone(s.kinds)
}

type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

func (s *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	kind := "anonymous"
	user, password, ok := r.BasicAuth()
	switch {
	case r.Method == http.MethodPost && r.Form.Get("grant_type") == "refresh_token" && r.Form.Get("refresh_token") == refreshToken:
		kind, user = "refresh", "tester"
	case ok && user == "tester" && password == "secret":
		kind = "password"
	case ok || r.Method == http.MethodPost:
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Form.Get("service") != s.Service {
		http.Error(w, "unknown service", http.StatusBadRequest)
		return
	}
	var granted []access
	for _, scope := range r.Form["scope"] {
		for _, one := range strings.Fields(scope) {
			part := strings.Split(one, ":")
			if len(part) != 3 {
				http.Error(w, "bad scope", http.StatusBadRequest)
				return
			}
			actions := strings.Split(part[2], ",")
			if kind == "anonymous" {
				actions = slices.DeleteFunc(actions, func(a string) bool { return a != "pull" || !strings.HasPrefix(part[1], "public/") })
			}
			granted = append(granted, access{part[0], part[1], actions})
		}
	}
	s.mu.Lock()
	s.given = append(s.given, fmt.Sprint(granted))
	s.kinds = append(s.kinds, kind)
	s.mu.Unlock()
	answer := map[string]any{"token": s.sign(user, granted), "expires_in": int(s.lifetime().Seconds())}
	if r.Form.Get("offline_token") == "true" {
		answer["refresh_token"] = refreshToken
	}
	json.NewEncoder(w).Encode(answer)
}

func (s *Tokens) lifetime() time.Duration {
	if s.Lifetime != 0 {
		return s.Lifetime
	}
	return time.Minute
}

// sign makes a JWT that carries the authority's certificate.
func (s *Tokens) sign(user string, granted []access) string {
	now := time.Now()
	part := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	body := part(map[string]any{"typ": "JWT", "alg": "RS256", "x5c": []string{base64.StdEncoding.EncodeToString(s.ca.der)}}) + "." +
		part(map[string]any{
			"iss": s.Issuer, "aud": s.Service, "sub": user, "jti": rand.Text(), "access": granted,
			"iat": now.Unix(), "nbf": now.Add(-10 * time.Second).Unix(), "exp": now.Add(s.lifetime()).Unix(),
		})
	sum := sha256.Sum256([]byte(body))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.ca.key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return body + "." + base64.RawURLEncoding.EncodeToString(sig)
}
