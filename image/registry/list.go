package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"loper.run/image/oci"
)

const (
	maxPages = 1000
	maxTags  = 100_000
)

// Tags lists the tags of a repository, in the registry's order (distribution
// specification, "Listing Tags").
func (c *Client) Tags(ctx context.Context, path string) ([]string, error) {
	var tags []string
	err := c.pages(ctx, request{path: path, what: "tags/list"}, func(_ http.Header, body []byte) error {
		var page struct {
			Tags []string `json:"tags"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("registry %s: decode the tags of %s: %w", c.domain, path, err)
		}
		for _, t := range page.Tags {
			if len(t) > 128 || clean(t) != t {
				return fmt.Errorf("registry %s: %s has a tag %.140q, which is none", c.domain, path, t)
			}
		}
		if tags = append(tags, page.Tags...); len(tags) > maxTags {
			return fmt.Errorf("registry %s: %s has more than %d tags", c.domain, path, maxTags)
		}
		return nil
	})
	return tags, err
}

// pages calls do with each page of an answer that the registry gives in parts.
func (c *Client) pages(ctx context.Context, r request, do func(header http.Header, body []byte) error) error {
	for range maxPages {
		var header http.Header
		var body []byte
		var next string
		err := c.retry(ctx, func() (bool, error) {
			resp, err := c.do(ctx, r)
			if err != nil {
				return false, err
			}
			defer resp.Body.Close()
			header = resp.Header
			if next, err = nextPage(resp, r.what); err != nil {
				return false, fmt.Errorf("registry %s: the next page of %s: %w", c.domain, r.String(), err)
			}
			body, err = readBounded(resp, oci.MaxManifest)
			return false, err
		})
		if err != nil {
			return err
		}
		if err := do(header, body); err != nil || next == "" {
			return err
		}
		r.query = next
	}
	return fmt.Errorf("registry %s: %s has more than %d pages", c.domain, r.String(), maxPages)
}

// nextPage reads the Link header (RFC 8288) for the query that gives the page
// that follows; "" when there is none.
func nextPage(resp *http.Response, what string) (query string, err error) {
	for _, h := range resp.Header.Values("Link") {
		target, params, ok := strings.Cut(strings.TrimSpace(h), ">")
		if !ok || !strings.HasPrefix(target, "<") {
			continue
		}
		for p := range strings.SplitSeq(params, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
			if !strings.EqualFold(name, "rel") || !strings.EqualFold(strings.Trim(value, `", `), "next") {
				continue
			}
			next, err := resp.Request.URL.Parse(target[1:])
			if err != nil {
				return "", err
			}
			if next.Host != resp.Request.URL.Host || !strings.HasSuffix(next.Path, "/"+what) {
				return "", fmt.Errorf("it is elsewhere, at %s", origin(next))
			}
			return next.RawQuery, nil
		}
	}
	return "", nil
}
