package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"loper.run/image/reference"
)

// Types of identities.
const (
	matchExact             = "matchExact"
	matchRepoDigestOrExact = "matchRepoDigestOrExact"
	matchRepository        = "matchRepository"
	exactReference         = "exactReference"
	exactRepository        = "exactRepository"
	remapIdentity          = "remapIdentity"
)

// Identity says which image a signature must claim to be of.
type Identity struct {
	Type string
	// Name is the reference or repository of exactReference and exactRepository.
	Name string
	// Prefix of the image's name is replaced by SignedPrefix, for remapIdentity.
	Prefix, SignedPrefix string
}

func (id *Identity) parse(data []byte) error {
	var head struct{ Type string }
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("signedIdentity: %w", err)
	}
	*id = Identity{}
	fields := map[string]any{"type": &id.Type}
	switch head.Type {
	case matchExact, matchRepoDigestOrExact, matchRepository:
	case exactReference:
		fields["dockerReference"] = &id.Name
	case exactRepository:
		fields["dockerRepository"] = &id.Name
	case remapIdentity:
		fields["prefix"], fields["signedPrefix"] = &id.Prefix, &id.SignedPrefix
	default:
		return fmt.Errorf("signedIdentity: %.60q is no type of it", head.Type)
	}
	err := exact(data, fields)
	if err == nil {
		err = id.check()
	}
	if err != nil {
		return fmt.Errorf("signedIdentity: %w", err)
	}
	return nil
}

func (id *Identity) check() error {
	switch id.Type {
	case exactReference, exactRepository:
		ref, err := reference.Parse(id.Name)
		if err != nil {
			return err
		}
		if id.Type == exactReference && nameOnly(ref) {
			return fmt.Errorf("dockerReference %q has neither a tag nor a digest", id.Name)
		}
	case remapIdentity:
		return errors.Join(checkPrefix(id.Prefix), checkPrefix(id.SignedPrefix))
	}
	return nil
}

// checkPrefix wants a host, or a host and the beginning of a path.
func checkPrefix(s string) error {
	host, rest, found := strings.Cut(s, "/")
	if !found {
		rest = "x"
	}
	// A host alone may look like a path to the parser; with a port it never does.
	if !strings.ContainsAny(host, ".:") {
		host += ":1"
	}
	ref, err := reference.Parse(host + "/" + rest)
	if s == "" || err != nil || !nameOnly(ref) {
		return fmt.Errorf("%.300q is neither a host nor the beginning of a repository", s)
	}
	return nil
}

func nameOnly(r reference.Reference) bool { return r.Tag == "" && r.Digest.IsZero() }

// accepts tells whether a signature that claims to be of an image by this name
// is one of img. The signed name is taken as it stands: no tag is added to it.
func (id Identity) accepts(img Image, signed string) bool {
	ref, err := reference.Parse(signed)
	if err != nil {
		return false
	}
	switch id.Type {
	case exactReference:
		want, err := reference.Parse(id.Name)
		return err == nil && !nameOnly(ref) && ref == want
	case exactRepository:
		want, err := reference.Parse(id.Name)
		return err == nil && ref.Name() == want.Name()
	}
	// The others compare with the image's own name, which a file does not have.
	if img.Ref == (reference.Reference{}) || !hasName(img.Transport) {
		return false
	}
	want := img.Ref
	switch id.Type {
	case matchRepository:
		return ref.Name() == want.Name()
	case matchExact:
		return !nameOnly(ref) && !nameOnly(want) && ref == want
	case remapIdentity:
		if want, err = id.remap(want); err != nil {
			return false
		}
	}
	switch {
	case nameOnly(ref):
		return false
	case want.Tag != "":
		return ref == want
	}
	return !want.Digest.IsZero() && ref.Name() == want.Name()
}

// hasName tells whether a transport's images have a name that a signature can speak of.
func hasName(transport string) bool {
	switch transport {
	case "docker", "docker-archive", "docker-daemon", "atomic":
		return true
	}
	return false
}

// remap replaces the prefix of a name where it ends at a part of the name.
func (id Identity) remap(r reference.Reference) (reference.Reference, error) {
	rest, ok := strings.CutPrefix(r.Name(), id.Prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return r, nil
	}
	return reference.Parse(id.SignedPrefix + strings.TrimPrefix(r.String(), id.Prefix))
}
