package image

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"loper.run/image/oci"
)

// bigNoise is noise that is made once.
var bigNoise = func() func(int) string {
	made := map[int]string{}
	return func(n int) string {
		if made[n] == "" {
			made[n] = noise(n)
		}
		return made[n]
	}
}()

// line is a slow line of a fake registry: a handler of one blob that counts
// what it sends and how many connections there are at once.
type line struct {
	f     *fake
	l     testLayer
	body  []byte
	pace  time.Duration // for 64 KiB of one connection
	cutAt int           // breaks each answer off after so many bytes; 0: never

	sent    atomic.Int64
	mu      sync.Mutex
	now     int
	most    int
	ranges  []string
	answers func(w http.ResponseWriter, r *http.Request, nth int) bool
}

func slowLine(t testing.TB, size int, pace time.Duration) *line {
	s := &line{f: newFake(t), pace: pace}
	s.l = plain(t, "a", bigNoise(size))
	s.body = s.l.packed
	s.f.image(t, "latest", oci.Host(), s.l)
	s.f.fault = s.serve
	return s
}

func (s *line) serve(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, blobOf(s.l)) {
		return false
	}
	s.mu.Lock()
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	nth := len(s.ranges)
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	if s.answers != nil && s.answers(w, r, nth) {
		return true
	}
	http.ServeContent(&paced{w, s, 0}, r, "", time.Time{}, bytes.NewReader(s.body))
	return true
}

type paced struct {
	http.ResponseWriter
	s    *line
	sent int
}

func (p *paced) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		n, err := p.ResponseWriter.Write(b[done:min(done+64<<10, len(b))])
		done += n
		p.sent += n
		p.s.sent.Add(int64(n))
		if p.s.cutAt > 0 && p.sent >= p.s.cutAt {
			panic(http.ErrAbortHandler)
		}
		if err != nil {
			return done, err
		}
		time.Sleep(p.s.pace)
	}
	return len(b), nil
}

// A large blob comes in over several connections when one is slow.
func TestPullSplits(t *testing.T) {
	s, store := slowLine(t, 40<<20, 3*time.Millisecond), open(t)
	began := time.Now()
	img, err := store.Pull(t.Context(), s.f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if read(t, img, "a") != bigNoise(40<<20) {
		t.Error("the content differs")
	}
	alone := time.Duration(len(s.body)/(64<<10)) * s.pace
	t.Logf("%v; over one line it takes %v; ranges %q", time.Since(began), alone, s.ranges)
	if s.most < 2 || s.most > maxLines {
		t.Errorf("%d connections at most", s.most)
	}
	// What the kernel had taken of the first answer when it was cut short comes twice.
	if extra := s.sent.Load() - int64(len(s.body)); extra > 8<<20 {
		t.Errorf("%d bytes were sent twice", extra)
	}
}

// Over a line that gets no faster by them there are no more connections.
func TestPullSplitsOnlyWhereItHelps(t *testing.T) {
	s, store := slowLine(t, 40<<20, 0), open(t)
	var line sync.Mutex
	s.answers = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		http.ServeContent(&shared{w, &line}, r, "", time.Time{}, bytes.NewReader(s.body))
		return true
	}
	if _, err := store.Pull(t.Context(), s.f.name(), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.most > 3 {
		t.Errorf("%d connections on a line that one fills", s.most)
	}
}

// shared lets one connection send at a time.
type shared struct {
	http.ResponseWriter
	line *sync.Mutex
}

func (s *shared) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		s.line.Lock()
		n, err := s.ResponseWriter.Write(b[done:min(done+64<<10, len(b))])
		time.Sleep(3 * time.Millisecond)
		s.line.Unlock()
		done += n
		if err != nil {
			return done, err
		}
	}
	return len(b), nil
}

