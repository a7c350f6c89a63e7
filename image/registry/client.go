// Package registry reads images from registries that speak the OCI
// distribution specification.
//
// A Client belongs to one registry. Credentials and client certificates are
// attached below the redirects, to requests for that registry's own scheme,
// host and port, so that no redirect can carry them elsewhere.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Client talks to one registry. Its methods may be called at the same time.
type Client struct {
	// UserAgent is sent with each request; "" sends "loper".
	UserAgent string
	// Credentials looks up what to log in with; nil is anonymous.
	Credentials func(domain, path string) (Credential, error)
	// Stall is how long a connection may be silent; 0 is a minute.
	Stall time.Duration
	// Backoff is the pause before the first retry, doubled for each further
	// one; 0 is a quarter of a second.
	Backoff time.Duration

	domain string // as in image names
	host   string // where its API is

	mu      sync.Mutex
	scheme  string // "" until the registry answered
	own     http.RoundTripper
	foreign http.RoundTripper
	auth    map[string]string // path of a repository -> Authorization header
	reached bool
}

// New returns a client for the registry that image names call domain. It does
// no input or output but reading the registry's certificates.
func New(domain string) (*Client, error) {
	c := &Client{domain: domain, host: domain, auth: make(map[string]string)}
	if domain == "docker.io" {
		c.host = "registry-1.docker.io"
	}
	own, err := ownTransport(c.host)
	if err != nil {
		return nil, err
	}
	c.own, c.foreign = own, secureTransport(nil)
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	for _, t := range []http.RoundTripper{c.own, c.foreign} {
		if t, ok := t.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}

// request is one GET or HEAD of a repository's content.
type request struct {
	head   bool   // only the header is wanted
	path   string // repository, for the scope of its token
	url    string // below /v2/
	accept []string
	offset int64 // first byte wanted
}

// get sends a request, logging in when asked to, and returns an answer with
// status 200 or 206. Everything else is an error.
func (c *Client) get(ctx context.Context, r request) (*http.Response, error) {
	resp, err := c.once(ctx, r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		challenges := parseChallenges(resp.Header.Values("WWW-Authenticate"))
		origin := sameOrigin(resp.Request.URL, c.base())
		discard(resp)
		if !origin {
			// A host that a redirect led to has no claim on our credentials.
			return nil, &StatusError{Op: r.url, Host: resp.Request.URL.Host, Status: http.StatusUnauthorized}
		}
		if err := c.login(ctx, r.path, challenges); err != nil {
			return nil, err
		}
		resp, err = c.once(ctx, r)
	}
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	return nil, c.statusError(r, resp)
}

// once sends a request over HTTPS, and over plain HTTP when the registry is on
// loopback and turns out not to speak TLS.
func (c *Client) once(ctx context.Context, r request) (*http.Response, error) {
	base := c.base()
	resp, err := c.send(ctx, base, r)
	if err == nil || base.Scheme != "https" || !isLoopback(base.Hostname()) || !notTLS(err) {
		return resp, err
	}
	plain := &url.URL{Scheme: "http", Host: base.Host}
	resp, plainErr := c.send(ctx, plain, r)
	if plainErr != nil && !speaksHTTP(err) {
		return nil, err
	}
	c.mu.Lock()
	c.scheme = "http"
	c.mu.Unlock()
	return resp, plainErr
}

func (c *Client) base() *url.URL {
	c.mu.Lock()
	defer c.mu.Unlock()
	scheme := c.scheme
	if scheme == "" {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: c.host}
}

func (c *Client) send(ctx context.Context, base *url.URL, r request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	method := http.MethodGet
	if r.head {
		method = http.MethodHead
	}
	req, err := http.NewRequestWithContext(ctx, method, base.String()+"/v2/"+r.url, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	for _, a := range r.accept {
		req.Header.Add("Accept", a)
	}
	if r.offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", r.offset))
	}
	client := http.Client{Transport: &bound{c: c, base: base, path: r.path}, CheckRedirect: checkRedirect}
	resp, err := client.Do(req)
	if err != nil {
		cancel(nil)
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return nil, err
	}
	c.mu.Lock()
	c.reached = true
	c.mu.Unlock()
	resp.Body = watch(resp.Body, c.stall(), cancel)
	return resp, nil
}

func (c *Client) stall() time.Duration {
	if c.Stall > 0 {
		return c.Stall
	}
	return time.Minute
}

// bound adds what belongs to the registry to requests for its own origin only.
type bound struct {
	c    *Client
	base *url.URL
	path string
}

func (b *bound) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Del("Referer") // may hold a signed address
	req.Header.Set("User-Agent", b.c.userAgent())
	if !sameOrigin(req.URL, b.base) {
		req.Header.Del("Authorization")
		return b.c.foreign.RoundTrip(req)
	}
	b.c.mu.Lock()
	authorization := b.c.auth[b.path]
	b.c.mu.Unlock()
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return b.c.own.RoundTrip(req)
}

func (c *Client) userAgent() string {
	if c.UserAgent != "" {
		return c.UserAgent
	}
	return "loper"
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && a.Host == b.Host
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > 5 {
		return errors.New("too many redirects")
	}
	switch req.URL.Scheme {
	case "https":
		return nil
	case "http":
		if isLoopback(req.URL.Hostname()) {
			return nil
		}
	}
	return fmt.Errorf("redirect to %s is refused: only HTTPS is followed", origin(req.URL))
}

// origin is what of a URL may be shown: its query may hold a signature.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// discard reads a little of a body that nobody wants, so that its connection
// can be used again.
func discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 16<<10)
	resp.Body.Close()
}
