package logs

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Query chooses records of a log. The zero value is all that is there now.
type Query struct {
	Tail       int       // only so many of the last lines; 0: all, negative: none
	Since      time.Time // only records of that time or later
	Until      time.Time // only records of that time or earlier; zero: no end
	Streams    Stream    // 0: both
	Timestamps bool      // Copy puts the time before each line

	// Follow goes on with what the container writes until the context is
	// done or Lock, the monitor's lock file, is free.
	Follow bool
	Lock   string // "": only the context ends it
}

// Read hands the chosen records to emit, oldest first. A log that was never
// written is empty. A torn or foreign line is skipped. It returns emit's error,
// or the context's.
func Read(ctx context.Context, path string, q Query, emit func(Record) error) error {
	return read(ctx, path, q, emit, func() error { return nil })
}

// read is Read, with a function that is called before it waits for more.
func read(ctx context.Context, path string, q Query, emit func(Record) error, idle func() error) error {
	if q.Streams == 0 {
		q.Streams = Stdout | Stderr
	}
	var follow *follower
	if q.Follow {
		// Before the files are read, so that no change is missed.
		var err error
		if follow, err = newFollower(path, q.Lock); err != nil {
			return err
		}
		defer follow.close()
	}
	files, err := openAll(path)
	if err != nil {
		return err
	}
	if q.Tail != 0 {
		all := files
		if files, err = seekTail(files, max(q.Tail, 0), q.Streams); err != nil {
			closeAll(all)
			return err
		}
	}
	r := reader{ctx: ctx, path: path, q: q, emit: emit, idle: idle}
	defer func() { r.close() }()
	for i, f := range files {
		r.open(f)
		if err := r.rest(); err != nil {
			closeAll(files[i+1:])
			return end(err)
		}
	}
	if follow == nil {
		return nil
	}
	return end(r.follow(follow))
}

// errPast ends the reading at Query.Until.
var errPast = errors.New("past the end of the query")

func end(err error) error {
	if err == errPast {
		return nil
	}
	return err
}

// reader reads the files of a log one after the other.
type reader struct {
	ctx  context.Context
	path string
	q    Query
	emit func(Record) error
	idle func() error
	l    lines
}

func (r *reader) open(f *os.File) {
	r.close()
	r.l = lines{f: f, buf: r.l.buf}
}

func (r *reader) close() {
	if r.l.f != nil {
		r.l.f.Close()
	}
}

// rest hands on the records up to the present end of the file.
func (r *reader) rest() error {
	for r.l.f != nil {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		line, err := r.l.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		rec, err := ParseRecord(line)
		switch {
		case err != nil, rec.Stream&r.q.Streams == 0, rec.Time.Before(r.q.Since):
			continue
		case !r.q.Until.IsZero() && rec.Time.After(r.q.Until):
			return errPast
		}
		if err := r.emit(rec); err != nil {
			return err
		}
	}
	return nil
}