// Several registries that know no ranges, or give others than were asked for.
func TestPullWithoutRanges(t *testing.T) {
	lie := func(header string, from func(first, last int) (int, int)) func(s *line, w http.ResponseWriter, r *http.Request) bool {
		return func(s *line, w http.ResponseWriter, r *http.Request) bool {
			var first, last int
			if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last); n < 2 {
				return false
			}
			a, b := from(first, last)
			w.Header().Set("Content-Range", fmt.Sprintf(header, a, b, len(s.body)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(s.body[a : b+1])
			return true
		}
	}
	for name, answer := range map[string]func(s *line, w http.ResponseWriter, r *http.Request) bool{
		"ignored": func(s *line, w http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Range")
			return false
		},
		"refused": func(s *line, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		},
		"another": lie("bytes %d-%d/%d", func(first, last int) (int, int) { return first - 1, last - 1 }),
		"more":    lie("bytes %d-%d/%d", func(first, last int) (int, int) { return first, last + 1 }),
		"none":    lie("%.0[1]d%.0[2]d%.0[3]d", func(first, last int) (int, int) { return first, last }),
	} {
		t.Run(name, func(t *testing.T) {
			s, store := slowLine(t, 34<<20, 2*time.Millisecond), open(t)
			s.answers = func(w http.ResponseWriter, r *http.Request, _ int) bool { return answer(s, w, r) }
			img, err := store.Pull(t.Context(), s.f.name(), PullOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if read(t, img, "a") != bigNoise(34<<20) {
				t.Error("the content differs")
			}
			if len(s.ranges) < 2 {
				t.Errorf("no range was asked for: %q", s.ranges)
			}
			t.Logf("%q", s.ranges)
		})
	}
}

// Ranges of something else are found out by the digest; nothing of the blob is
// believed any more, and it comes over one connection.
func TestPullLyingRanges(t *testing.T) {
	s, store := slowLine(t, 34<<20, 2*time.Millisecond), open(t)
	always := false
	s.answers = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if !always && r.Header.Get("Range") == "" {
			return false
		}
		bad := bytes.Clone(s.body)
		for i := range 100 {
			bad[(i+1)*len(bad)/101] ^= 1
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(bad))
		return true
	}
	always = true
	_, err := store.Pull(t.Context(), s.f.name(), PullOptions{})
	wantError(t, err, "digest mismatch")
	wantNothing(t, store)
	always, s.ranges = false, nil
	if img, err := store.Pull(t.Context(), s.f.name(), PullOptions{}); err != nil || read(t, img, "a") != bigNoise(34<<20) {
		t.Errorf("the next pull: %v", err)
	}
	t.Logf("%q", s.ranges)
	if n := len(s.ranges); n < 3 || s.ranges[0] != "" || s.ranges[n-1] != "" {
		t.Errorf("what is bad was kept, or no range asked for: %q", s.ranges)
	}
}

// Connections that break off again and again cost no byte twice but for what
// was on its way.
func TestPullOverABadLine(t *testing.T) {
	s, store := slowLine(t, 40<<20, time.Millisecond), open(t)
	s.cutAt = 3 << 20
	img, err := store.Pull(t.Context(), s.f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if read(t, img, "a") != bigNoise(40<<20) {
		t.Error("the content differs")
	}
	t.Logf("%d requests", len(s.ranges))
}

// A pull that is cancelled at any moment goes on where it stopped, with the
// ranges that are there.
func TestPullGoesOn(t *testing.T) {
	s, store := slowLine(t, 40<<20, 2*time.Millisecond), open(t)
	random := rand.New(rand.NewPCG(1, 2))
	tries := 0
	for done := false; !done; tries++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(200+random.IntN(900))*time.Millisecond)
		img, err := store.Pull(ctx, s.f.name(), PullOptions{})
		cancel()
		if done = err == nil; done && read(t, img, "a") != bigNoise(40<<20) {
			t.Error("the content differs")
		} else if !done && tries > 30 {
			t.Fatal(err)
		}
	}
	// Of each connection that was cut, what was on its way is lost.
	lost, limit := s.sent.Load()-int64(len(s.body)), int64(tries)*maxLines*(4<<20)
	t.Logf("%d tries, %d requests, %d bytes twice", tries, len(s.ranges), lost)
	if tries < 3 || lost > limit {
		t.Errorf("%d tries, %d bytes were sent twice, more than %d", tries, lost, limit)
	}
}
