package layer

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

const (
	ociTar  = "application/vnd.oci.image.layer.v1.tar"
	ociGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
	ociZstd = "application/vnd.oci.image.layer.v1.tar+zstd"
	docker  = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

func TestDecompress(t *testing.T) {
	data := make([]byte, 3<<20+5)
	for i := range data {
		data[i] = byte(rand.IntN(8)) + byte(i>>12)
	}
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0}, "skip"...)
	gz, zs := zipped(t, data), zstded(t, data)
	two := append(zipped(t, data[:1<<20]), zipped(t, data[1<<20:])...)
	for _, c := range []struct {
		name, mediaType string
		in              []byte
		want            string
	}{
		{"plain", ociTar, data, ""},
		{"gzip", ociGzip, gz, ""},
		{"gzip with a parameter", ociGzip + "; q=1", gz, ""},
		{"zstd", ociZstd, zs, ""},
		{"docker gzip", docker, gz, ""},
		{"docker gzip that is zstd", docker, zs, ""},
		{"docker gzip that is plain", docker, data, ""},
		{"foreign", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", gz, ""},
		{"no type", "", zs, ""},
		{"no type, skippable frame first", "", append(skippable, zs...), ""},
		{"two gzip members", ociGzip, two, ""},
		{"two zstd frames", ociZstd, append(zstded(t, data[:1<<20]), zstded(t, data[1<<20:])...), ""},
		{"cut gzip", ociGzip, gz[:len(gz)-100], "unexpected EOF"},
		{"cut in the gzip header", ociGzip, gz[:5], "EOF"},
		{"cut zstd", ociZstd, zs[:len(zs)-100], "unexpected EOF"},
		{"garbage after gzip", ociGzip, append(bytes.Clone(gz), "garbage garbage"...), "invalid header"},
		{"garbage after zstd", ociZstd, append(bytes.Clone(zs), "garbage garbage"...), "magic"},
		{"wrong checksum", ociGzip, append(bytes.Clone(gz[:len(gz)-8]), 1, 2, 3, 4, 5, 6, 7, 8), "invalid checksum"},
		{"gzip is promised", ociGzip, data, "invalid header"},
		{"unknown type", "application/x-tar\n", data, `unknown media type "application/x-tar\n"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Decompress(iotest.HalfReader(bytes.NewReader(c.in)), c.mediaType)
			var got []byte
			if err == nil {
				defer r.Close()
				got, err = io.ReadAll(r)
			}
			if c.want == "" && (err != nil || !bytes.Equal(got, data)) {
				t.Errorf("%d bytes, error %v", len(got), err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestDecompressWindow(t *testing.T) {
	// A frame header that asks for a window of 1 GiB.
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 1, 0, 0}
	r, err := Decompress(bytes.NewReader(frame), ociZstd)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestDecompressBomb(t *testing.T) {
	bomb := zipped(t, make([]byte, 64<<20))
	r, err := decompress(bytes.NewReader(bomb), ociGzip, 8<<20, 250)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if !errors.Is(err, ErrBomb) || n > 16<<20 {
		t.Errorf("%d bytes, error %v", n, err)
	}
}

func TestDecompressCloseEarly(t *testing.T) {
	in := &counter{r: io.LimitReader(zeroes{}, 1<<40)}
	r, err := Decompress(in, ociTar)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		t.Fatal(err)
	}
	r.Close()
	after := in.n
	if _, err := io.Copy(io.Discard, r); err == nil || err == io.EOF {
		t.Error("a closed stream ends like a whole one")
	}
	if in.n != after {
		t.Error("the source is read after Close")
	}
	r.Close()
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }
