package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"loper.run/image/archive"
	"loper.run/image/oci"
	"loper.run/image/reference"
)

// place is where an image is copied from or to.
type place struct {
	text string
	// form is that of an archive; "" is a registry, or the store when it has no
	// transport.
	form archive.Form
	path string // of an archive
	name string // in the archive, the store or at the registry
	here bool   // the store
}

// parsePlace reads a place as skopeo writes it; without a transport it is the store.
func parsePlace(text string) (place, error) {
	p := place{text: text}
	transport, rest, ok := strings.Cut(text, ":")
	switch {
	case ok && transport == "docker" && strings.HasPrefix(rest, "//"):
		p.name = rest[2:]
		return p, nil
	case ok && transport == "containers-storage":
		p.name, p.here = rest, true
		return p, nil
	case ok && transport == "dir":
		p.form, p.path = archive.DockerDir, rest
	case ok && transport == "oci":
		p.form = archive.OCIDir
	case ok && (transport == "oci-archive" || transport == "docker-archive"):
		p.form = archive.Form(transport)
	default:
		p.name, p.here = text, true
		return p, nil
	}
	if p.path == "" {
		p.path, p.name, _ = strings.Cut(rest, ":")
	}
	if p.path == "" {
		return p, fmt.Errorf("%.300s: it has no path", text)
	}
	return p, nil
}

// open opens the archive at a place.
func (p place) open(ctx context.Context, temp string) (*archive.Archive, error) {
	st, err := os.Stat(p.path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return archive.ReadDir(ctx, p.path)
	}
	f, err := os.Open(p.path)
	if err != nil {
		return nil, err
	}
	return archive.Read(ctx, f, temp)
}

// image finds the image of an archive that the place names, or the only one.
func (p place) image(a *archive.Archive) (archive.Image, error) {
	var names []string
	for _, img := range a.Images {
		tag := img.Target.Annotations["org.opencontainers.image.ref.name"] // in a layout often nothing but that
		if p.name == "" && len(a.Images) == 1 || p.name != "" && (tag == p.name || slices.ContainsFunc(img.Names, p.means)) {
			return img, nil
		}
		if names = append(names, img.Names...); len(img.Names) == 0 && tag != "" {
			names = append(names, tag)
		}
	}
	if p.name == "" {
		return archive.Image{}, fmt.Errorf("%.300s has several images: name one of %.300s", p.text, strings.Join(names, ", "))
	}
	return archive.Image{}, fmt.Errorf("%w: %.300s has %.300s", ErrNotFound, p.text, strings.Join(names, ", "))
}

// means reports whether a name in an archive is the one of the place: the same
// text, the same name, or the same tag.
func (p place) means(name string) bool {
	if name == p.name {
		return true
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return false
	}
	if ref = ref.WithDefaultTag(); ref.Tag == p.name {
		return true
	}
	wanted, err := reference.Parse(p.name)
	return err == nil && wanted.WithDefaultTag() == ref
}

// called is the name that an image gets in an archive: the place's own, whose
// tag alone may be given, or else that of where it came from.
func (p place) called(from string) ([]reference.Reference, error) {
	ref, err := reference.Parse(from)
	known := err == nil
	switch {
	case p.name == "" && known && ref.Digest.IsZero():
		return []reference.Reference{ref.WithDefaultTag()}, nil
	case p.name == "":
		return nil, nil
	case !strings.ContainsAny(p.name, "/:") && known && p.form != archive.DockerArchive:
		ref.Tag, ref.Digest = p.name, oci.Digest{}
		return []reference.Reference{ref}, nil
	}
	ref, err = reference.Parse(p.name)
	if err == nil && !ref.Digest.IsZero() {
		err = errors.New("a name in an archive has no digest")
	}
	return []reference.Reference{ref.WithDefaultTag()}, err
}
