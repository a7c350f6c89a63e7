package logs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, c Config) *Writer {
	t.Helper()
	w, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func write(t *testing.T, w *Writer, s Stream, text string) {
	t.Helper()
	if err := w.Write(s, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func read1(t *testing.T, path string, q Query) string {
	t.Helper()
	var out bytes.Buffer
	if err := Copy(context.Background(), path, q, &out, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	w := open(t, Config{Path: path})
	w.now = func() time.Time { return time.Unix(1700000000, 5).In(time.FixedZone("x", 3600)) }
	write(t, w, Stdout, "one\n\ntw")
	write(t, w, Stderr, "bad")
	write(t, w, Stdout, "o\n")
	got, _ := os.ReadFile(path)
	const at = "2023-11-14T22:13:20.000000005Z "
	want := at + "stdout F one\n" + at + "stdout F \n" + at + "stdout P tw\n" + at + "stderr P bad\n" + at + "stdout F o\n"
	if string(got) != want {
		t.Errorf("log is\n%swant\n%s", got, want)
	}
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v", fi.Mode())
	}
	var out, err bytes.Buffer
	if e := Copy(context.Background(), path, Query{}, &out, &err); e != nil {
		t.Fatal(e)
	}
	if out.String() != "one\n\ntwo\n" || err.String() != "bad" {
		t.Errorf("stdout %q, stderr %q", out.String(), err.String())
	}
	if got := read1(t, path, Query{Timestamps: true, Streams: Stdout}); got != at+"one\n"+at+"\n"+at+"two\n" {
		t.Errorf("with timestamps: %q", got)
	}
}

func TestBinary(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	w := open(t, Config{Path: path})
	var want []byte
	for i := range 70000 {
		want = append(want, byte(i*7+i>>8))
	}
	for p := want; len(p) > 0; {
		n := min(len(p), 4093)
		write(t, w, Stdout, string(p[:n]))
		p = p[n:]
	}
	if got := read1(t, path, Query{}); got != string(want) {
		t.Error("binary output changed")
	}
}

// Rotation happens between records, and at exactly the bound.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	w := open(t, Config{Path: path, MaxSize: 100, MaxFiles: 3})
	head := len("2023-11-14T22:13:20.000000005Z stdout F ") // a record is head + text + newline
	text := strings.Repeat("x", 50-head-1)
	for i := range 7 { // two fit a file exactly
		write(t, w, Stdout, fmt.Sprintf("%d%s\n", i, text[1:]))
	}
	for n, want := range []int64{50, 100, 100} {
		if fi, err := os.Stat(older(path, n)); err != nil || fi.Size() != want {
			t.Errorf("file %d: %v, %v, want %d bytes", n, fi, err, want)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 3 {
		t.Errorf("%d files, want 3", len(files))
	}
	if got := strings.Fields(strings.ReplaceAll(read1(t, path, Query{}), "x", "")); strings.Join(got, "") != "23456" {
		t.Errorf("kept lines %v, want 2 to 6", got)
	}
	// One longer than the bound has a file of its own and is kept whole.
	write(t, w, Stdout, strings.Repeat("y", 300)+"\n")
	if got := read1(t, path, Query{Tail: 1}); len(got) != 301 {
		t.Errorf("long line has %d bytes", len(got))
	}
	// All at once, through the writer's buffer.
	write(t, w, Stdout, strings.Repeat("0123456\n", 5000))
	for n := range 3 {
		if fi, err := os.Stat(older(path, n)); err != nil || fi.Size() > 100 {
			t.Errorf("file %d: %v %v", n, fi.Size(), err)
		}
	}
}

func TestOneFile(t *testing.T) {
	dir := t.TempDir()
	w := open(t, Config{Path: filepath.Join(dir, FileName), MaxSize: 200, MaxFiles: 1})
	for i := range 50 {
		write(t, w, Stdout, fmt.Sprintln("line", i))
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 1 {
		t.Errorf("%d files, want 1", len(files))
	}
	if got := read1(t, w.c.Path, Query{}); !strings.HasSuffix(got, "line 49\n") {
		t.Errorf("last lines: %q", got)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	w := open(t, Config{Path: path, MaxSize: 4 << 10, MaxFiles: 100})
	var lines []string
	for i := range 1000 {
		line := fmt.Sprintf("%d %s\n", i, strings.Repeat("z", i%97))
		lines = append(lines, line)
		write(t, w, Stdout, line[:len(line)/2])
		write(t, w, Stdout, line[len(line)/2:])
		if i%3 == 0 {
			write(t, w, Stderr, "noise\n")
		}
	}
	for _, n := range []int{1, 2, 50, 999, 1000, 2000} {
		want := strings.Join(lines[max(0, 1000-n):], "")
		if got := read1(t, path, Query{Tail: n, Streams: Stdout}); got != want {
			t.Errorf("tail %d: %d bytes, want %d", n, len(got), len(want))
		}
	}
	if got := read1(t, path, Query{Tail: -1}); got != "" {
		t.Errorf("tail none: %q", got)
	}
	write(t, w, Stdout, "no newline")
	if got := read1(t, path, Query{Tail: 2, Streams: Stdout}); got != lines[999]+"no newline" {
		t.Errorf("tail with an open line: %q", got)
	}
}

func TestSinceUntil(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	w := open(t, Config{Path: path, MaxSize: 200, MaxFiles: 10})
	for i := range 10 {
		w.now = func() time.Time { return time.Unix(int64(100+i), 0) }
		write(t, w, Stdout, fmt.Sprint(i, "\n"))
	}
	q := Query{Since: time.Unix(103, 0), Until: time.Unix(106, 0)}
	if got := read1(t, path, q); got != "3\n4\n5\n6\n" {
		t.Errorf("since and until: %q", got)
	}
}

// A writer that was killed in the middle of a record leaves the others whole.
func TestTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	const good = "2023-11-14T22:13:20.5Z stdout F "
	for _, torn := range []string{"2", "2023-11-14T22:13:20Z stdo", good + "hel", "\x00\x00\x00"} {
		os.WriteFile(path, []byte(good+"first\n"+torn), 0o600)
		for _, q := range []Query{{}, {Tail: 1}} {
			if got := read1(t, path, q); got != "first\n" {
				t.Errorf("%q: read %q", torn, got)
			}
		}
		w := open(t, Config{Path: path})
		write(t, w, Stdout, "next\n")
		if got := strings.ReplaceAll(read1(t, path, Query{}), "hel\n", ""); got != "first\nnext\n" {
			t.Errorf("%q: after going on read %q", torn, got)
		}
	}
	if got := read1(t, filepath.Join(t.TempDir(), "none"), Query{Tail: 3}); got != "" {
		t.Errorf("no file: %q", got)
	}
}

func TestLongForeignLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	const good = "2023-11-14T22:13:20.5Z stdout F "
	os.WriteFile(path, []byte(good+"a\n"+good+strings.Repeat("x", 3*maxLine)+"\n"+good+"b\n"), 0o600)
	if got := read1(t, path, Query{}); got != "a\nb\n" {
		t.Errorf("forward: %d bytes", len(got))
	}
	if got := read1(t, path, Query{Tail: 2}); got != "a\nb\n" {
		t.Errorf("tail: %d bytes", len(got))
	}
}

// A full disk drops output, and the records after it are whole again.
func TestFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	path := filepath.Join(t.TempDir(), FileName)
	w := open(t, Config{Path: path})
	write(t, w, Stdout, "a\n")
	real := w.fd
	f, _ := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	defer f.Close()
	w.fd = int(f.Fd())
	if w.Write(Stdout, []byte("lost\n")) == nil {
		t.Error("no error from a full disk")
	}
	w.fd = real
	write(t, w, Stdout, "b\n")
	if got := read1(t, path, Query{}); got != "a\nb\n" {
		t.Errorf("read %q", got)
	}
}

func TestParse(t *testing.T) {
	c, err := Parse("json-file", map[string]string{"max-size": "20m", "max-file": "5"})
	if err != nil || c.MaxSize != 20<<20 || c.MaxFiles != 5 || !c.Enabled() {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := Parse("none", nil); err != nil || c.Enabled() {
		t.Errorf("none: %+v, %v", c, err)
	}
	for _, bad := range []map[string]string{{"max-size": "x"}, {"max-size": "0"}, {"max-file": "0"}, {"tag": "x"}} {
		if _, err := Parse("", bad); err == nil {
			t.Errorf("%v accepted", bad)
		}
	}
	if _, err := Parse("syslog", nil); err == nil {
		t.Error("syslog accepted")
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("2023-11-14T22:13:20.5Z stdout F hello"))
	f.Add([]byte("2023-11-14T22:13:20.5+01:00 stderr P:x "))
	f.Add([]byte("stdout F"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRecord(line)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(line, r.Data) {
			t.Errorf("data %q is not the end of %q", r.Data, line)
		}
		if r.Time.Year() >= 0 && r.Time.Year() <= 9999 {
			tag := " F "
			if r.Partial {
				tag = " P "
			}
			again, err := ParseRecord([]byte(r.Time.Format(timeFormat) + " " + r.Stream.String() + tag + string(r.Data)))
			if err != nil || !again.Time.Equal(r.Time) || again.Partial != r.Partial || !bytes.Equal(again.Data, r.Data) {
				t.Errorf("%q: %+v, again %+v, %v", line, r, again, err)
			}
		}
	})
}

// Forward and backward reading see the same lines of any file.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		file.WriteAt(data, 0)
		var fwd, back []string
		l := lines{f: file}
		for {
			line, err := l.next()
			if err != nil {
				break
			}
			fwd = append(fwd, string(line))
		}
		b, err := newBackward(file)
		if err != nil {
			t.Fatal(err)
		}
		for {
			line, at, err := b.next()
			if err != nil {
				break
			}
			if !bytes.HasPrefix(data[at:], append(bytes.Clone(line), '\n')) {
				t.Fatalf("line %q is not at %d", line, at)
			}
			back = append([]string{string(line)}, back...)
		}
		if strings.Join(fwd, "|") != strings.Join(back, "|") {
			t.Errorf("forward %q, backward %q", fwd, back)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	w, err := Open(Config{Path: filepath.Join(b.TempDir(), FileName)})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	chunk := []byte(strings.Repeat("a line of a usual length, such as programs print it to a log\n", 512))
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		w.Write(Stdout, chunk)
	}
}
