package layer

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"

	"loper.run/image/oci"
	"loper.run/internal/confine"
)

// job is what a worker is told. Its standard input says how much of the file
// there is, its standard output is heard by a listener.
type job struct {
	Options
	MediaType string `json:"mediaType"`
	Algorithm string `json:"algorithm"`
	Stream    bool   `json:"stream"` // the file is no regular one
}

const (
	// last marks the final number of each pipe.
	last = 1 << 63
	// tellEvery is how many bytes are used up from one message to the next.
	tellEvery = 1 << 20
)

func (j job) work() error {
	debug.SetGCPercent(400) // of the few megabytes that are in use
	file := os.NewFile(confine.Dir+1, "layer")
	// It stays open: the filter refuses to change what has its number, and that
	// must not become a directory's.
	defer runtime.KeepAlive(file)
	var packed io.Reader = file
	if !j.Stream {
		packed = &allotted{told: os.Stdin, file: file}
	}
	t := &teller{w: os.Stdout}
	o, err := j.unpack(&counter{r: packed, step: tellEvery, told: t.used})
	o.failed(err)
	return t.report(o)
}

// unpack leaves its reading goroutine behind when it fails, which may wait for
// bytes that are long in coming: the process is about to end.
func (j job) unpack(packed io.Reader) (outcome, error) {
	algorithm := oci.SHA256
	if j.Algorithm == oci.SHA512.String() {
		algorithm = oci.SHA512
	}
	plain := algorithm.New()
	tar, err := Decompress(packed, j.MediaType)
	if err != nil {
		return outcome{}, err
	}
	u, err := newUnpacker(context.Background(), os.NewFile(confine.Dir, "directory"), io.TeeReader(tar, plain), j.Options)
	if err != nil {
		return outcome{}, err
	}
	u.alone, u.umask = true, 0
	if !j.UserXattr {
		u.special = &specials{index: map[string]int{}}
	}
	if err := u.run(); err != nil {
		return outcome{Result: u.res}, err
	}
	o := outcome{Result: u.res}
	o.Result.DiffID = oci.FromHash(algorithm, plain)
	if u.special != nil {
		o.Special = u.special.left()
	}
	return o, tar.Close()
}

// teller writes what a listener hears.
type teller struct {
	mu   sync.Mutex
	w    io.Writer
	done bool // nothing may follow
}

func (t *teller) used(n int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return nil
	}
	return number(t.w, uint64(n))
}

func (t *teller) report(o outcome) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = true
	if err := number(t.w, last|uint64(len(text))); err != nil {
		return err
	}
	_, err = t.w.Write(text)
	return err
}

// number sends one number through a pipe, in one write.
func number(w io.Writer, n uint64) error {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], n)
	_, err := w.Write(b[:])
	return err
}

// allot tells the worker how far the file may be read, until its end.
func allot(w io.Writer, limit func(off int64) (int64, error)) error {
	for off := int64(0); ; {
		end, err := limit(off)
		switch {
		case err == io.EOF:
			_ = number(w, last|uint64(off)) // a worker that has ended needs no number
			return nil
		case err != nil:
			return err
		case end <= off:
			return fmt.Errorf("the file's limit went from %d to %d", off, end)
		}
		if number(w, uint64(end)) != nil {
			return nil
		}
		off = end
	}
}

// whole is the limit of a file that doesn't grow.
func whole(f *os.File) func(int64) (int64, error) {
	return func(off int64) (int64, error) {
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		if off >= info.Size() {
			return 0, io.EOF
		}
		return info.Size(), nil
	}
}

// allotted reads a file as far as it was told to.
type allotted struct {
	told     io.Reader
	file     io.ReaderAt
	off, end int64
	done     bool // the file ends at end
	rest     int  // bytes of buf that are part of a number
	buf      [512]byte
}

func (a *allotted) Read(b []byte) (int, error) {
	for a.off == a.end {
		if a.done {
			return 0, io.EOF
		}
		if err := a.more(); err != nil {
			return 0, err
		}
	}
	n, err := a.file.ReadAt(b[:min(int64(len(b)), a.end-a.off)], a.off)
	a.off += int64(n)
	if n > 0 || err != io.EOF {
		return n, err
	}
	return 0, io.ErrUnexpectedEOF // somebody cut the file
}

var errAborted = errors.New("the caller gave up")

// more waits for numbers, of which the latest counts.
func (a *allotted) more() error {
	n, err := a.told.Read(a.buf[a.rest:])
	n += a.rest
	a.rest = n % 8
	for i := 0; i+8 <= n; i += 8 {
		v := binary.NativeEndian.Uint64(a.buf[i:])
		a.end, a.done = int64(v&^last), v&last != 0
	}
	copy(a.buf[:a.rest], a.buf[n-a.rest:n])
	if err == io.EOF && !a.done {
		return errAborted
	}
	if err == io.EOF {
		err = nil
	}
	return err
}
