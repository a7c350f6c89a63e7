package inflate

import (
	"encoding/binary"
	"errors"
	"io"
)

// ErrCorrupt says that a DEFLATE stream is none (RFC 1951).
var ErrCorrupt = errors.New("gzip: corrupt data")

const (
	window = 32 << 10 // how far a match reaches back
	// outSize is what is made before somebody takes it. With the window it
	// stays in a processor's second cache.
	outSize = 128 << 10
	inSize  = 64 << 10

	// maxMatch is the longest match, and slack what a wide copy may write
	// beyond it.
	maxMatch = 258
	slack    = 64
	// inMargin is how many bytes of input the fast loop may look at in one
	// round: two refills.
	inMargin = 16
)

// decoder turns one DEFLATE stream after the other into bytes.
type decoder struct {
	src io.Reader
	err error // of src

	in      []byte // in[ip:end] is unread
	ip, end int
	bb      uint64 // bits that were taken from in, the first one lowest
	bn      uint   // how many

	out   []byte // out[given:op] waits to be taken
	op    int
	given int
	hist  int // where in out this stream's own bytes begin

	block state
	final bool // the block at hand is the last one
	left  int  // of a stored block, in bytes

	lit  litTable
	dist distTable
}

type state uint8

const (
	between  state = iota // a block's header comes next
	stored                // in a stored block
	codes                 // in a block of codes
	finished              // the stream's last block has ended
)

func (d *decoder) reset(src io.Reader) {
	if d.in == nil {
		d.in, d.out = make([]byte, inSize), make([]byte, window+outSize+maxMatch+slack)
	}
	d.src, d.err = src, nil
	d.ip, d.end, d.bb, d.bn = 0, 0, 0, 0
	d.op, d.given = 0, 0
	d.begin()
}

// begin starts another stream, which sees nothing of the one before.
func (d *decoder) begin() {
	d.hist, d.block, d.final = d.op, between, false
}

// fill makes bytes: until the buffer is full, the stream is finished, or
// something is wrong. What was made before an error is there.
func (d *decoder) fill() error {
	if d.op >= window+outSize {
		n := d.op - window
		copy(d.out[:window], d.out[n:d.op])
		d.op, d.given, d.hist = window, d.given-n, max(0, d.hist-n)
	}
	for d.op < window+outSize && d.block != finished {
		var err error
		switch d.block {
		case between:
			err = d.header()
		case stored:
			err = d.copyStored()
		case codes:
			err = d.decode()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// header reads what comes before a block (RFC 1951, section 3.2.3).
func (d *decoder) header() error {
	v, err := d.take(3)
	if err != nil {
		return err
	}
	d.final = v&1 != 0
	switch v >> 1 {
	case 0:
		d.align()
		v, err := d.take(32)
		if err != nil {
			return err
		}
		n := uint16(v)
		if n != ^uint16(v>>16) {
			return ErrCorrupt
		}
		d.left, d.block = int(n), stored
		if n == 0 {
			d.ended()
		}
		return nil
	case 1:
		d.block = codes
		return d.fixed()
	case 2:
		d.block = codes
		return d.dynamic()
	}
	return ErrCorrupt
}

// ended is called at the end of a block.
func (d *decoder) ended() {
	d.block = between
	if d.final {
		d.block = finished
		d.align()
	}
}

// copyStored gives on bytes that were not compressed.
func (d *decoder) copyStored() error {
	d.unread()
	for d.left > 0 && d.op < window+outSize {
		if d.ip == d.end {
			if err := d.more(); err != nil {
				return err
			}
		}
		n := min(d.left, d.end-d.ip, window+outSize-d.op)
		copy(d.out[d.op:d.op+n], d.in[d.ip:d.ip+n])
		d.op, d.ip, d.left = d.op+n, d.ip+n, d.left-n
	}
	if d.left == 0 {
		d.ended()
	}
	return nil
}

// align goes on at the next whole byte.
func (d *decoder) align() {
	d.bb >>= d.bn & 7
	d.bn &^= 7
}

// unread gives whole bytes back to the input.
func (d *decoder) unread() {
	d.ip -= int(d.bn >> 3)
	d.bn &= 7
	d.bb &= 1<<d.bn - 1
}

// take reads n bits, up to 32.
func (d *decoder) take(n uint) (uint32, error) {
	for d.bn < n {
		if err := d.oneMore(); err != nil {
			return 0, err
		}
	}
	v := uint32(d.bb & (1<<n - 1))
	d.bb >>= n
	d.bn -= n
	return v, nil
}

// oneMore takes one byte out of the input.
func (d *decoder) oneMore() error {
	if d.ip == d.end {
		if err := d.more(); err != nil {
			return err
		}
	}
	d.bb |= uint64(d.in[d.ip]) << d.bn
	d.ip++
	d.bn += 8
	return nil
}

// more reads input, at least one byte. The end of the source comes too early.
func (d *decoder) more() error {
	keep := min(d.ip, 8) // for unread
	copy(d.in, d.in[d.ip-keep:d.end])
	d.ip, d.end = keep, d.end-d.ip+keep
	for range 100 {
		if d.err != nil {
			if d.err == io.EOF {
				return io.ErrUnexpectedEOF
			}
			return d.err
		}
		n, err := d.src.Read(d.in[d.end:])
		d.end, d.err = d.end+n, err
		if n > 0 {
			return nil
		}
	}
	return io.ErrNoProgress
}

func load64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i : i+8]) }
