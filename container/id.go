package container

import (
	"crypto/rand"
	"encoding/hex"
)

const idLen = 64

func newID() string {
	var b [idLen / 2]byte
	rand.Read(b[:]) // never fails: the program ends when the kernel has no randomness
	return hex.EncodeToString(b[:])
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
