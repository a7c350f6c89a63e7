package logs

import (
	"bufio"
	"context"
	"io"
)

// Copy writes the chosen output to out and err as the container wrote it, byte
// for byte unless Query.Timestamps is set. A nil writer leaves its stream out.
func Copy(ctx context.Context, path string, q Query, stdout, stderr io.Writer) error {
	if q.Streams == 0 {
		q.Streams = Stdout | Stderr
	}
	c := copier{q: q}
	if stdout == nil {
		q.Streams &^= Stdout
	} else {
		c.out = bufio.NewWriterSize(stdout, 32<<10)
	}
	switch {
	case stderr == nil:
		q.Streams &^= Stderr
	case stderr == stdout:
		c.err = c.out // one buffer keeps the order
	default:
		c.err = bufio.NewWriterSize(stderr, 32<<10)
	}
	if q.Streams == 0 {
		return nil
	}
	err := read(ctx, path, q, c.emit, c.flush)
	if e := c.flush(); err == nil {
		err = e
	}
	return err
}

type copier struct {
	q        Query
	out, err *bufio.Writer
	last     Stream // what was written last
	within   Stream // streams that are inside a line
}

func (c *copier) emit(r Record) error {
	w := c.out
	if r.Stream == Stderr {
		w = c.err
	}
	// The streams may be the same file in the end: keep their order.
	if c.last != r.Stream {
		if err := c.flush(); err != nil {
			return err
		}
		c.last = r.Stream
	}
	if c.q.Timestamps && c.within&r.Stream == 0 {
		w.Write(r.Time.UTC().AppendFormat(w.AvailableBuffer(), timeFormat+" "))
	}
	_, err := w.Write(r.Data)
	if r.Partial {
		c.within |= r.Stream
	} else {
		c.within &^= r.Stream
		err = w.WriteByte('\n')
	}
	return err
}

func (c *copier) flush() error {
	for _, w := range []*bufio.Writer{c.out, c.err} {
		if w == nil {
			continue
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}
