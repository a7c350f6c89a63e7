package trust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/image/reference"
)

// ErrRefused is matched by errors about an image that may not be used.
var ErrRefused = errors.New("refused")

// RefusedError says why an image may not be used.
type RefusedError struct{ Reason string }

// Error is the reason.
func (e *RefusedError) Error() string { return e.Reason }

// Is makes it match ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

func refuse(format string, args ...any) error {
	return &RefusedError{Reason: oneMore(fmt.Sprintf(format, args...))}
}

// Rules by which an image was accepted.
const (
	ByPolicy = "policy"        // a policy.json speaks of it
	ByKnown  = "known-signers" // its repository's signers were known
	ByFirst  = "first-signed"  // the first signed image of its repository
	ByNone   = "none"          // nothing speaks of it, and nobody signed it
)

// Verdict is what was decided about an image that may be used. It is kept with
// the image.
type Verdict struct {
	// Transport, Name and Path say how the image came, as in Image.
	Transport string `json:"transport"`
	Name      string `json:"name,omitempty"`
	Path      string `json:"path,omitempty"`
	// Digests are the manifests that the decision is about.
	Digests []oci.Digest `json:"digests"`
	// Signers are who signed it, of those that were verified; none for an
	// image that is unsigned, or whose signatures nobody asked for.
	Signers []Signer `json:"signers,omitempty"`
	Rule    string   `json:"rule"`
	// Scope is the policy's that decided, "" its default.
	Scope    string    `json:"scope,omitempty"`
	Verified time.Time `json:"verified"`
	// Note says why signatures that are there don't count.
	Note string `json:"note,omitempty"`
	// Files are what the decision rests on.
	Files []FileID `json:"files"`

	// Message is one line for whoever asked, or "".
	Message string `json:"-"`
	// Found are the signatures, to be kept for when the policy changes.
	Found []Signature `json:"-"`
}

// Signed tells whether somebody is known to have signed the image.
func (v Verdict) Signed() bool { return len(v.Signers) > 0 }

// Signer is who signed the image in one line, "" when nobody did.
func (v Verdict) Signer() string { return describe(v.Signers) }

// FileID identifies what a file held at a time.
type FileID struct {
	Path string `json:"path"`
	ID   string `json:"id"` // "" is a file that is missing
}

// identify asks the kernel what would change with the contents.
func identify(path string) FileID {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		if err == unix.ENOENT || err == unix.ENOTDIR {
			return FileID{path, ""}
		}
		return FileID{path, err.Error()}
	}
	return FileID{path, fmt.Sprintf("%x:%x:%x:%x:%x", st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())}
}

// Fresh tells whether all that the decision rests on is as it was, and that it
// rests on the policy that o names.
func (v Verdict) Fresh(o Options) bool {
	if len(v.Files) == 0 {
		return false
	}
	for i, path := range o.policyFiles() {
		if i >= len(v.Files) || v.Files[i].Path != path {
			return false
		}
		if v.Files[i].ID != "" {
			break // the others are not read
		}
	}
	for _, f := range v.Files {
		if identify(f.Path) != f {
			return false
		}
	}
	return true
}

// policyFiles are the files of which the first that exists is the policy.
func (o Options) policyFiles() []string {
	if o.Policy != "" {
		return []string{o.Policy}
	}
	return policyFiles()
}

// policyIDs identifies the policy: the files that are not there, and the first that is.
func (o Options) policyIDs() (ids []FileID) {
	for _, path := range o.policyFiles() {
		id := identify(path)
		ids = append(ids, id)
		if id.ID != "" {
			break
		}
	}
	return ids
}

// oneMore is oneLine for what may be longer: a reason with several signers.
func oneMore(s string) string {
	const most = 2000
	if len(s) > most {
		s = s[:most]
	}
	out := make([]rune, 0, len(s))
	for _, r := range s {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			r = ' '
		}
		out = append(out, r)
	}
	return string(out)
}

// trustedRoot finds sigstore's trusted_root.json: the user's or the system's,
// or the one that cosign keeps up to date.
func trustedRoot() (path string, data []byte, err error) {
	var places []string
	for _, dir := range dirs() {
		places = append([]string{dir + "/trusted_root.json"}, places...)
	}
	if home, err := os.UserHomeDir(); err == nil {
		places = append(places, home+"/.sigstore/root/tuf-repo-cdn.sigstore.dev/targets/trusted_root.json")
	}
	for _, path := range places {
		data, err := readTrusted(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		return path, data, err
	}
	return "", nil, fmt.Errorf("its certificate cannot be checked without a trusted root: put sigstore's at %s", places[0])
}

// Same tells whether two verdicts are about the image as it came the same way.
func (v Verdict) Same(o Verdict) bool {
	return v.Transport == o.Transport && v.Name == o.Name && v.Path == o.Path
}

// Equal tells whether nothing but the time differs.
func (v Verdict) Equal(o Verdict) bool {
	return v.Same(o) && v.Rule == o.Rule && v.Scope == o.Scope && v.Note == o.Note &&
		slices.Equal(v.Digests, o.Digests) && slices.Equal(v.Files, o.Files) && slices.EqualFunc(v.Signers, o.Signers, Signer.Is)
}

// StillKnown tells whether the signer whom the verdict found to be known still is.
func (v Verdict) StillKnown() bool {
	if v.Rule == ByPolicy {
		return true
	}
	img, err := v.image()
	if err != nil {
		return false
	}
	known, err := KnownSigners(img.Repository())
	return err == nil && slices.ContainsFunc(v.Signers, func(s Signer) bool { return slices.ContainsFunc(known, s.Is) })
}

// image is what the verdict is about.
func (v Verdict) image() (Image, error) {
	img := Image{Transport: v.Transport, Path: v.Path, Digests: v.Digests}
	if v.Name == "" || v.Name[0] == ':' { // a tag alone, as in an OCI layout
		img.Ref.Tag = strings.TrimPrefix(v.Name, ":")
		return img, nil
	}
	ref, err := reference.Parse(v.Name)
	img.Ref = ref
	return img, err
}

// Again decides once more about an image that is there, since a policy has
// changed, with the signatures that were found when it came. Where no policy
// speaks the earlier verdict stands: who is known to sign decides about what
// comes in.
func (o Options) Again(ctx context.Context, v Verdict, found []Signature) (Verdict, error) {
	img, err := v.image()
	if err != nil {
		return Verdict{}, err
	}
	policy, err := LoadPolicy(o.Policy)
	if err != nil {
		return Verdict{}, err
	}
	if _, _, decided := policy.For(img); decided {
		again, err := o.Decide(ctx, img, Stored(found))
		if errors.Is(err, ErrRefused) {
			err = fmt.Errorf("%w; if it has been signed since, pull it again", err)
		}
		return again, err
	}
	if o.Require && !v.Signed() {
		return Verdict{}, refuse("a signature is required of %s, but %v", img, errUnsigned)
	}
	v.Files = o.policyIDs()
	return v, nil
}

// Origin is where the image came from, as TRANSPORT:NAME.
func (v Verdict) Origin() string {
	switch {
	case v.Path == "":
		return v.Transport + ":" + v.Name
	case v.Name == "":
		return v.Transport + ":" + v.Path
	}
	return v.Transport + ":" + v.Path + ":" + strings.TrimPrefix(v.Name, ":")
}
