package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"loper.run/image/oci"
)

// What a signature says it is.
const (
	simpleType    = "atomic container signature"          // containers-signature(5)
	cosignType    = "cosign container image signature"    // the same in cosign's words
	cosignPredict = "https://sigstore.dev/cosign/sign/v1" // the predicate of a bundle that signs an image
)

// claims are what a verified signature says: that whoever made it calls the
// manifest of that digest by that name.
type claims struct {
	Digests   []oci.Digest
	Reference string // "" in a bundle, which has only digests
}

// covers tells whether the claims are about one of the digests.
func (c claims) covers(digests []oci.Digest) error {
	for _, have := range c.Digests {
		for _, want := range digests {
			if have == want && !have.IsZero() {
				return nil
			}
		}
	}
	if len(c.Digests) == 0 {
		return errors.New("it speaks of no digest")
	}
	return fmt.Errorf("it is of another image, %s", c.Digests[0])
}

// parsePayload reads a payload of simple signing. Its fields are exactly those
// of the format, so that no other document can be taken for one.
func parsePayload(data []byte, kind string) (c claims, err error) {
	var critical, optional, image, identity json.RawMessage
	var t, digest string
	if err := exact(data, map[string]any{"critical": &critical, "optional": &optional}); err != nil {
		return c, fmt.Errorf("payload: %w", err)
	}
	if !(kind == cosignType && bytes.Equal(optional, []byte("null"))) {
		if err := checkOptional(optional); err != nil {
			return c, fmt.Errorf("payload: optional: %w", err)
		}
	}
	if err := exact(critical, map[string]any{"type": &t, "image": &image, "identity": &identity}); err != nil {
		return c, fmt.Errorf("payload: critical: %w", err)
	}
	if t != kind {
		return c, fmt.Errorf("payload: critical.type is %.60q, not %q", t, kind)
	}
	if err := exact(image, map[string]any{"docker-manifest-digest": &digest}); err != nil {
		return c, fmt.Errorf("payload: critical.image: %w", err)
	}
	d, err := oci.Parse(digest)
	if err != nil {
		return c, fmt.Errorf("payload: critical.image: %w", err)
	}
	c.Digests = []oci.Digest{d}
	if err := exact(identity, map[string]any{"docker-reference": &c.Reference}); err != nil {
		return c, fmt.Errorf("payload: critical.identity: %w", err)
	}
	return c, nil
}

// checkOptional lets any field pass, each once, but a creator is a text and a
// timestamp a whole number.
func checkOptional(data []byte) error {
	var creator string
	var timestamp float64
	err := object(data, func(key string) any {
		switch key {
		case "creator":
			return &creator
		case "timestamp":
			return &timestamp
		}
		return new(json.RawMessage)
	})
	if err == nil && timestamp != float64(int64(timestamp)) {
		return errors.New("timestamp is no whole number")
	}
	return err
}

// parseStatement reads the in-toto statement of a bundle. Only one that signs
// an image counts: the same key may attest to other things about images that
// it would never vouch for.
func parseStatement(data []byte) (c claims, err error) {
	var kind, predicate string
	var subjects []json.RawMessage
	err = object(data, func(key string) any {
		switch key {
		case "_type":
			return &kind
		case "predicateType":
			return &predicate
		case "subject":
			return &subjects
		}
		return new(json.RawMessage)
	})
	switch {
	case err != nil:
		return c, fmt.Errorf("statement: %w", err)
	case kind != "https://in-toto.io/Statement/v1" && kind != "https://in-toto.io/Statement/v0.1":
		return c, fmt.Errorf("statement: type %.60q is unknown", kind)
	case predicate != cosignPredict:
		return c, fmt.Errorf("statement: it is of the type %.100q, which does not sign an image", predicate)
	case len(subjects) > 100:
		return c, fmt.Errorf("statement: %d subjects", len(subjects))
	}
	for _, raw := range subjects {
		digests := map[string]string{}
		err := object(raw, func(key string) any {
			if key == "digest" {
				return &digests
			}
			return new(json.RawMessage)
		})
		if err != nil {
			return c, fmt.Errorf("statement: subject: %w", err)
		}
		for algorithm, sum := range digests {
			if d, err := oci.Parse(algorithm + ":" + sum); err == nil {
				c.Digests = append(c.Digests, d)
			}
		}
	}
	return c, nil
}
