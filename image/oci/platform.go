package oci

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Platform is what an image was made for, in Go's names for systems and
// architectures (image-index.md, "platform").
type Platform struct {
	Architecture string   `json:"architecture,omitempty"`
	OS           string   `json:"os,omitempty"`
	OSVersion    string   `json:"os.version,omitempty"`
	OSFeatures   []string `json:"os.features,omitempty"`
	Variant      string   `json:"variant,omitempty"`
	Features     []string `json:"features,omitempty"` // of the processor; reserved
}

// Host returns the platform of this machine.
func Host() Platform {
	p := Platform{OS: "linux", Architecture: runtime.GOARCH}
	if p.Architecture == "arm" {
		p.Variant = "v7"
	}
	return p
}

// ParsePlatform reads os/arch, os/arch/variant, or one of os and arch alone; the system may
// have a version and features, as in windows(10.0.17763+win32k)/amd64. Empty text
// is the host's platform.
func ParsePlatform(s string) (Platform, error) {
	if s == "" {
		return Host(), nil
	}
	parts := strings.Split(s, "/")
	var version string
	if before, after, ok := strings.Cut(parts[0], "("); ok && len(parts) > 1 && strings.HasSuffix(after, ")") {
		parts[0], version = before, strings.TrimSuffix(after, ")")
	}
	for _, part := range parts {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			return Platform{}, fmt.Errorf("platform %q: want os/arch or os/arch/variant", s)
		}
	}
	p := Platform{OS: "linux"}
	if version != "" {
		features := strings.Split(version, "+")
		p.OSVersion, p.OSFeatures = features[0], features[1:]
	}
	switch len(parts) {
	case 1:
		if p.Architecture = parts[0]; strings.EqualFold(parts[0], "linux") || strings.EqualFold(parts[0], "windows") {
			p = Host()
			p.OS = parts[0]
		}
	case 2:
		p.OS, p.Architecture = parts[0], parts[1]
	case 3:
		p.OS, p.Architecture, p.Variant = parts[0], parts[1], parts[2]
	default:
		return Platform{}, fmt.Errorf("platform %q: want os/arch or os/arch/variant", s)
	}
	return p.normal(), nil
}

// String returns os/arch or os/arch/variant.
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// normal maps the names that other tools use onto Go's, and drops a variant
// that says no more than its architecture.
func (p Platform) normal() Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "i386", "i486", "i586", "i686", "x86":
		p.Architecture = "386"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	if p.Variant != "" && p.Variant[0] >= '0' && p.Variant[0] <= '9' {
		p.Variant = "v" + p.Variant
	}
	switch p.Architecture + "/" + p.Variant {
	case "amd64/v1", "arm64/v8":
		p.Variant = ""
	case "arm/":
		p.Variant = "v7"
	}
	return p
}

// Fit tells how well an image made for have runs on p: 0 not at all, else the
// higher the better. An older variant of the same architecture runs, a newer
// one does not.
func (p Platform) Fit(have Platform) int {
	p, have = p.normal(), have.normal()
	if p.OS != have.OS || p.Architecture != have.Architecture || p.OSVersion != "" && have.OSVersion != "" && p.OSVersion != have.OSVersion {
		return 0
	}
	for _, f := range have.OSFeatures {
		if !slices.Contains(p.OSFeatures, f) {
			return 0 // the image doesn't run without it
		}
	}
	if p.Variant == have.Variant {
		return 100
	}
	want, offered := variantLevel(p.Variant), variantLevel(have.Variant)
	if offered < 0 || want < 0 || offered > want {
		return 0
	}
	return 100 - (want - offered)
}

// variantLevel orders variants: "" is 0, vN is N (v8.2 is 8), anything else -1.
func variantLevel(v string) int {
	if v == "" {
		return 0
	}
	v, _, _ = strings.Cut(v, ".")
	if len(v) == 2 && v[0] == 'v' && v[1] >= '0' && v[1] <= '9' {
		return int(v[1] - '0')
	}
	return -1
}

// Select returns the entry of an index that fits p best, and false when none
// does. Of equals the first wins. An entry that names no platform is taken only
// when it is the only one.
func (x *Index) Select(p Platform) (Descriptor, bool) {
	best, fit := Descriptor{}, 0
	for _, d := range x.Manifests {
		if d.Platform == nil {
			continue
		}
		if f := p.Fit(*d.Platform); f > fit {
			best, fit = d, f
		}
	}
	if fit == 0 && len(x.Manifests) == 1 && x.Manifests[0].Platform == nil {
		return x.Manifests[0], true
	}
	return best, fit > 0
}

// Candidates lists the entries of an index that may lead to an image for p, the
// likeliest first: the one that fits best, then those that name no platform,
// indexes before manifests. What is known to be no image is left out.
func (x *Index) Candidates(p Platform) []Descriptor {
	var first, indexes, rest []Descriptor
	if best, ok := x.Select(p); ok && best.Platform != nil {
		first = append(first, best)
	}
	for _, d := range x.Manifests {
		switch {
		case d.Platform != nil:
		case d.IsIndex():
			indexes = append(indexes, d)
		case d.ArtifactType == "" && d.Annotations["vnd.docker.reference.type"] == "":
			rest = append(rest, d)
		}
	}
	return append(append(first, indexes...), rest...)
}

// IsIndex reports whether a descriptor points at an index by its media type.
func (d Descriptor) IsIndex() bool { return isIndex(d.MediaType) }

// Platforms lists what an index offers, for error messages.
func (x *Index) Platforms() string {
	var names []string
	for _, d := range x.Manifests {
		if d.Platform == nil || d.Platform.OS == "unknown" {
			continue
		}
		if len(names) == 12 {
			names = append(names, "…")
			break
		}
		names = append(names, fmt.Sprintf("%.60s", d.Platform.String()))
	}
	return strings.Join(names, ", ")
}
