package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// Algorithm names the hash behind a Digest.
type Algorithm uint8

// The registered algorithms of the image specification (descriptor.md, "Registered Algorithms").
const (
	SHA256 Algorithm = iota + 1
	SHA512
)

// String returns the algorithm's prefix in a digest, or "" for an unknown one.
func (a Algorithm) String() string {
	switch a {
	case SHA256:
		return "sha256"
	case SHA512:
		return "sha512"
	}
	return ""
}

// Size returns the length of a sum in bytes.
func (a Algorithm) Size() int {
	switch a {
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	}
	return 0
}

// New returns a hash of the algorithm, or nil for an unknown one.
func (a Algorithm) New() hash.Hash {
	switch a {
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	}
	return nil
}

// Digest identifies content by its hash. It is comparable, and the zero value
// identifies nothing. Only sixteen letters can come out of Hex, so that a digest
// may become part of a path; that is why foreign text has to pass Parse first.
type Digest struct {
	alg Algorithm
	sum [sha512.Size]byte
}

// Parse reads algorithm:hex strictly: a registered algorithm, lower-case
// letters, and exactly the algorithm's length.
func Parse(s string) (Digest, error) {
	name, text, found := strings.Cut(s, ":")
	if !found {
		return Digest{}, fmt.Errorf("digest %.140q has no algorithm", s)
	}
	var d Digest
	switch name {
	case "sha256":
		d.alg = SHA256
	case "sha512":
		d.alg = SHA512
	default:
		return Digest{}, fmt.Errorf("digest %.140q: unknown algorithm %.32q", s, name)
	}
	if len(text) != 2*d.alg.Size() {
		return Digest{}, fmt.Errorf("digest %.140q: want %d hexadecimal digits, have %d", s, 2*d.alg.Size(), len(text))
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Digest{}, fmt.Errorf("digest %.140q: %q is no lower-case hexadecimal digit", s, c)
		}
	}
	if _, err := hex.Decode(d.sum[:], []byte(text)); err != nil {
		return Digest{}, fmt.Errorf("digest %.140q: %w", s, err)
	}
	return d, nil
}

// FromBytes returns the SHA-256 digest of content.
func FromBytes(content []byte) Digest {
	d := Digest{alg: SHA256}
	sum := sha256.Sum256(content)
	copy(d.sum[:], sum[:])
	return d
}

// FromHash returns the digest that a hash of the algorithm has come to.
func FromHash(a Algorithm, h hash.Hash) Digest {
	d := Digest{alg: a}
	h.Sum(d.sum[:0])
	return d
}

// Algorithm returns the digest's algorithm, 0 for the zero value.
func (d Digest) Algorithm() Algorithm { return d.alg }

// IsZero reports whether d identifies nothing.
func (d Digest) IsZero() bool { return d.alg == 0 }

// Hash returns a new hash of the digest's algorithm; the zero value has none.
func (d Digest) Hash() hash.Hash { return d.alg.New() }

// Hex returns the sum in lower-case hexadecimal.
func (d Digest) Hex() string { return hex.EncodeToString(d.sum[:d.alg.Size()]) }

// Short returns the first twelve digits, as engines print them.
func (d Digest) Short() string {
	if d.IsZero() {
		return ""
	}
	return d.Hex()[:12]
}

// String returns algorithm:hex, or "" for the zero value.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return d.alg.String() + ":" + d.Hex()
}

// Verify returns an error when h, a hash made by Hash, did not come to d.
func (d Digest) Verify(h hash.Hash) error {
	if got := FromHash(d.alg, h); got != d {
		return &MismatchError{Want: d, Got: got}
	}
	return nil
}

// MismatchError says that content is not what its digest promised.
type MismatchError struct{ Want, Got Digest }

// Error names both digests.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("digest mismatch: expected %s, received content has %s", e.Want, e.Got)
}

// MarshalText writes the digest as String does.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote; empty text gives the zero value.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	v, err := Parse(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}
