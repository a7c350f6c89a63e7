package oci

import (
	"bytes"
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
	d, ok := ParseBytes([]byte(s))
	if ok {
		return d, nil
	}
	name, text, found := strings.Cut(s, ":")
	if !found {
		return Digest{}, fmt.Errorf("digest %.140q has no algorithm", s)
	}
	alg := algorithm(name)
	switch {
	case alg == 0:
		return Digest{}, fmt.Errorf("digest %.140q: unknown algorithm %.32q", s, name)
	case len(text) != 2*alg.Size():
		return Digest{}, fmt.Errorf("digest %.140q: want %d hexadecimal digits, have %d", s, 2*alg.Size(), len(text))
	}
	return Digest{}, fmt.Errorf("digest %.140q: only lower-case hexadecimal digits may stand behind the algorithm", s)
}

// ParseBytes is Parse for who reads many and asks for no reason.
func ParseBytes(text []byte) (d Digest, ok bool) {
	name, text, _ := bytes.Cut(text, []byte{':'})
	d.alg = algorithm(string(name))
	if d.alg == 0 || len(text) != 2*d.alg.Size() {
		return Digest{}, false
	}
	for i := range d.alg.Size() {
		high, low := nibble(text[2*i]), nibble(text[2*i+1])
		if high > 15 || low > 15 {
			return Digest{}, false
		}
		d.sum[i] = high<<4 | low
	}
	return d, true
}

// algorithm is the one of a name, 0 for an unknown one.
func algorithm(name string) Algorithm {
	switch name {
	case "sha256":
		return SHA256
	case "sha512":
		return SHA512
	}
	return 0
}

// nibble is what a lower-case hexadecimal digit stands for; more than 15 for anything else.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
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

// Compare orders digests as their Hex is ordered.
func (d Digest) Compare(other Digest) int {
	return bytes.Compare(d.sum[:d.alg.Size()], other.sum[:other.alg.Size()])
}

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
