// Package packet is the language between a monitor and its clients on
// attach.sock, a SOCK_SEQPACKET socket: the first byte of every packet says
// what it is, the rest is its data. The kernel keeps the packets' borders.
package packet

import "encoding/binary"

// The types of packets. Those of the client's side come first.
const (
	Stdin   = 'i' // data for the container's input; without data: this client has an input and may end the container's
	EOF     = 'e' // the client's input has ended
	Resize  = 'w' // of the terminal: rows, columns, 16 bits each, little endian
	Removes = 'r' // the client removes the container itself when it has ended

	Stdout = 'o' // output of the container, or of its terminal
	Stderr = 'E' // output of the container
	Exit   = 'x' // the exit code, 32 bits, little endian; nothing follows
)

// MaxData is the most data a packet holds, in bytes. A receiver whose buffer
// is one byte longer than MaxSize can tell a packet that breaks the rule.
const (
	MaxData = 32 << 10
	MaxSize = 1 + MaxData
)

// AppendResize appends the Resize packet to b.
func AppendResize(b []byte, rows, cols uint16) []byte {
	b = binary.LittleEndian.AppendUint16(append(b, Resize), rows)
	return binary.LittleEndian.AppendUint16(b, cols)
}

// ParseResize reads the data of a Resize packet.
func ParseResize(data []byte) (rows, cols uint16, ok bool) {
	if len(data) != 4 {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint16(data), binary.LittleEndian.Uint16(data[2:]), true
}

// AppendExit appends the Exit packet to b.
func AppendExit(b []byte, code int) []byte {
	return binary.LittleEndian.AppendUint32(append(b, Exit), uint32(code))
}

// ParseExit reads the data of an Exit packet.
func ParseExit(data []byte) (code int, ok bool) {
	if len(data) != 4 {
		return 0, false
	}
	return int(int32(binary.LittleEndian.Uint32(data))), true
}
