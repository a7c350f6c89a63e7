package e2e_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loper.run/test/env"
)

// proxy stands before docker-registry and counts what it serves of blobs, on a line of so many bytes a second.
type proxy struct {
	*httptest.Server
	served   atomic.Int64
	requests atomic.Int64
	pace     atomic.Int64 // nanoseconds between pieces of 64 KiB of one connection
	cut      int64        // breaks the connection after so many bytes of an answer; 0: never
}

func newProxy(t *testing.T, r *env.Registry, pace time.Duration) *proxy {
	t.Helper()
	to, err := url.Parse("http://" + r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	p := new(proxy)
	p.pace.Store(int64(pace))
	back := httputil.NewSingleHostReverseProxy(to)
	back.ModifyResponse = func(resp *http.Response) error {
		if strings.Contains(resp.Request.URL.Path, "/blobs/") && resp.ContentLength > 1<<20 {
			p.requests.Add(1)
			resp.Body = &counted{ReadCloser: resp.Body, p: p}
		}
		return nil
	}
	back.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	back.ErrorLog = log.New(io.Discard, "", 0)
	p.Server = httptest.NewServer(back)
	p.Config.ErrorLog = back.ErrorLog
	t.Cleanup(p.Close)
	return p
}

// reference is an image of the registry as the proxy has it.
func (p *proxy) reference(of string) string {
	_, rest, _ := strings.Cut(of, "/")
	return p.Listener.Addr().String() + "/" + rest
}

type counted struct {
	io.ReadCloser
	p    *proxy
	sent int64
}

func (c *counted) Read(b []byte) (int, error) {
	if c.p.cut > 0 && c.sent >= c.p.cut {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(b[:min(len(b), 64<<10)])
	c.sent += int64(n)
	c.p.served.Add(int64(n))
	time.Sleep(time.Duration(c.p.pace.Load()))
	return n, err
}

// slowImage has a layer that is large enough to come in over several connections, and two small ones.
func slowImage() (*env.Image, error) {
	var layers []env.Blob
	for i, size := range []int{40 << 20, 6 << 20, 2 << 20} {
		body := make([]byte, size)
		rand.Read(body)
		layers = append(layers, env.Plain(env.Tar(env.File{Name: fmt.Sprintf("data%d", i), Body: string(body)})))
	}
	return env.NewImage(env.RunConfig{Cmd: []string{"/none"}}, layers...), nil
}

// What a pull that was killed had fetched, the next one does not fetch again.
func TestPullKilledGoesOn(t *testing.T) {
	e := asRoot(t)
	reference := pushed(t, "slow:1", slowImage)
	r, err := registry()
	if err != nil {
		t.Skip(err)
	}
	const pace = 2 * time.Millisecond // of pulls that are killed
	p := newProxy(t, r, 0)
	reference = p.reference(reference)
	p.served.Store(0)
	e.must("pull", "-q", reference)
	total := p.served.Load()
	e.must("rmi", reference)
	os.RemoveAll(filepath.Join(e.root, "image"))
	moments := 8
	if testing.Short() {
		moments = 3
	}
	for i := range moments {
		p.served.Store(0)
		p.pace.Store(int64(pace))
		var said strings.Builder
		cmd := e.command("pull", "-q", reference)
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(60+i*200) * time.Millisecond)
		cmd.Process.Kill()
		early := cmd.Wait() != nil
		p.pace.Store(0)
		first := p.served.Load()
		expect(t, "images after a kill", e.must("images", "-aq"), map[bool]string{true: "", false: e.must("images", "-aq")}[early])
		p.served.Store(0)
		e.must("pull", "-q", reference)
		second := p.served.Load()
		// Each layer may lose what was not noted yet, and each connection what was on its way.
		if again := first + second - total; again > 3<<20+3<<20 {
			t.Errorf("killed after %d bytes of %d: the next pull fetched %d, so %d came twice", first, total, second, again)
		}
		t.Logf("killed after %d: then %d; %d came twice", first, second, first+second-total)
		if left := downloads(t, e); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
		e.must("rmi", reference)
		os.RemoveAll(filepath.Join(e.root, "image"))
	}
}

// downloads are the names of what was not fetched to its end.
func downloads(t *testing.T, e *engine) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(e.root, "image/partial"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// Over a line that breaks off again and again an image comes in all the same, and hardly a byte comes twice.
func TestPullThroughCuts(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		reference := pushed(t, "slow:1", slowImage)
		r, err := registry()
		if err != nil {
			t.Skip(err)
		}
		p := newProxy(t, r, time.Millisecond)
		p.cut = 5 << 20
		e.must("pull", "-q", p.reference(reference))
		if n, most := p.served.Load(), int64(48<<20+4<<20); n > most {
			t.Errorf("%d bytes were served, more than %d", n, most)
		}
		t.Logf("%d bytes in %d answers", p.served.Load(), p.requests.Load())
	})
}

func TestPullPolicies(t *testing.T) {
	e := asRoot(t)
	reference := pushed(t, "busybox:latest", env.Busybox)
	for _, policy := range []string{"never", "sometimes"} {
		e.mustFail(1, []string{map[string]string{"never": "No such image", "sometimes": "invalid --policy"}[policy]}, "pull", "--policy", policy, reference)
	}
	for _, policy := range []string{"missing", "missing", "never", "newer", "always"} {
		expect(t, policy, e.must("pull", "-q", "--policy", policy, reference), reference)
	}
	gone := "127.0.0.1:1/busybox:latest"
	e.must("tag", reference, gone)
	for _, policy := range []string{"missing", "never", "newer"} {
		expect(t, policy, e.must("pull", "-q", "--retry", "0", "--policy", policy, gone), gone)
	}
	e.mustFail(1, []string{"refused"}, "pull", "-q", "--retry", "1", "--retry-delay", "1ms", gone)
	e.mustFail(1, []string{"less than none"}, "pull", "--retry", "-1", reference)
	repository, _, _ := strings.Cut(reference, ":latest")
	expect(t, "all tags", e.must("pull", "-q", "-a", repository), repository)
	e.mustFail(1, []string{"names one of them"}, "pull", "-a", reference)
}
