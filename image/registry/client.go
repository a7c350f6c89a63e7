// Package registry speaks the OCI distribution specification with the
// registries that hold images.
//
// A Client is for the images that begin with one registry's name. Where they
// really are, and by which mirrors, registries.conf says. Credentials and client
// certificates belong to one endpoint: they are attached below the redirects,
// to requests for its own scheme, host and port, so that nothing can carry them
// elsewhere.
package registry

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"loper.run/image/oci"
	"loper.run/image/registry/conf"
)

// Client talks to one registry and its mirrors. Its methods may be called at the
// same time; its fields are set before.
type Client struct {
	// UserAgent is sent with each request; "" sends "loper".
	UserAgent string
	// Credentials looks up what to log in with; nil is anonymous. The domain is
	// the endpoint's, which for a mirror isn't the one in the image's name.
	Credentials func(domain, path string) (Credential, error)
	// Stall is how long a connection may be silent; 0 is a minute.
	Stall time.Duration
	// Tries is how often a request is sent that fails by bad luck; 0 is 5 times.
	Tries int
	// Backoff is the pause before the first retry, doubled for each further
	// one; 0 is a quarter of a second.
	Backoff time.Duration
	// Warn is called with each warning of a registry, once; nil drops them.
	Warn func(text string)
	// Insecure takes the registry as named insecure, whatever registries.conf says.
	Insecure bool
	// CertDir has certificates in place of certs.d's; "" is none.
	CertDir string

	domain string // as in image names
	conf   *conf.Config

	mu        sync.Mutex
	endpoints map[endpointKey]*endpoint
	chains    map[string]*chain    // by repository
	served    map[string][]*source // by "blobs/" and digest
	warned    map[string]bool

	// noSingle is set once the registry didn't take a blob in one request.
	noSingle atomic.Bool
}

// New returns a client for the registry that image names call domain. It reads
// registries.conf, and nothing else before the first request.
func New(domain string) (*Client, error) {
	config, err := conf.Load(conf.DefaultPaths())
	if err != nil {
		return nil, err
	}
	c := (&Client{conf: config}).fields()
	c.domain = domain
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.endpoints {
		e.close()
	}
}

// do asks each source of a repository in turn until one answers with a status
// that the request accepts. Who calls it closes the body.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	sources, err := c.sources(&r)
	if err != nil {
		return nil, err
	}
	var failed sourcesError
	for _, s := range sources {
		resp, err := s.do(ctx, r)
		if err == nil {
			c.answered(s, &r)
			return resp, nil
		}
		failed.add(s, err)
		if ctx.Err() != nil {
			return nil, err
		}
		c.failed(s, &r, err)
	}
	return nil, failed.single()
}

// Distrust is told that a blob's content was not what its digest says. Mirrors
// that it came from are not asked again; it reports whether there were any, so
// that another try may give the right content.
func (c *Client) Distrust(d oci.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := "blobs/" + d.String()
	dropped := false
	for _, s := range c.served[what] {
		dropped = s.drop() || dropped
	}
	delete(c.served, what)
	return dropped
}

func (c *Client) stall() time.Duration {
	if c.Stall > 0 {
		return c.Stall
	}
	return time.Minute
}

func (c *Client) userAgent() string {
	if c.UserAgent != "" {
		return c.UserAgent
	}
	return "loper"
}
