package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"loper.run/image/oci"
)

// Referrers lists the manifests whose subject is digest: signatures, bills of
// materials and the like; only those of an artifactType when that is not "". A
// registry that has no list of its own may have one under a tag (distribution
// specification, "Listing Referrers" and "Unavailable Referrers API"). None is
// no error.
func (c *Client) Referrers(ctx context.Context, path string, digest oci.Digest, artifactType string) ([]oci.Descriptor, error) {
	all, filtered, err := c.referrers(ctx, path, digest, artifactType, "")
	if errors.Is(err, errNoReferrers) {
		filtered = false
		all, err = c.referrersTag(ctx, path, digest, "")
	}
	if err != nil || artifactType == "" || filtered {
		return all, err
	}
	return slices.DeleteFunc(all, func(d oci.Descriptor) bool { return d.ArtifactType != artifactType }), nil
}

// errNoReferrers says that a registry knows no referrers API.
var errNoReferrers = errors.New("the registry has no referrers API")

// referrers asks the registry's own list. filtered tells that it left out other types.
func (c *Client) referrers(ctx context.Context, path string, digest oci.Digest, artifactType, actions string) (all []oci.Descriptor, filtered bool, err error) {
	r := request{path: path, what: "referrers/" + digest.String(), accept: []string{oci.TypeIndex}, actions: actions}
	if artifactType != "" {
		r.query = url.Values{"artifactType": {artifactType}}.Encode()
	}
	filtered = true
	err = c.pages(ctx, r, func(header http.Header, body []byte) error {
		if t, _, _ := mime.ParseMediaType(header.Get("Content-Type")); t != oci.TypeIndex {
			return errNoReferrers
		}
		doc, err := oci.ParseDocument(body, oci.TypeIndex)
		if err != nil {
			return fmt.Errorf("registry %s: referrers of %s: %w", c.domain, digest.Short(), err)
		}
		if all = append(all, doc.Index.Manifests...); len(all) > oci.MaxEntries {
			return fmt.Errorf("registry %s: %s has more than %d referrers", c.domain, digest.Short(), oci.MaxEntries)
		}
		if !strings.Contains(header.Get("OCI-Filters-Applied"), "artifactType") {
			filtered = false
		}
		return nil
	})
	var status *StatusError
	if errors.As(err, &status) {
		switch status.Status {
		case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusNotAcceptable:
			err = errNoReferrers
		}
	}
	return all, filtered, err
}

// referrersTagOf is the tag under which clients keep a subject's referrers
// where the registry doesn't.
func referrersTagOf(digest oci.Digest) string {
	return fmt.Sprintf("%s-%.64s", digest.Algorithm(), digest.Hex())
}

// referrersTag reads the list that clients keep. None is an empty list.
func (c *Client) referrersTag(ctx context.Context, path string, digest oci.Digest, actions string) ([]oci.Descriptor, error) {
	body, mediaType, err := c.manifest(ctx, path, referrersTagOf(digest), actions)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	doc, err := oci.ParseDocument(body, mediaType)
	if err != nil || doc.Index == nil {
		return nil, nil // a tag that only looks so
	}
	return doc.Index.Manifests, nil
}

// addReferrer adds a manifest to the list that clients keep of a subject's referrers.
func (c *Client) addReferrer(ctx context.Context, path string, subject, referrer oci.Descriptor) error {
	return c.changeReferrers(ctx, path, subject.Digest, func(all []oci.Descriptor) []oci.Descriptor {
		if slices.ContainsFunc(all, func(d oci.Descriptor) bool { return d.Digest == referrer.Digest }) {
			return all
		}
		return append(all, referrer)
	})
}

// removeReferrer takes a deleted manifest out of the list of its subject, where
// clients keep one.
func (c *Client) removeReferrer(ctx context.Context, path string, subject oci.Descriptor, digest oci.Digest) error {
	if _, _, err := c.referrers(ctx, path, subject.Digest, "", writing); !errors.Is(err, errNoReferrers) {
		return err
	}
	return c.changeReferrers(ctx, path, subject.Digest, func(all []oci.Descriptor) []oci.Descriptor {
		return slices.DeleteFunc(all, func(d oci.Descriptor) bool { return d.Digest == digest })
	})
}

// changeReferrers reads, changes and writes the list. Two clients may do that
// at once, so it is read again afterwards, until the change is in it.
func (c *Client) changeReferrers(ctx context.Context, path string, subject oci.Digest, change func([]oci.Descriptor) []oci.Descriptor) error {
	for range maxTries {
		all, err := c.referrersTag(ctx, path, subject, writing)
		if err != nil {
			return err
		}
		had := len(all)
		if all = change(all); len(all) == had {
			return nil
		}
		body, err := json.Marshal(oci.Index{SchemaVersion: 2, MediaType: oci.TypeIndex, Manifests: append([]oci.Descriptor{}, all...)})
		if err != nil {
			return err
		}
		if err := c.PutManifest(ctx, path, body, oci.TypeIndex, oci.FromBytes(body), referrersTagOf(subject)); err != nil {
			return fmt.Errorf("list of the referrers of %s: %w", subject.Short(), err)
		}
	}
	return fmt.Errorf("list of the referrers of %s in %s/%s: other clients change it all the time: try again", subject.Short(), c.domain, path)
}
