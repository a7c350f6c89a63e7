package registry

import (
	"context"
	"net/http"
	"net/url"
)

// maxURLs is how many places of a layer are tried.
const maxURLs = 5

// elsewhere asks for a layer that registries need not hold at the places that
// its descriptor names (descriptor.md, "urls"). They get no credentials: those
// on the registry's own host are not asked at all.
func (t *transfer) elsewhere(ctx context.Context, r request, notFound error) (*http.Response, error) {
	for i, text := range t.d.URLs {
		at, err := url.Parse(text)
		if i == maxURLs || err != nil || at.User != nil || at.Hostname() == (&url.URL{Host: hostOfDomain(t.c.domain)}).Hostname() {
			continue
		}
		r.at = at
		if resp, err := t.c.do(ctx, r); err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, notFound
}
