package env

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Faulty is a registry that misbehaves as a test tells it to. It serves what is put in it, whether it makes sense
// or not.
type Faulty struct {
	Addr   string
	Server *httptest.Server

	mu        sync.Mutex
	manifests map[string]Blob   // "repo:tag" and "repo@digest"
	blobs     map[string][]byte // digest -> what is sent for it
	requests  []*http.Request
	// Before sees each request first; true means that it answered it.
	Before func(w http.ResponseWriter, r *http.Request) bool
}

// NewFaulty starts one on loopback; it ends with the test.
func NewFaulty(t testing.TB) *Faulty {
	f := unstarted()
	f.Server = httptest.NewServer(f)
	f.Addr = f.Server.Listener.Addr().String()
	t.Cleanup(f.Server.Close)
	return f
}

// NewFaultyTLS is the same over HTTPS, with a certificate nobody knows (Server.Certificate).
func NewFaultyTLS(t testing.TB) *Faulty {
	f := unstarted()
	f.Server = httptest.NewUnstartedServer(f)
	f.Server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it are what it is for
	f.Server.StartTLS()
	f.Addr = f.Server.Listener.Addr().String()
	t.Cleanup(f.Server.Close)
	return f
}

func unstarted() *Faulty {
	return &Faulty{manifests: map[string]Blob{}, blobs: map[string][]byte{}}
}

// Put makes an image available and returns the reference to pull it by.
func (f *Faulty) Put(img *Image, name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	repo, _, _ := strings.Cut(name, ":")
	f.manifests[name] = img.Manifest
	f.manifests[repo+"@"+img.Manifest.Digest()] = img.Manifest
	for _, b := range img.Blobs() {
		f.blobs[b.Digest()] = b.Data
	}
	return f.Addr + "/" + name
}

// PutManifest serves any bytes as the manifest of a name.
func (f *Faulty) PutManifest(name string, m Blob) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.manifests[name] = m
	return f.Addr + "/" + name
}

// Lie serves other bytes for a digest.
func (f *Faulty) Lie(digest string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[digest] = data
}

// Requests are those of a method whose path contains part, in order.
func (f *Faulty) Requests(method, part string) []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []*http.Request
	for _, r := range f.requests {
		if r.Method == method && strings.Contains(r.URL.Path, part) {
			found = append(found, r)
		}
	}
	return found
}

// ServeHTTP answers as a registry does.
func (f *Faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Clone(r.Context()))
	before := f.Before
	f.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if path == "" {
		return
	}
	if repo, reference, ok := strings.Cut(path, "/manifests/"); ok {
		key := repo + ":" + reference
		if strings.Contains(reference, ":") {
			key = repo + "@" + reference
		}
		f.mu.Lock()
		m, ok := f.manifests[key]
		f.mu.Unlock()
		if !ok {
			notFound(w, "MANIFEST_UNKNOWN")
			return
		}
		w.Header().Set("Content-Type", m.MediaType)
		w.Header().Set("Docker-Content-Digest", m.Digest())
		w.Header().Set("Content-Length", strconv.Itoa(len(m.Data)))
		if r.Method != http.MethodHead {
			w.Write(m.Data)
		}
		return
	}
	_, digest, _ := strings.Cut(path, "/blobs/")
	f.mu.Lock()
	data, ok := f.blobs[digest]
	f.mu.Unlock()
	if !ok {
		notFound(w, "BLOB_UNKNOWN")
		return
	}
	SendRange(w, r, data, len(data))
}

// SendRange answers a blob's request, with its Range header if there is one, but breaks the connection after limit bytes
// of the blob.
func SendRange(w http.ResponseWriter, r *http.Request, data []byte, limit int) {
	start, status := 0, http.StatusOK
	if value, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		first, _, _ := strings.Cut(value, "-")
		if n, err := strconv.Atoi(first); err == nil && n < len(data) {
			start, status = n, http.StatusPartialContent
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(n)+"-"+strconv.Itoa(len(data)-1)+"/"+strconv.Itoa(len(data)))
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)-start))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if limit >= len(data) {
		w.Write(data[start:])
		return
	}
	if start < limit {
		w.Write(data[start:limit])
		w.(http.Flusher).Flush()
	}
	panic(http.ErrAbortHandler)
}

func notFound(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, `{"errors":[{"code":"`+code+`","message":"not here"}]}`)
}
