package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"loper.run/image/oci"
)

// writing is what a token for changing a repository is good for.
const writing = "pull,push"

// PutManifest stores a manifest or an index under its digest, and under tags
// when there are any. What it refers to must be there, but its subject may come
// later. Where the registry keeps no list of a subject's referrers by itself,
// that is written too (distribution specification, "Pushing Manifests" and
// "Pushing Manifests with Subject").
func (c *Client) PutManifest(ctx context.Context, path string, body []byte, mediaType string, digest oci.Digest, tags ...string) error {
	put := func(what, query string) (http.Header, error) {
		var header http.Header
		err := c.retry(ctx, func() (bool, error) {
			resp, err := c.do(ctx, request{
				method: http.MethodPut, path: path, what: "manifests/" + what, query: query, actions: writing,
				header: http.Header{"Content-Type": {mediaType}}, ok: []int{201, 200, 202, 204},
				size: int64(len(body)), body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
			})
			if err != nil {
				return false, err
			}
			header = resp.Header
			discard(resp)
			return false, nil
		})
		if err == nil {
			err = c.checkStored(path, digest, header)
		}
		return header, err
	}
	header, err := c.putTagged(put, digest, tags)
	if err != nil {
		return err
	}
	doc, err := oci.ParseDocument(body, mediaType)
	if err != nil || doc.Subject() == nil || header.Get("OCI-Subject") != "" {
		return nil // no referrer, or the registry lists it
	}
	return c.addReferrer(ctx, path, *doc.Subject(), doc.AsReferrer(digest, int64(len(body))))
}

// putTagged stores under all tags, with one request where the registry does
// that. Its header is that of the first answer.
func (c *Client) putTagged(put func(what, query string) (http.Header, error), digest oci.Digest, tags []string) (http.Header, error) {
	switch len(tags) {
	case 0:
		return put(digest.String(), "")
	case 1:
		return put(tags[0], "")
	}
	first, err := put(digest.String(), url.Values{"tag": tags}.Encode())
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusBadRequest {
		first, err = put(digest.String(), "") // a registry that minds what it doesn't know
	}
	if err != nil {
		return nil, err
	}
	var taken []string
	for _, h := range first.Values("OCI-Tag") {
		for t := range strings.SplitSeq(h, ",") {
			taken = append(taken, strings.TrimSpace(t))
		}
	}
	for _, tag := range tags {
		if slices.Contains(taken, tag) {
			continue
		}
		if _, err := put(tag, ""); err != nil {
			return nil, err
		}
	}
	return first, nil
}

// checkStored compares what the registry says that it stored with what was sent.
func (c *Client) checkStored(path string, want oci.Digest, header http.Header) error {
	got, err := oci.Parse(header.Get("Docker-Content-Digest"))
	if err != nil || got.Algorithm() != want.Algorithm() || got == want {
		return nil
	}
	return fmt.Errorf("registry %s stored the manifest of %s as %s, though %s was sent: do not trust what it has", c.domain, path, got, want)
}

// HasManifest asks whether a repository has a manifest or index.
func (c *Client) HasManifest(ctx context.Context, path string, digest oci.Digest) (found bool, err error) {
	err = c.retry(ctx, func() (bool, error) {
		resp, err := c.do(ctx, request{method: http.MethodHead, path: path, what: "manifests/" + digest.String(), accept: accepted, actions: writing, ok: []int{200, 404}})
		if err != nil {
			return false, err
		}
		resp.Body.Close()
		found = resp.StatusCode == http.StatusOK
		return false, nil
	})
	return found, err
}

// DeleteManifest deletes a manifest by its digest, or only a tag. A manifest
// that has a subject leaves the list of its referrers.
func (c *Client) DeleteManifest(ctx context.Context, path, reference string) error {
	var subject *oci.Descriptor
	digest, err := oci.Parse(reference)
	if err == nil {
		if body, mediaType, err := c.manifest(ctx, path, reference, writing); err == nil {
			if doc, err := oci.ParseDocument(body, mediaType); err == nil {
				subject = doc.Subject()
			}
		}
	}
	if err := c.delete(ctx, path, "manifests/"+reference); err != nil {
		return err
	}
	if subject == nil {
		return nil
	}
	return c.removeReferrer(ctx, path, *subject, digest)
}

// DeleteBlob deletes a blob from a repository.
func (c *Client) DeleteBlob(ctx context.Context, path string, digest oci.Digest) error {
	return c.delete(ctx, path, "blobs/"+digest.String())
}

func (c *Client) delete(ctx context.Context, path, what string) error {
	return c.retry(ctx, func() (bool, error) {
		resp, err := c.do(ctx, request{method: http.MethodDelete, path: path, what: what, actions: "pull,push,delete", ok: []int{202, 200, 204}})
		if err != nil {
			return false, err
		}
		discard(resp)
		return false, nil
	})
}

// manifest fetches what a tag or digest stands for as it is: with actions that
// write from the registry itself, as no mirror may be up to date.
func (c *Client) manifest(ctx context.Context, path, reference, actions string) (body []byte, mediaType string, err error) {
	err = c.retry(ctx, func() (bool, error) {
		resp, err := c.do(ctx, request{path: path, what: "manifests/" + reference, accept: accepted, actions: actions})
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		mediaType = resp.Header.Get("Content-Type")
		body, err = readBounded(resp, oci.MaxManifest)
		return false, err
	})
	return body, mediaType, err
}
