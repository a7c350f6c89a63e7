package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/image/layer"
)

// Compression is what a stream is packed with, as a word for people.
type Compression string

// The compressions that are recognized.
const (
	Plain Compression = ""
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
	Bzip2 Compression = "bzip2"
	Xz    Compression = "xz"
)

// Sniff tells the compression by how a stream begins, eight bytes at least.
func Sniff(head []byte) Compression {
	for _, k := range [...]struct {
		magic string
		kind  Compression
	}{
		{"\x1f\x8b", Gzip}, {"\x28\xb5\x2f\xfd", Zstd}, {"BZh", Bzip2}, {"\xfd7zXZ\x00", Xz},
	} {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			return k.kind
		}
	}
	return Plain
}

// seekable returns f itself when all of it can be read in any order, or else a
// copy, decompressed. It closes f when it doesn't return it.
func seekable(ctx context.Context, f *os.File, temp string) (*os.File, error) {
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	regular := st.Mode().IsRegular()
	if regular {
		// A file on standard input may have been read from already.
		if at, err := f.Seek(0, io.SeekCurrent); err == nil && at == 0 && Sniff(head(Content{File: f, Size: st.Size()})) == Plain {
			return f, nil
		}
	}
	defer f.Close()
	in := bufio.NewReaderSize(&stopper{ctx, f}, 1<<20)
	magic, err := in.Peek(8)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	unpacked, err := Decompress(in, Sniff(magic))
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	defer unpacked.Close()
	out, err := nameless(temp)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, unpacked, make([]byte, 1<<20)); err != nil {
		out.Close()
		return nil, fmt.Errorf("read archive: %w", err)
	}
	return out, nil
}

// Decompress reads what in holds, ahead of its caller, and ends with
// layer.ErrBomb when that is far too much.
func Decompress(in io.Reader, kind Compression) (io.ReadCloser, error) {
	switch kind {
	case Bzip2:
		in = layer.Bound(in, bzip2.NewReader)
	case Xz:
		return nil, errors.New("xz is not supported: decompress it with 'xz -d'")
	}
	return layer.Decompress(in, "")
}

// nameless makes a file that goes away with its last descriptor, however that
// comes about.
func nameless(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if err == nil {
		return f, nil
	}
	if f, err = os.CreateTemp(dir, ".archive.*"); err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
