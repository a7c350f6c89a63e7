package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"loper.run/image/oci"
	"loper.run/image/registry/conf"
)

// Found is one repository that a search gave.
type Found struct {
	Name        string // with the registry, but for Docker Hub's
	Description string
	Stars       int
	Official    bool
	Automated   bool
}

// searchHost is where Docker Hub is searched.
const searchHost = "index.docker.io"

// Search lists at most limit repositories that fit term: by the registry's own
// search where it has one (of the first version of the API, which Docker Hub and
// others still have), else those of its catalog whose names have the term in
// them.
func (c *Client) Search(ctx context.Context, term string, limit int) ([]Found, error) {
	if _, _, err := c.table(""); err != nil {
		return nil, err
	}
	if c.domain == "docker.io" {
		hub := c.fields()
		hub.domain = searchHost
		defer hub.Close()
		return hub.searchPages(ctx, term, limit, "")
	}
	var status *StatusError
	if term != "" {
		found, err := c.searchPages(ctx, term, limit, c.domain+"/")
		if err == nil || !errors.As(err, &status) {
			return found, err
		}
	}
	return c.catalog(ctx, term, limit)
}

// fields is a client with the same settings and no connections.
func (c *Client) fields() *Client {
	return &Client{
		UserAgent: c.UserAgent, Stall: c.Stall, Backoff: c.Backoff, Warn: c.Warn, Insecure: c.Insecure, CertDir: c.CertDir, conf: c.conf,
		endpoints: make(map[endpointKey]*endpoint), chains: make(map[string]*chain), served: make(map[string][]*source), warned: make(map[string]bool),
	}
}

const searchPage = 100

// searchPages asks for one page after the other until there are enough.
func (c *Client) searchPages(ctx context.Context, term string, limit int, prefix string) ([]Found, error) {
	var all []Found
	for page := 1; len(all) < limit && page <= maxPages; page++ {
		query := url.Values{"q": {term}, "n": {strconv.Itoa(min(limit, searchPage))}, "page": {strconv.Itoa(page)}}
		var answer struct {
			Pages   int `json:"num_pages"`
			Results []struct {
				Name        string `json:"name"`
				Description string `json:"description"`
				Stars       int    `json:"star_count"`
				Official    bool   `json:"is_official"`
				Automated   bool   `json:"is_automated"`
			} `json:"results"`
		}
		if err := c.document(ctx, request{what: "/v1/search", query: query.Encode()}, &answer); err != nil {
			return nil, err
		}
		for _, r := range answer.Results {
			if len(all) < limit {
				all = append(all, Found{prefix + clean(r.Name), clean(r.Description), r.Stars, r.Official, r.Automated})
			}
		}
		if len(answer.Results) == 0 || page >= answer.Pages {
			break
		}
	}
	return all, nil
}

// document fetches one JSON document.
func (c *Client) document(ctx context.Context, r request, v any) error {
	return c.retry(ctx, func() (bool, error) {
		resp, err := c.do(ctx, r)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		body, err := readBounded(resp, oci.MaxManifest)
		if err != nil {
			return false, err
		}
		if err := json.Unmarshal(body, v); err != nil {
			return false, fmt.Errorf("registry %s: decode its answer to %s: %w", c.domain, r.what, err)
		}
		return false, nil
	})
}

var errEnough = errors.New("enough")

// catalog goes through the names of all repositories.
func (c *Client) catalog(ctx context.Context, term string, limit int) ([]Found, error) {
	var all []Found
	err := c.pages(ctx, request{what: "_catalog", query: "n=1000"}, func(_ http.Header, body []byte) error {
		var page struct {
			Repositories []string `json:"repositories"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("registry %s: decode its catalog: %w", c.domain, err)
		}
		for _, name := range page.Repositories {
			if !strings.Contains(name, term) {
				continue
			}
			if all = append(all, Found{Name: c.domain + "/" + clean(name)}); len(all) == limit {
				return errEnough
			}
		}
		return nil
	})
	if err != nil && err != errEnough {
		return nil, err
	}
	return all, nil
}

// SearchPlaces parts a search term into the registries to ask and the term for
// them: a term that begins with a registry is for that one alone, others for
// those that registries.conf lists, or else for Docker Hub.
func SearchPlaces(term string) (domains []string, rest string, err error) {
	if domain, rest, ok := strings.Cut(term, "/"); ok && !conf.IsShort(term) {
		domain, err := Server(domain)
		return []string{domain}, rest, err
	}
	config, err := conf.Load(conf.DefaultPaths())
	if err != nil {
		return nil, "", err
	}
	if len(config.Search) == 0 {
		return []string{"docker.io"}, term, nil
	}
	return config.Search, term, nil
}
