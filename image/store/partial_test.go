package store

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func partial(t *testing.T, s *Store, what string) *Partial {
	t.Helper()
	p, err := s.Partial(t.Context(), digest(what))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func keep(t *testing.T, p *Partial, text string, off int64) {
	t.Helper()
	if n, err := p.WriteAt([]byte(text), off); err != nil || n != len(text) {
		t.Fatalf("write at %d: %d, %v", off, n, err)
	}
}

func TestPartialResumes(t *testing.T) {
	s := open(t)
	p := partial(t, s, "download")
	keep(t, p, "first ", 0)
	keep(t, p, "third", 12)
	if p.Size() != 11 || p.Front() != 6 || p.End() != 17 || !slices.Equal(p.Missing(20), []Span{{6, 12}, {17, 20}}) {
		t.Errorf("size %d, front %d, end %d, missing %v", p.Size(), p.Front(), p.End(), p.Missing(20))
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Partial(short, digest("download")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held download was opened: %v", err)
	}
	next := make(chan *Partial)
	go func() {
		p, _ := s.Partial(context.Background(), digest("download"))
		next <- p
	}()
	time.Sleep(20 * time.Millisecond)
	p.Close()
	p.Close()
	p = <-next
	if p == nil || p.Size() != 11 || !slices.Equal(p.Missing(17), []Span{{6, 12}}) {
		t.Fatalf("resumed with %+v", p)
	}
	keep(t, p, "NEVERsecondNEVER", 1)
	all := make([]byte, 17)
	if p.ReadAt(all, 0); string(all) != "first secondthird" || p.Front() != 17 {
		t.Errorf("what is there was written again, or what was missing not: %q", all)
	}
	if err := p.Publish(); err != nil {
		t.Fatal(err)
	}
	if names := partials(t, s); len(names) != 0 {
		t.Errorf("left over: %v", names)
	}

	p = partial(t, s, "download")
	if p.Size() != 0 {
		t.Fatalf("a finished download has %d bytes", p.Size())
	}
	keep(t, p, "wrong", 0)
	if err := p.Reset(); err != nil || p.Size() != 0 {
		t.Error(p.Size(), err)
	}
	keep(t, p, "ok", 0)
	if data, _ := os.ReadFile(p.path); string(data) != "ok" {
		t.Errorf("after a reset: %q", data)
	}
	if p.Remove(); len(partials(t, s)) != 0 {
		t.Errorf("left over: %v", partials(t, s))
	}
}

func partials(t *testing.T, s *Store) []string {
	t.Helper()
	names, err := readNames(s.path(partialDir))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// What a killed process wrote is known to the next one, but for the last bytes
// before its death.
func TestPartialSurvivesAKill(t *testing.T) {
	s := open(t)
	p := partial(t, s, "x")
	chunk := strings.Repeat("x", 1<<18)
	for i := range int64(10) {
		keep(t, p, chunk, i<<18)
		keep(t, p, chunk, 10<<20+i<<18)
	}
	// The kill: the file is closed, and nothing is said any more.
	p.note.close()
	p.f.Close()
	again := partial(t, s, "x")
	if lost := p.Size() - again.Size(); lost < 0 || lost > noteEvery {
		t.Errorf("%d bytes of %d are forgotten", lost, p.Size())
	}
	if len(again.have) != 2 || again.have[1].From != 10<<20 {
		t.Errorf("it knows of %v", again.have)
	}
}

// After a power cut only what was synced counts.
func TestPartialSurvivesAPowerCut(t *testing.T) {
	s := open(t)
	p := partial(t, s, "x")
	sync := func() {
		p.note.synced = time.Now().Add(-syncEvery)
	}
	reboot := func() *Partial {
		t.Helper()
		p.Close()
		data, err := os.ReadFile(p.note.path)
		if err != nil {
			t.Fatal(err)
		}
		boot, _ := json.Marshal(bootID())
		other, _ := json.Marshal(strings.Repeat("0", len(bootID())))
		if err := os.WriteFile(p.note.path, []byte(strings.Replace(string(data), string(boot), string(other), 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		p = partial(t, s, "x")
		return p
	}
	sync()
	keep(t, p, "synced", 100)
	keep(t, p, "not", 200)
	if p = reboot(); !slices.Equal(p.have, spans{{100, 106}}) {
		t.Errorf("after a power cut it knows of %v", p.have)
	}
	for i := range int64(4) { // each note takes the other's place
		sync()
		keep(t, p, "more", 300+10*i)
		p.note.work.Wait()
	}
	data, err := os.ReadFile(p.note.path)
	if err != nil {
		t.Fatal(err)
	}
	if p = reboot(); len(p.have) != 5 {
		t.Errorf("it knows of %v", p.have)
	}
	// A note that was being written counts for nothing, the one before does.
	newest := 1 - p.note.turn
	p.Close()
	copy(data[newest*noteSize:], make([]byte, 30))
	if err := os.WriteFile(p.note.path, data[:2*noteSize], 0o600); err != nil {
		t.Fatal(err)
	}
	if p = partial(t, s, "x"); len(p.have) != 4 {
		t.Errorf("with one torn note it knows of %v", p.have)
	}
}

// Notes that lie are no more than bytes that lie: nothing beyond the file's end.
func TestPartialDoubtsNotes(t *testing.T) {
	s := open(t)
	for _, text := range []string{
		"", "\n", "{}\n", "garbage", `{"synced":true,"ranges":[[0,5]]}`, // no line
		`{"synced":true,"ranges":[[-5,3],[9,9],[7,2],[4,99999],[1,2],[0,1]]}` + "\n",
		`{"synced":true,"ranges":[[9223372036854775807,-9223372036854775808]]}` + "\n",
		`{"boot":"","ranges":[[0,5]]}` + "\n", `{"boot":"other","ranges":[[0,5]]}` + "\n",
		strings.Repeat("x", 100_000),
	} {
		p := partial(t, s, "x")
		keep(t, p, "0123456789", 0)
		p.Close()
		if err := os.WriteFile(p.note.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p = partial(t, s, "x")
		want := spans(nil)
		if strings.Contains(text, "99999") {
			want = spans{{0, 2}, {4, 10}}
		}
		if !slices.Equal(p.have, want) {
			t.Errorf("%.60q: it knows of %v, want %v", text, p.have, want)
		}
		p.Remove()
	}
	p := partial(t, s, "x")
	p.Close()
	os.Remove(p.note.path)
	if err := os.Symlink("/etc/passwd", p.note.path); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(p.path, []byte("abc"), 0o600)
	p = partial(t, s, "x")
	keep(t, p, "d", 3)
	p.note.say(p.have)
	if p.Close(); p.note.f != nil {
		t.Error("a link was followed")
	}
}

func TestSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var l spans
		have := make([]bool, 60)
		for range r.IntN(12) {
			from := r.Int64N(59)
			to := from + r.Int64N(60-from)
			l = l.add(Span{from, to})
			for i := from; i < to; i++ {
				have[i] = true
			}
			from = r.Int64N(60)
			to = from + r.Int64N(60-from) + 1
			missing := make([]bool, 60)
			for _, g := range l.within(from, to) {
				for i := g.From; i < g.To; i++ {
					missing[i] = true
				}
			}
			n := int64(0)
			for i := range have {
				if have[i] {
					n++
				}
				if in := int64(i) >= from && int64(i) < to; missing[i] != (in && !have[i]) {
					t.Fatalf("%v: between %d and %d: missing are %v", l, from, to, l.within(from, to))
				}
			}
			front := int64(slices.Index(append(have, false), false))
			if l.size() != n || l.front() != front {
				t.Fatalf("%v: size %d, front %d", l, l.size(), l.front())
			}
			for i := range l {
				if l[i].Len() <= 0 || i > 0 && l[i-1].To >= l[i].From {
					t.Fatalf("not in order: %v", l)
				}
			}
		}
	}
}
