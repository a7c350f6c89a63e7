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

// compression is what a stream is packed with, as a word for errors.
type compression string

const (
	plain     compression = ""
	gzipped   compression = "gzip"
	zstandard compression = "zstd"
	bzipped   compression = "bzip2"
	xzipped   compression = "xz"
)

func sniff(head []byte) compression {
	for _, k := range []struct {
		magic string
		kind  compression
	}{
		{"\x1f\x8b", gzipped}, {"\x28\xb5\x2f\xfd", zstandard}, {"BZh", bzipped}, {"\xfd7zXZ\x00", xzipped},
	} {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			return k.kind
		}
	}
	return plain
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
		if at, err := f.Seek(0, io.SeekCurrent); err == nil && at == 0 && sniff(head(Content{File: f, Size: st.Size()})) == plain {
			return f, nil
		}
	}
	defer f.Close()
	in := bufio.NewReaderSize(&stopper{ctx, f}, 1<<20)
	magic, err := in.Peek(8)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	unpacked, err := decompress(in, sniff(magic))
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

// decompress reads what in holds, ahead of its caller.
func decompress(in io.Reader, kind compression) (io.ReadCloser, error) {
	switch kind {
	case bzipped:
		in = layer.Bound(in, bzip2.NewReader)
	case xzipped:
		return nil, errors.New("archives compressed by xz are not supported: decompress it with 'xz -d'")
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
