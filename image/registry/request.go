package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// request is one question about a repository, or about the registry itself
// when path is empty.
type request struct {
	method  string // "" is GET
	path    string // repository, for the scope of its token
	what    string // below the repository, such as manifests/latest; without one below /v2/, or whole
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
	switch {
	case r.what == "_catalog":
		return []string{"registry:catalog:*"}
	case r.path == "":
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

// reads reports whether the request only reads, so that a mirror may answer it.
func (r *request) reads() bool {
	return r.actions == "" && r.at == nil && (r.method == "" || r.method == http.MethodGet || r.method == http.MethodHead)
}

func (r *request) accepts(status int) bool {
	if r.ok == nil {
		return status == http.StatusOK || status == http.StatusPartialContent
	}
	return slices.Contains(r.ok, status)
}

// build makes the HTTP request, without what belongs to the registry alone.
func (r *request) build(ctx context.Context, base *url.URL) (*http.Request, error) {
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	to := base.String() + "/v2/" + r.String()
	if strings.HasPrefix(r.what, "/") {
		to = base.String() + r.what
	}
	if r.query != "" {
		to += "?" + r.query
	}
	if r.at != nil {
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
