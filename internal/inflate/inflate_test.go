package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	kgzip "github.com/klauspost/compress/gzip"
)

// texts are contents that compress in different ways.
func texts() map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	var words bytes.Buffer
	for words.Len() < 100_000 {
		fmt.Fprintf(&words, "%s %d ", []string{"the", "quick", "brown", "fox", "/usr/share/doc", "\x00\x00\x00"}[rnd.IntN(6)], rnd.IntN(1000))
	}
	var few bytes.Buffer
	for few.Len() < 50_000 {
		few.WriteByte("ab"[rnd.IntN(2)])
	}
	return map[string][]byte{
		"nothing": nil, "one": []byte("x"), "words": words.Bytes(), "random": random, "zeros": make([]byte, 300_000), "few": few.Bytes(),
		"periods": bytes.Repeat([]byte("abcdefghijklm"), 7_000), "pairs": bytes.Repeat([]byte("ab"), 100_000),
		"mixed": append(append(bytes.Clone(random[:70_000]), words.Bytes()[:70_000]...), random[:70_000]...),
	}
}

func same(t *testing.T, name string, packed, want []byte) {
	t.Helper()
	got, err := io.ReadAll(NewReader(bytes.NewReader(packed)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes for %d, %v", name, len(got), len(want), err)
	}
}

func TestLevels(t *testing.T) {
	for name, text := range texts() {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			var b, k bytes.Buffer
			w, _ := gzip.NewWriterLevel(&b, level)
			w.Write(text)
			w.Close()
			same(t, fmt.Sprint(name, level), b.Bytes(), text)
			kw, _ := kgzip.NewWriterLevel(&k, level)
			kw.Write(text[:len(text)/2])
			kw.Flush()
			kw.Write(text[len(text)/2:])
			kw.Close()
			same(t, fmt.Sprint(name, level, " klauspost"), k.Bytes(), text)
		}
	}
}

// TestPrograms reads what others write.
func TestPrograms(t *testing.T) {
	text := bytes.Join([][]byte{texts()["words"], texts()["mixed"], texts()["zeros"]}, nil)
	for _, command := range []string{"gzip -1", "gzip -6", "gzip -9", "pigz -p2 -b 128", "pigz -11 -p2", "zopfli -c --i1 /dev/stdin", "bgzip -c"} {
		words := strings.Fields(command)
		if _, err := exec.LookPath(words[0]); err != nil {
			t.Logf("needs %s", words[0])
			continue
		}
		c := exec.Command(words[0], words[1:]...)
		c.Stdin, c.Stderr = bytes.NewReader(text), os.Stderr
		packed, err := c.Output()
		if err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		same(t, command, packed, text)
	}
}

func pack(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.Bytes()
}

func TestReaders(t *testing.T) {
	text := texts()["mixed"]
	packed := pack(t, text)
	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(bytes.NewReader(packed)),
		"half":     iotest.HalfReader(bytes.NewReader(packed)),
		"with end": iotest.DataErrReader(bytes.NewReader(packed)),
	} {
		if got, err := io.ReadAll(NewReader(r)); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if got, err := io.ReadAll(iotest.OneByteReader(NewReader(bytes.NewReader(packed)))); err != nil || !bytes.Equal(got, text) {
		t.Errorf("read by single bytes: %d bytes, %v", len(got), err)
	}
	z := NewReader(iotest.TimeoutReader(iotest.HalfReader(bytes.NewReader(packed))))
	if _, err := io.ReadAll(z); err != iotest.ErrTimeout {
		t.Errorf("a source that fails: %v", err)
	}
	if err := iotest.TestReader(NewReader(bytes.NewReader(packed)), text); err != nil {
		t.Error(err)
	}
}

// TestCut cuts at every byte, and changes every one, and compares with two others.
func TestCut(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var b bytes.Buffer
	b.Write(pack(t, texts()["words"][:3000]))
	b.Write(pack(t, texts()["random"][:200]))
	b.Write(pack(t, nil))
	w, _ := gzip.NewWriterLevel(&b, gzip.HuffmanOnly)
	w.Name, w.Comment, w.Extra = "a name", "a comment", []byte("extra")
	w.Write(texts()["few"][:900])
	w.Close()
	packed := b.Bytes()
	for i := range packed {
		compare(t, packed[:i])
		changed := bytes.Clone(packed)
		changed[i] ^= 1 << rnd.IntN(8)
		compare(t, changed)
	}
}

// compare checks that the bytes before an error, and whether there is one, are
// what the standard library says. Another decoder, which sees fewer errors and
// others than that one, confirms what is right.
func compare(t *testing.T, packed []byte) {
	t.Helper()
	const most = 16 << 20
	got, err := io.ReadAll(io.LimitReader(NewReader(bytes.NewReader(packed)), most))
	var want []byte
	r, werr := gzip.NewReader(bytes.NewReader(packed))
	if werr == nil {
		want, werr = io.ReadAll(io.LimitReader(r, most))
	} else if werr == io.EOF {
		werr = nil
	}
	if (err == nil) != (werr == nil) {
		t.Errorf("%d bytes: error %v, compress/gzip has %v", len(packed), err, werr)
	}
	if !sameBytes(got, want, err, werr) {
		t.Errorf("%d bytes: %d bytes (%v), compress/gzip has %d (%v)", len(packed), len(got), err, len(want), werr)
	}
	k, kerr := kgzip.NewReader(bytes.NewReader(packed))
	if kerr != nil {
		return
	}
	if want, kerr = io.ReadAll(io.LimitReader(k, most)); kerr == nil && err == nil && !bytes.Equal(got, want) {
		t.Errorf("%d bytes: %d bytes (%v), klauspost has %d (%v)", len(packed), len(got), err, len(want), kerr)
	}
}

// sameBytes compares. Of a stream that is cut, the other doesn't always give the
// last symbols, although all their bits are there.
func sameBytes(got, want []byte, err, werr error) bool {
	if more := len(got) - len(want); (err == io.ErrUnexpectedEOF || werr == io.ErrUnexpectedEOF) && more > 0 && more <= 2*maxMatch {
		got = got[:len(want)]
	}
	return bytes.Equal(got, want)
}

func FuzzInflate(f *testing.F) {
	for _, text := range texts() {
		text = text[:min(len(text), 2000)]
		f.Add(pack(f, text))
	}
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 5, 0xe0, 0x81, 8})
	f.Fuzz(func(t *testing.T, packed []byte) { compare(t, packed) })
}

func BenchmarkInflate(b *testing.B) {
	path := os.Getenv("LOPER_TEST_GZIP")
	if path == "" {
		b.Skip("needs LOPER_TEST_GZIP, a file to read")
	}
	packed, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for _, one := range []struct {
		name string
		open func(io.Reader) io.Reader
	}{
		{"own", func(r io.Reader) io.Reader { return NewReader(r) }},
		{"klauspost", func(r io.Reader) io.Reader { z, _ := kgzip.NewReader(r); return z }},
	} {
		b.Run(one.name, func(b *testing.B) {
			buf := make([]byte, 512<<10)
			for b.Loop() {
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{one.open(bytes.NewReader(packed))}, buf)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n)
			}
		})
	}
}
