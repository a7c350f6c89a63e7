package runtime

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// maxIDs bounds the numbers of CPUs and memory nodes. No kernel is built for
// more than 8192 CPUs, or than 1024 nodes.
const maxIDs = 8192

// idSet is a set of numbers as the kernel takes it: a bit mask of 64-bit words.
type idSet []uint64

// parseIDs reads a list of numbers and ranges, as in "0-3,7".
func parseIDs(list string) (idSet, error) {
	var set idSet
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 32)
		last, err2 := strconv.ParseUint(to, 10, 32)
		switch {
		case err != nil || err2 != nil || first > last:
			return nil, fmt.Errorf("%q is no list of numbers and ranges such as 0-3,7", list)
		case last >= maxIDs:
			return nil, fmt.Errorf("%d in %q is too large", last, list)
		}
		for id := first; id <= last; id++ {
			set = set.with(id)
		}
	}
	return set, nil
}

func (s idSet) with(id uint64) idSet {
	for uint64(len(s)) <= id/64 {
		s = append(s, 0)
	}
	s[id/64] |= 1 << (id % 64)
	return s
}

// bytes is the mask in memory.
func (s idSet) bytes() []byte {
	var b []byte
	for _, word := range s {
		b = binary.NativeEndian.AppendUint64(b, word)
	}
	return b
}
