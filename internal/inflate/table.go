package inflate

import "math/bits"

// A table is looked up by the next bits of the input. An entry has everything
// that the bits say:
//
//	bits 0 to 7    how many bits they are, the extra ones of a length or
//	               distance included
//	bits 8 to 11   how many bits the code alone has; of a pointer, by how many
//	               bits the second table is looked up
//	bits 12 to 15  flags
//	bits 16 to 30  a literal, the least length or distance, or where the second
//	               table begins
//	bit 31         it is a literal
const (
	isLiteral = 1 << 31
	isOther   = 1 << 15 // a pointer, the end of the block, or no code
	isPointer = 1 << 14
	isEnd     = 1 << 13
)

const (
	litRoot  = 11
	distRoot = 8
	maxBits  = 15

	numLit  = 286 // symbols that mean something; the fixed code has 288
	numDist = 30  // and 32
)

// The sizes are powers of two, so that a masked index needs no check. The most
// entries that the second tables of a complete code need are 294 and 146.
type (
	litTable  [4096]uint32
	distTable [512]uint32
)

var lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
var lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}

// litEntry is what a symbol of the first alphabet means, without its code.
func litEntry(sym int) uint32 {
	switch {
	case sym < 256:
		return isLiteral | uint32(sym)<<16
	case sym == 256:
		return isOther | isEnd
	case sym < numLit:
		return uint32(lengthBase[sym-257])<<16 | uint32(lengthExtra[sym-257])
	}
	return isOther
}

// distEntry is the same for distances.
func distEntry(sym int) uint32 {
	switch {
	case sym < 4:
		return uint32(sym+1) << 16
	case sym < numDist:
		extra := uint32(sym)/2 - 1
		return ((2+uint32(sym)&1)<<extra+1)<<16 | extra
	}
	return isOther
}

// plainEntry is for the code of code lengths.
func plainEntry(sym int) uint32 { return uint32(sym) << 16 }

// build makes the table of a code that its lengths describe (RFC 1951, section
// 3.2.2), and reports whether there is such a code. One that leaves patterns
// unused is allowed only when it has a single symbol, of one bit.
func build(table []uint32, root uint, lengths []uint8, entry func(sym int) uint32) bool {
	var count [maxBits + 1]uint16
	for _, n := range lengths {
		count[n&15]++
	}
	var offset [maxBits + 2]uint16
	left, used := int32(1), 0
	for n := 1; n <= maxBits; n++ {
		left = left<<1 - int32(count[n])
		if left < 0 {
			return false
		}
		offset[n+1] = offset[n] + count[n]
		used += int(count[n])
	}
	first := table[:1<<root]
	if left > 0 {
		if used > 1 || used == 1 && count[1] != 1 {
			return false
		}
		for i := range first {
			first[i] = isOther
		}
		if used == 0 {
			return true
		}
	}
	var sorted [288]uint16
	for sym, n := range lengths {
		if n != 0 {
			sorted[offset[n]] = uint16(sym)
			offset[n]++
		}
	}
	if left > 0 {
		for i := 0; i < len(first); i += 2 {
			first[i] = entry(int(sorted[0])) + 1<<8 + 1
		}
		return true
	}
	// Codes are given out in order; they arrive with their first bit lowest, so
	// they are counted up from the other end.
	n, i, code := uint(1), 0, uint(0)
	for count[n] == 0 {
		n++
	}
	filled := uint(1) << n // of a table with n bits
	for n <= root {
		for range count[n] {
			table[code] = entry(int(sorted[i])) + uint32(n)<<8 + uint32(n)
			i++
			if code == 1<<n-1 { // the last code of all
				for ; n < root; n++ {
					copy(table[filled:], table[:filled])
					filled <<= 1
				}
				return true
			}
			bit := uint(1) << (bits.Len(code^(filled-1)) - 1)
			code = code&(bit-1) | bit
		}
		n++
		if n <= root {
			copy(table[filled:2*filled], table[:filled])
			filled <<= 1
		} else {
			break
		}
	}
	return second(table, root, n, code, &count, sorted[i:], entry)
}

// second makes the tables of the codes that are longer than root bits. They
// come sorted, so those with the same first bits follow each other.
func second(table []uint32, root, n, code uint, count *[maxBits + 1]uint16, sorted []uint16, entry func(int) uint32) bool {
	next := uint(1) << root // where the next table begins
	start, size := uint(0), uint(0)
	prefix := ^uint(0)
	mask := uint(1)<<root - 1
	for {
		for count[n] == 0 {
			n++
		}
		if code&mask != prefix {
			prefix = code & mask
			start = next
			// It must hold the longest code that begins like this.
			width, space := n-root, int(count[n])
			for space < 1<<width {
				width++
				space = space<<1 + int(count[root+width])
			}
			size = 1 << width
			next = start + size
			if next > uint(len(table)) {
				return false
			}
			table[prefix] = uint32(start)<<16 | isOther | isPointer | uint32(width)<<8 | uint32(root)
		}
		e := entry(int(sorted[0])) + uint32(n-root)<<8 + uint32(n-root)
		sorted = sorted[1:]
		for i := code >> root; i < size; i += 1 << (n - root) {
			table[start+i] = e
		}
		if code == 1<<n-1 {
			return true
		}
		bit := uint(1) << (bits.Len(code^(1<<n-1)) - 1)
		code = code&(bit-1) | bit
		count[n]--
	}
}
