package criu

import (
	"encoding/binary"
	"errors"
)

// Requests and answers are protocol buffers, of which only numbers and byte
// strings occur: a generated decoder would be most of this package's size.

// Wire types of fields.
const (
	wireVarint = 0
	wireFixed8 = 1
	wireBytes  = 2
	wireFixed4 = 5
)

// message is a protocol buffer under construction.
type message []byte

func (m *message) number(field int, v int64) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|wireVarint)
	*m = binary.AppendUvarint(*m, uint64(v))
}

// flag leaves out what is false, which is every flag's default.
func (m *message) flag(field int, v bool) {
	if v {
		m.number(field, 1)
	}
}

// text leaves out what is empty.
func (m *message) text(field int, s string) {
	if s != "" {
		m.message(field, message(s))
	}
}

func (m *message) message(field int, of message) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|wireBytes)
	*m = binary.AppendUvarint(*m, uint64(len(of)))
	*m = append(*m, of...)
}

var errWire = errors.New("criu's answer makes no sense")

// fields calls with every field of a message: with its number, or its bytes.
func fields(m []byte, each func(field int, number uint64, data []byte) error) error {
	for len(m) > 0 {
		key, n := binary.Uvarint(m)
		if n <= 0 {
			return errWire
		}
		m = m[n:]
		var number uint64
		var data []byte
		switch key & 7 {
		case wireVarint:
			if number, n = binary.Uvarint(m); n <= 0 {
				return errWire
			}
		case wireBytes:
			size, head := binary.Uvarint(m)
			if head <= 0 || size > uint64(len(m)-head) {
				return errWire
			}
			n = head + int(size)
			data = m[head:n]
		case wireFixed4:
			n = 4
		case wireFixed8:
			n = 8
		default:
			return errWire
		}
		if n > len(m) {
			return errWire
		}
		m = m[n:]
		if err := each(int(key>>3), number, data); err != nil {
			return err
		}
	}
	return nil
}
