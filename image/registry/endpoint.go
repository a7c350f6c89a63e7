package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// endpoint is one host that holds images: a registry or a mirror. Credentials
// and client certificates are its own: they are attached below the redirects,
// to requests for its own scheme, host and port.
type endpoint struct {
	c        *Client
	domain   string // as in names and in files with credentials
	host     string // where its API is
	insecure bool   // named so: plain HTTP and unknown certificates will do
	certs    certificates
	own      *schemes
	foreign  *strangers // hosts that it leads to

	logins  sync.Mutex // one login at a time: the others use what it gave
	mu      sync.Mutex
	scheme  string             // "" until it answered
	auth    map[string]session // by scopes
	reached bool
}

// hubHost is where the API of Docker Hub is.
const hubHost = "registry-1.docker.io"

// hostOfDomain is where the API of a registry is.
func hostOfDomain(domain string) string {
	if domain == "docker.io" {
		return hubHost
	}
	return domain
}

func newEndpoint(c *Client, domain string, insecure bool) (*endpoint, error) {
	e := &endpoint{c: c, domain: domain, host: hostOfDomain(domain), insecure: insecure, auth: make(map[string]session)}
	var err error
	if e.certs, err = loadCertificates(certificateDirs(e.host, c.CertDir)); err != nil {
		return nil, fmt.Errorf("certificates of registry %s: %w", domain, err)
	}
	e.own = newSchemes(e.certs.config(insecure), insecure)
	e.foreign = &strangers{e: e}
	return e, nil
}

func (e *endpoint) close() {
	e.own.CloseIdleConnections()
	e.foreign.CloseIdleConnections()
}

// do sends a request, logging in when asked to, and returns an answer with one
// of the statuses that it accepts. Everything else is an error.
func (e *endpoint) do(ctx context.Context, r request) (*http.Response, error) {
	key := r.key()
	used := e.authorization(key)
	resp, err := e.once(ctx, r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && !r.accepts(resp.StatusCode) {
		challenges := parseChallenges(resp.Header.Values("WWW-Authenticate"))
		origin := sameOrigin(resp.Request.URL, e.base())
		discard(resp)
		if !origin {
			// A host that a redirect led to has no claim on our credentials.
			return nil, &StatusError{Op: r.String(), Host: resp.Request.URL.Host, Status: http.StatusUnauthorized}
		}
		if err := e.login(ctx, &r, used, challenges); err != nil {
			return nil, err
		}
		resp, err = e.once(ctx, r)
	}
	if err != nil {
		return nil, e.explain(err)
	}
	if r.accepts(resp.StatusCode) {
		return resp, nil
	}
	return nil, e.statusError(r, resp)
}

// once sends a request over HTTPS, and over plain HTTP when the registry is on
// loopback or named insecure and turns out not to speak TLS.
func (e *endpoint) once(ctx context.Context, r request) (*http.Response, error) {
	base := e.base()
	resp, err := e.send(ctx, base, r)
	if err == nil || base.Scheme != "https" || !e.mayBePlain() || !notTLS(err) || r.at != nil {
		return resp, err
	}
	plain := &url.URL{Scheme: "http", Host: base.Host}
	resp, plainErr := e.send(ctx, plain, r)
	if plainErr != nil && !speaksHTTP(err) {
		return nil, err
	}
	e.mu.Lock()
	e.scheme = "http"
	e.mu.Unlock()
	return resp, plainErr
}

func (e *endpoint) mayBePlain() bool {
	return e.insecure || isLoopback(e.base().Hostname())
}

func (e *endpoint) base() *url.URL {
	e.mu.Lock()
	defer e.mu.Unlock()
	scheme := e.scheme
	if scheme == "" {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: e.host}
}

func (e *endpoint) send(ctx context.Context, base *url.URL, r request) (*http.Response, error) {
	if r.at != nil {
		if err := e.checkScheme(r.at, "upload"); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := r.build(ctx, base)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if req.Body != nil {
		req.Body = watchUpload(req.Body, e.c.stall(), cancel)
	}
	client := http.Client{Transport: &bound{e: e, base: base, key: r.key()}, CheckRedirect: e.checkRedirect}
	resp, err := client.Do(req)
	if err != nil {
		cancel(nil)
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return nil, err
	}
	e.mu.Lock()
	e.reached = true
	e.mu.Unlock()
	e.c.warnings(resp)
	resp.Body = watch(resp.Body, e.c.stall(), cancel)
	return resp, nil
}

// authorization is the header that a login gave for those scopes, or "".
func (e *endpoint) authorization(key string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.auth[key].header
}

// session is what a login gave.
type session struct {
	header    string // Authorization
	anonymous bool   // there was nothing to log in with
}

// bound adds what belongs to the registry to requests for its own origin only.
type bound struct {
	e    *endpoint
	base *url.URL
	key  string // of the login
}

func (b *bound) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Del("Referer") // may hold a signed address
	req.Header.Set("User-Agent", b.e.c.userAgent())
	if !sameOrigin(req.URL, b.base) {
		req.Header.Del("Authorization")
		return b.e.foreign.RoundTrip(req)
	}
	if authorization := b.e.authorization(b.key); authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return b.e.own.RoundTrip(req)
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && a.Host == b.Host
}

func (e *endpoint) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > 5 {
		return errors.New("too many redirects")
	}
	return e.checkScheme(req.URL, "redirect")
}

// checkScheme refuses where a registry must not send us.
func (e *endpoint) checkScheme(u *url.URL, what string) error {
	if u.Scheme == "https" || u.Scheme == "http" && (isLoopback(u.Hostname()) || e.lenient(u.Host)) {
		return nil
	}
	return fmt.Errorf("%s to %s is refused: only HTTPS is followed", what, origin(u))
}

// lenient reports whether a host that the registry leads to may be reached
// without TLS: it is itself, or is named insecure too.
func (e *endpoint) lenient(host string) bool {
	if e.insecure && host == e.host {
		return true
	}
	table := e.c.conf.Find(host)
	return table != nil && table.Insecure && !strings.Contains(table.Prefix, "/")
}

// origin is what of a URL may be shown: its query may hold a signature.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// discard reads a little of a body that nobody wants, so that its connection
// can be used again.
func discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 16<<10)
	resp.Body.Close()
}
