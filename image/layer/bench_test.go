package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// sample is a layer like those of a distribution: a few large files, many
// small ones, in directories of about twelve.
func sample(b *testing.B, files int) []byte {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = "etaoin shrdlu\n{}();"[rnd.IntN(19)]
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := range files {
		dir := fmt.Sprintf("usr/share/pkg%d/dir%d/", i/200, i/12)
		h := &tar.Header{Typeflag: tar.TypeReg, Name: dir + fmt.Sprint("file", i), Mode: 0o644, ModTime: epoch, Size: int64(rnd.ExpFloat64() * 8000)}
		switch {
		case i%12 == 0:
			*h = tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch}
		case i%50 == 1:
			h.Size = int64(rnd.IntN(len(text)))
		case i%20 == 2:
			*h = tar.Header{Typeflag: tar.TypeSymlink, Name: h.Name, Linkname: "file1", ModTime: epoch}
		}
		if err := w.WriteHeader(h); err != nil {
			b.Fatal(err)
		}
		w.Write(text[:h.Size])
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func bench(b *testing.B, files int, size int, run func(dir string) error) {
	b.SetBytes(int64(size))
	for b.Loop() {
		b.StopTimer()
		base, err := os.MkdirTemp("", "bench-")
		if err != nil {
			b.Fatal(err)
		}
		root := filepath.Join(base, "root")
		if err := os.Mkdir(root, 0o700); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := run(root); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		os.RemoveAll(base)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(files), "µs/entry")
}

const benchFiles = 8000

func BenchmarkUnpack(b *testing.B) {
	stream := sample(b, benchFiles)
	bench(b, benchFiles, len(stream), func(dir string) error {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer d.Close()
		_, err = Unpack(context.Background(), d, bytes.NewReader(stream), here())
		return err
	})
}

// BenchmarkUnpackGzip is the whole way of a layer but for the network.
func BenchmarkUnpackGzip(b *testing.B) {
	stream := sample(b, benchFiles)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(stream)
	z.Close()
	bench(b, benchFiles, len(stream), func(dir string) error {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer d.Close()
		r, err := Decompress(bytes.NewReader(packed.Bytes()), ociGzip)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = Unpack(context.Background(), d, r, here())
		return err
	})
}

// BenchmarkTar is GNU tar with the same stream.
func BenchmarkTar(b *testing.B) {
	if _, err := exec.LookPath("tar"); err != nil {
		b.Skip("needs GNU tar")
	}
	stream := sample(b, benchFiles)
	bench(b, benchFiles, len(stream), func(dir string) error {
		c := exec.Command("tar", "-C", dir, "--numeric-owner", "-xp")
		c.Stdin = bytes.NewReader(stream)
		return c.Run()
	})
}

func BenchmarkDecompressGzip(b *testing.B) {
	stream := sample(b, benchFiles)
	packed := zipped(b, stream)
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		r, err := Decompress(bytes.NewReader(packed), ociGzip)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}

func BenchmarkRemoveTree(b *testing.B) {
	stream := sample(b, benchFiles)
	for b.Loop() {
		b.StopTimer()
		base, err := os.MkdirTemp("", "bench-")
		if err != nil {
			b.Fatal(err)
		}
		os.Mkdir(filepath.Join(base, "root"), 0o700)
		root, _ := os.Open(filepath.Join(base, "root"))
		if _, err := Unpack(context.Background(), root, bytes.NewReader(stream), here()); err != nil {
			b.Fatal(err)
		}
		d, _ := os.Open(base)
		b.StartTimer()
		if err := RemoveTree(d, "root"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		d.Close()
		root.Close()
		os.RemoveAll(base)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchFiles, "µs/entry")
}

// BenchmarkWorker is what a layer costs that has nothing in it.
func BenchmarkWorker(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "layer"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	f.Write(archive(b))
	d, err := os.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	for b.Loop() {
		if _, err := UnpackFile(b.Context(), d, Source{File: f}, here()); err != nil {
			b.Fatal(err)
		}
	}
}
