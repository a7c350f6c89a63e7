package pack

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/flate"
)

const (
	// gzipBlock is how much is compressed by itself, in bytes. It decides about
	// the result, and so never depends on the machine.
	gzipBlock = 1 << 20
	// gzipWindow is what a block knows of the one before it.
	gzipWindow = 32 << 10
)

// gzipHead begins every stream: deflate, no time, no name, and an unknown
// system (RFC 1952, section 2.3).
var gzipHead = [10]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// Gzip compresses a stream on all cores at once. The same bytes give the same
// stream, on any number of cores.
type Gzip struct {
	w     io.Writer
	block []byte // not yet handed over
	tail  []byte // the end of the block before
	crc   uint32
	size  uint32
	queue chan chan piece // in order
	done  chan error
	fail  error
	once  sync.Once
}

// piece is a compressed block.
type piece struct {
	data []byte
	err  error
}

// NewGzip returns a writer whose stream goes to w. Close it to end the stream.
func NewGzip(w io.Writer) *Gzip {
	z := &Gzip{w: w, queue: make(chan chan piece, runtime.GOMAXPROCS(0)), done: make(chan error, 1)}
	go z.collect()
	return z
}

// collect writes the blocks in their order.
func (z *Gzip) collect() {
	_, err := z.w.Write(gzipHead[:])
	for next := range z.queue {
		p := <-next
		if err == nil {
			err = p.err
		}
		if err == nil {
			_, err = z.w.Write(p.data)
		}
	}
	z.done <- err
}

// Write compresses b. An error of the stream's writer comes from Close.
func (z *Gzip) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if z.block == nil {
			z.block = make([]byte, 0, gzipBlock)
		}
		m := min(len(b), gzipBlock-len(z.block))
		z.block = append(z.block, b[:m]...)
		if b = b[m:]; len(z.block) == gzipBlock {
			z.compress(false)
		}
	}
	return n, nil
}

// compress hands the block over.
func (z *Gzip) compress(last bool) {
	block, tail := z.block, z.tail
	z.crc = crc32.Update(z.crc, crc32.IEEETable, block)
	z.size += uint32(len(block)) // modulo 2^32, as the format has it
	z.block, z.tail = nil, block[max(0, len(block)-gzipWindow):]
	next := make(chan piece, 1)
	z.queue <- next // waits while all cores are busy
	go func() {
		data, err := deflate(block, tail, last)
		next <- piece{data, err}
	}()
}

func deflate(block, before []byte, last bool) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(block) / 2)
	w, err := flate.NewWriterDict(&b, flate.DefaultCompression, before)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(block); err != nil {
		return nil, err
	}
	if last {
		err = w.Close()
	} else {
		err = w.Flush() // ends at a whole byte
	}
	return b.Bytes(), err
}

// Close ends the stream. The writer below stays open.
func (z *Gzip) Close() error {
	z.once.Do(func() {
		z.compress(true)
		close(z.queue)
		if z.fail = <-z.done; z.fail != nil {
			return
		}
		end := binary.LittleEndian.AppendUint32(nil, z.crc)
		_, z.fail = z.w.Write(binary.LittleEndian.AppendUint32(end, z.size))
	})
	return z.fail
}
