package netlink

import (
	"bytes"
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// typeMask leaves out the two flags of an attribute's kind.
const typeMask = 1<<14 - 1

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// Append adds an attribute to a message.
func Append(message []byte, kind uint16, value []byte) []byte {
	message = binary.NativeEndian.AppendUint16(message, uint16(unix.SizeofRtAttr+len(value)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = append(message, value...)
	return append(message, make([]byte, align(len(value))-len(value))...)
}

// AppendString adds a text that ends with a NUL.
func AppendString(message []byte, kind uint16, value string) []byte {
	return Append(message, kind, append([]byte(value), 0))
}

// AppendUint32 adds a number.
func AppendUint32(message []byte, kind uint16, value uint32) []byte {
	return Append(message, kind, binary.NativeEndian.AppendUint32(nil, value))
}

// Nest adds an attribute whose value is what inner adds.
func Nest(message []byte, kind uint16, inner func([]byte) []byte) []byte {
	at := len(message)
	message = binary.NativeEndian.AppendUint16(message, 0)
	message = binary.NativeEndian.AppendUint16(message, kind|unix.NLA_F_NESTED)
	message = inner(message)
	binary.NativeEndian.PutUint16(message[at:], uint16(len(message)-at))
	return message
}

// Attributes are those of a message, by their kinds without flags.
func Attributes(list []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(list) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(list))
			if size < unix.SizeofRtAttr || size > len(list) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(list[2:])&typeMask, list[unix.SizeofRtAttr:size]) {
				return
			}
			list = list[min(align(size), len(list)):]
		}
	}
}

// text is what comes before the first NUL.
func text(value []byte) string {
	before, _, _ := bytes.Cut(value, []byte{0})
	return string(before)
}

// number is a value of 32 bits; 0 if it is none.
func number(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}
