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
	"slices"
	"strings"
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

	logins  sync.Mutex // one login at a time: the others use what it gave
	mu      sync.Mutex
	scheme  string // "" until the registry answered
	own     http.RoundTripper
	foreign http.RoundTripper
	auth    map[string]string // scopes -> Authorization header
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

// request is one question about a repository, or about the registry itself
// when path is empty.
type request struct {
	method  string // "" is GET
	path    string // repository, for the scope of its token
	what    string // below the repository, such as manifests/latest; without one below /v2/
	query   string // encoded
	accept  []string
	header  http.Header // further ones
	offset  int64       // first byte wanted
	end     int64       // the byte after the last one wanted; 0 is all
	actions string      // of the token's scope; "" is pull
	from    string      // another repository to read from, for a mount

	// at is where the registry sent us for this step of an upload, instead of
	// what and query. It may be on another host, which gets no credentials.
	at *url.URL
	// body gives the content anew for each try; size is its length, -1 when
	// unknown.
	body func() (io.ReadCloser, error)
	size int64
	// ok lists the statuses that are answers; without any they are 200 and 206.
	ok []int
}

// scopes is what a token has to be good for, one an element.
func (r *request) scopes() []string {
	if r.path == "" {
		return nil
	}
	actions := r.actions
	if actions == "" {
		actions = "pull"
	}
	scopes := []string{"repository:" + r.path + ":" + actions}
	if r.from != "" && r.from != r.path {
		scopes = append(scopes, "repository:"+r.from+":pull")
	}
	return scopes
}

// key is what a login is kept by.
func (r *request) key() string { return strings.Join(r.scopes(), " ") }

// String is the request in messages.
func (r *request) String() string {
	if r.path == "" {
		return r.what
	}
	return r.path + "/" + r.what
}

func (r *request) accepts(status int) bool {
	if r.ok == nil {
		return status == http.StatusOK || status == http.StatusPartialContent
	}
	return slices.Contains(r.ok, status)
}

// do sends a request, logging in when asked to, and returns an answer with one
// of the statuses that it accepts. Everything else is an error. Who calls it
// closes the body.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	key := r.key()
	used := c.authorization(key)
	resp, err := c.once(ctx, r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && !r.accepts(resp.StatusCode) {
		challenges := parseChallenges(resp.Header.Values("WWW-Authenticate"))
		origin := sameOrigin(resp.Request.URL, c.base())
		discard(resp)
		if !origin {
			// A host that a redirect led to has no claim on our credentials.
			return nil, &StatusError{Op: r.String(), Host: resp.Request.URL.Host, Status: http.StatusUnauthorized}
		}
		if err := c.login(ctx, &r, used, challenges); err != nil {
			return nil, err
		}
		resp, err = c.once(ctx, r)
	}
	if err != nil {
		return nil, c.explain(err)
	}
	if r.accepts(resp.StatusCode) {
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
	req, err := c.build(ctx, base, &r)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if req.Body != nil {
		req.Body = watchUpload(req.Body, c.stall(), cancel)
	}
	client := http.Client{Transport: &bound{c: c, base: base, key: r.key()}, CheckRedirect: checkRedirect}
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

// build makes the HTTP request, without what belongs to the registry alone.
func (c *Client) build(ctx context.Context, base *url.URL, r *request) (*http.Request, error) {
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	to := base.String() + "/v2/" + r.String()
	if r.query != "" {
		to += "?" + r.query
	}
	if r.at != nil {
		if err := checkScheme(r.at, "upload"); err != nil {
			return nil, err
		}
		to = r.at.String()
	}
	req, err := http.NewRequestWithContext(ctx, method, to, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	for _, a := range r.accept {
		req.Header.Add("Accept", a)
	}
	if r.end > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.offset, r.end-1))
	} else if r.offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", r.offset))
	}
	if r.body != nil {
		if req.Body, err = r.body(); err != nil {
			return nil, &localError{err}
		}
		req.ContentLength, req.GetBody = r.size, r.body
	}
	return req, nil
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
	key  string // of the login
}

func (b *bound) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Del("Referer") // may hold a signed address
	req.Header.Set("User-Agent", b.c.userAgent())
	if !sameOrigin(req.URL, b.base) {
		req.Header.Del("Authorization")
		return b.c.foreign.RoundTrip(req)
	}
	if authorization := b.c.authorization(b.key); authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return b.c.own.RoundTrip(req)
}

// authorization is the header that a login gave for those scopes, or "".
func (c *Client) authorization(key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.auth[key]
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
	return checkScheme(req.URL, "redirect")
}

// checkScheme refuses where a registry must not send us.
func checkScheme(u *url.URL, what string) error {
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s to %s is refused: only HTTPS is followed", what, origin(u))
}

// origin is what of a URL may be shown: its query may hold a signature.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// discard reads a little of a body that nobody wants, so that its connection
// can be used again.
func discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 16<<10)
	resp.Body.Close()
}
