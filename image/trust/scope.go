package trust

import (
	"errors"
	"path"
	"strings"

	"loper.run/image/oci"
	"loper.run/image/reference"
)

// Image is what is to be decided about.
type Image struct {
	// Transport is how the image comes, by its name in a policy: "docker" is
	// a registry; docker-archive, oci, oci-archive and dir are files.
	Transport string
	// Ref is the image's name, with a tag or a digest. It is zero when the
	// image has none.
	Ref reference.Reference
	// Path is the absolute path of the file or directory, its links resolved,
	// for the transports that have one.
	Path string
	// Digests are the manifest that the name stands for and what was chosen
	// in it, each named by the one before and the last to be unpacked.
	Digests []oci.Digest
}

// String is the image as messages name it.
func (i Image) String() string {
	if i.Path != "" {
		return i.Transport + ":" + i.Path
	}
	return i.Ref.Familiar()
}

// Repository is the whole name of the image's repository, "" without one.
func (i Image) Repository() string {
	if i.Transport != "docker" {
		return ""
	}
	return i.Ref.Name()
}

// scopes lists the scopes of a policy that match the image, the most specific first.
func (i Image) scopes() []string {
	switch i.Transport {
	case "docker", "atomic":
		return append([]string{i.Ref.String()}, namespaces(i.Ref.Name())...)
	case "docker-daemon":
		return append([]string{i.Ref.String()}, namespaces(i.Ref.Name())...)
	case "oci", "oci-archive":
		image := i.Ref.Tag
		return append([]string{i.Path + ":" + image}, parents(i.Path)...)
	case "dir", "sif":
		return parents(i.Path)
	}
	return nil
}

// namespaces are the repository, what it lies in, and its host's domains with a
// star for what is below.
func namespaces(name string) (all []string) {
	for {
		all = append(all, name)
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			break
		}
		name = name[:i]
	}
	host, _, _ := strings.Cut(name, ":")
	for {
		_, rest, ok := strings.Cut(host, ".")
		if !ok {
			return all
		}
		host = rest
		all = append(all, "*."+host)
	}
}

// parents are a path and all directories it is in but the root.
func parents(p string) (all []string) {
	for p != "/" && p != "." && p != "" {
		all = append(all, p)
		p = path.Dir(p)
	}
	return all
}

// checkScope refuses scopes that a transport does not have: they would never
// match, and somebody counts on them.
func checkScope(transport, scope string) error {
	if scope == "" {
		return nil
	}
	switch transport {
	case "dir", "oci-archive", "sif":
		return checkPathScope(scope)
	case "oci":
		dir, image, tagged := strings.Cut(scope, ":")
		if tagged && strings.Trim(image, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@+") != "" {
			return errors.New("what follows the colon is no name of an image")
		}
		return checkPathScope(dir)
	case "docker-archive", "tarball":
		return errors.New("this transport has no scope but the default \"\"")
	case "docker-daemon":
		if _, err := oci.Parse(scope); err == nil {
			return errors.New("a digest is no scope")
		}
	}
	return nil
}

func checkPathScope(scope string) error {
	switch {
	case !strings.HasPrefix(scope, "/"):
		return errors.New("it is no absolute path")
	case scope == "/":
		return errors.New("use the default scope \"\" for all paths")
	case path.Clean(scope) != scope:
		return errors.New("the path can be written shorter, and would not match")
	}
	return nil
}
