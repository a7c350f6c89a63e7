package container

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

const idLen = 64

// newID makes an id whose beginning, which is the container's host name unless
// it is given one, is no number: C libraries take that for an address.
func newID() string {
	for {
		var b [idLen / 2]byte
		rand.Read(b[:]) // never fails: the program ends when the kernel has no randomness
		if id := hex.EncodeToString(b[:]); strings.ContainsAny(id[:12], "abcdef") {
			return id
		}
	}
}

// isID reports whether s is a whole id. Only such strings become part of a path.
func isID(s string) bool { return len(s) == idLen && isIDPrefix(s) }

func isIDPrefix(s string) bool {
	if s == "" || len(s) > idLen {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
