package logs

import (
	"bytes"
	"errors"
	"time"
)

// Stream is one of a container's two outputs. A container with a terminal has
// only Stdout.
type Stream byte

// The streams, as bits, so that a set of them is a Stream too.
const (
	Stdout Stream = 1 << iota
	Stderr
)

// String is the stream's name in the file.
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// Record is one line of a log file.
type Record struct {
	Time    time.Time
	Stream  Stream
	Partial bool   // the container's line goes on in the stream's next record
	Data    []byte // without the newline; valid until the next record is read
}

var errRecord = errors.New("not a log record")

// timeFormat is RFC 3339 with all nine digits, so that records sort as text.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// ParseRecord reads one line of a log file, given without its newline. Data is
// a part of line.
func ParseRecord(line []byte) (Record, error) {
	var r Record
	stamp, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(stamp) > 64 {
		return r, errRecord
	}
	stream, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return r, errRecord
	}
	switch string(stream) {
	case "stdout":
		r.Stream = Stdout
	case "stderr":
		r.Stream = Stderr
	default:
		return r, errRecord
	}
	// The tag may be a list with colons; the first one is F or P.
	tag, data, _ := bytes.Cut(rest, []byte(" "))
	tag, _, _ = bytes.Cut(tag, []byte(":"))
	switch string(tag) {
	case "F":
	case "P":
		r.Partial = true
	default:
		return r, errRecord
	}
	var err error
	if r.Time, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
		return r, errRecord
	}
	r.Data = data
	return r, nil
}
