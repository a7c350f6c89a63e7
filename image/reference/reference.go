// Package reference reads the names of images in Docker's grammar:
// [domain/]path[:tag][@digest], with Docker Hub as the default domain.
//
// The parser is a hand-written walk over the bytes: compiled expressions would
// cost every start of the program more than the rest of a command.
package reference

import (
	"errors"
	"fmt"
	"strings"

	"loper.run/image/oci"
)

const (
	defaultDomain = "docker.io"
	legacyDomain  = "index.docker.io"
	official      = "library/"
	defaultTag    = "latest"
	maxPath       = 255
	maxTag        = 128
)

// Reference is a parsed, fully qualified name. It is comparable.
type Reference struct {
	Domain string // host[:port], such as docker.io or localhost:5000
	Path   string // repository within the domain, such as library/busybox
	Tag    string // "" when the name had none
	Digest oci.Digest
}

// Parse reads a name and fills in Docker Hub's defaults. It adds no tag.
func Parse(s string) (Reference, error) {
	r, err := parse(s)
	if err != nil {
		return Reference{}, fmt.Errorf("invalid image name %.300q: %w", s, err)
	}
	return r, nil
}

func parse(s string) (Reference, error) {
	if s == "" {
		return Reference{}, errors.New("it is empty")
	}
	if len(s) == 64 && isHex(s) {
		return Reference{}, errors.New("64 hexadecimal digits are an image's id, not a name")
	}
	domain, rest := split(s)
	if !validDomain(domain) {
		return Reference{}, fmt.Errorf("%q is no registry's host", domain)
	}
	r := Reference{Domain: domain}
	rest, digest, hasDigest := strings.Cut(rest, "@")
	path, tag, hasTag := strings.Cut(rest, ":")
	r.Path = path
	if err := checkPath(path); err != nil {
		return Reference{}, err
	}
	if hasTag {
		if !validTag(tag) {
			return Reference{}, fmt.Errorf("%q is no tag", tag)
		}
		r.Tag = tag
	}
	if hasDigest {
		d, err := oci.Parse(digest)
		if err != nil {
			return Reference{}, err
		}
		r.Digest = d
	}
	return r, nil
}

// split parts a name into domain and rest. The first component is a domain when
// it could not be a path: it has a dot, a colon, a capital, or is "localhost".
func split(s string) (domain, rest string) {
	domain, rest, found := strings.Cut(s, "/")
	switch {
	case !found:
		return defaultDomain, official + s
	case domain == legacyDomain:
		domain = defaultDomain
	case domain == "localhost", strings.ContainsAny(domain, ".:"), hasUpper(domain):
	default:
		domain, rest = defaultDomain, s
	}
	if domain == defaultDomain && !strings.Contains(rest, "/") {
		rest = official + rest
	}
	return domain, rest
}

// WithDefaultTag adds the tag "latest" when r has neither tag nor digest.
func (r Reference) WithDefaultTag() Reference {
	if r.Tag == "" && r.Digest.IsZero() {
		r.Tag = defaultTag
	}
	return r
}

// Name returns domain/path.
func (r Reference) Name() string { return r.Domain + "/" + r.Path }

// String returns the full name with tag and digest.
func (r Reference) String() string { return r.Name() + r.suffix() }

// Familiar returns the name as people write it: Docker Hub's domain and its
// "library/" are left out.
func (r Reference) Familiar() string { return r.FamiliarName() + r.suffix() }

// FamiliarName is Familiar without tag and digest.
func (r Reference) FamiliarName() string {
	if r.Domain != defaultDomain {
		return r.Name()
	}
	if short, ok := strings.CutPrefix(r.Path, official); ok && !strings.Contains(short, "/") {
		return short
	}
	return r.Path
}

func (r Reference) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if !r.Digest.IsZero() {
		s += "@" + r.Digest.String()
	}
	return s
}
