package env

import (
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Writable is a registry in memory that does all of the distribution specification, or less, as a test tells it.
type Writable struct {
	Addr   string
	Server *httptest.Server

	// Before sees each request first; true means that it answered it.
	Before func(w http.ResponseWriter, r *http.Request) bool
	// Single takes a blob with the request that begins its upload.
	Single bool
	// Mounts takes blobs from other repositories.
	Mounts bool
	// Lists keeps the referrers of each manifest; Filters picks them by type.
	Lists, Filters bool
	// Tags stores a manifest under several tags at once.
	Tags bool
	// Page is how many tags or referrers an answer has; 0 is all.
	Page int
	// MinChunk is told to who begins an upload.
	MinChunk int

	mu        sync.Mutex
	next      int
	sessions  map[string][]byte
	blobs     map[string][]byte // "repo@digest"
	manifests map[string]Blob   // "repo@digest"
	tags      map[string]string // "repo:tag" -> digest
	log       []string          // "METHOD path?query"
}

// NewWritable starts one on loopback; it ends with the test.
func NewWritable(t testing.TB) *Writable {
	w := &Writable{sessions: map[string][]byte{}, blobs: map[string][]byte{}, manifests: map[string]Blob{}, tags: map[string]string{}}
	w.Server = httptest.NewUnstartedServer(w)
	w.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.Server.Start()
	w.Addr = w.Server.Listener.Addr().String()
	t.Cleanup(w.Server.Close)
	return w
}

// Log is what was asked so far, "METHOD /v2/…", that contains part.
func (s *Writable) Log(part string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for _, line := range s.log {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return found
}

// Blob is the content that a repository has for a digest.
func (s *Writable) Blob(repo, digest string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[repo+"@"+digest]
	return b, ok
}

// Manifest is what a repository has under a tag or digest.
func (s *Writable) Manifest(repo, reference string) (Blob, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manifest(repo, reference)
}

// PutBlob stores a blob without a request.
func (s *Writable) PutBlob(repo string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[repo+"@"+Digest(data)] = data
}

// Session is what has come of an upload so far.
func (s *Writable) Session(id string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

// Cut stores n bytes of an upload's request and breaks the connection.
func (s *Writable) Cut(r *http.Request, n int64) {
	got, _ := io.ReadAll(io.LimitReader(r.Body, n))
	s.mu.Lock()
	id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	s.sessions[id] = append(s.sessions[id], got...)
	s.mu.Unlock()
	panic(http.ErrAbortHandler)
}

// Forget drops all uploads under way.
func (s *Writable) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

func (s *Writable) manifest(repo, reference string) (Blob, bool) {
	if !strings.Contains(reference, ":") {
		reference = s.tags[repo+":"+reference]
	}
	b, ok := s.manifests[repo+"@"+reference]
	return b, ok
}

// ServeHTTP answers as a registry does.
func (s *Writable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.log = append(s.log, r.Method+" "+r.URL.RequestURI())
	s.mu.Unlock()
	if s.Before != nil && s.Before(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, part := range []struct {
		word string
		do   func(http.ResponseWriter, *http.Request, string, string)
	}{{"/blobs/uploads/", s.upload}, {"/blobs/", s.blob}, {"/manifests/", s.document}, {"/referrers/", s.referrers}, {"/tags/", s.list}} {
		if repo, rest, ok := strings.Cut(path, part.word); ok {
			part.do(w, r, repo, rest)
			return
		}
	}
	if path != "" {
		notFound(w, "NAME_UNKNOWN")
	}
}

func (s *Writable) upload(w http.ResponseWriter, r *http.Request, repo, id string) {
	query := r.URL.Query()
	digest := query.Get("digest")
	var body []byte
	if r.Method != http.MethodPost || s.Single && digest != "" {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	location := func(status int) {
		w.Header().Set("Location", "/v2/"+repo+"/blobs/uploads/"+id)
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, len(s.sessions[id])-1)))
		w.WriteHeader(status)
	}
	data, known := s.sessions[id]
	switch {
	case r.Method == http.MethodPost:
		if from := query.Get("from") + "@" + query.Get("mount"); s.Mounts && s.blobs[from] != nil {
			s.blobs[repo+"@"+query.Get("mount")] = s.blobs[from]
			w.WriteHeader(http.StatusCreated)
			return
		}
		if s.Single && digest != "" {
			s.complete(w, repo, digest, body)
			return
		}
		s.next++
		id = strconv.Itoa(s.next)
		s.sessions[id] = []byte{}
		if s.MinChunk > 0 {
			w.Header().Set("OCI-Chunk-Min-Length", strconv.Itoa(s.MinChunk))
		}
		location(http.StatusAccepted)
	case !known:
		notFound(w, "BLOB_UPLOAD_UNKNOWN")
	case r.Method == http.MethodGet:
		location(http.StatusNoContent)
	case r.Method == http.MethodDelete:
		delete(s.sessions, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPatch:
		var first, last int
		if n, _ := fmt.Sscanf(r.Header.Get("Content-Range"), "%d-%d", &first, &last); n == 2 && (first != len(data) || last-first+1 != len(body)) {
			location(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		s.sessions[id] = append(data, body...)
		location(http.StatusAccepted)
	case r.Method == http.MethodPut:
		delete(s.sessions, id)
		s.complete(w, repo, digest, append(data, body...))
	}
}

func (s *Writable) complete(w http.ResponseWriter, repo, digest string, data []byte) {
	if digest != Digest(data) && digest != fmt.Sprintf("sha512:%x", sha512.Sum512(data)) {
		fail(w, http.StatusBadRequest, "DIGEST_INVALID")
		return
	}
	s.blobs[repo+"@"+digest] = data
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Location", "/v2/"+repo+"/blobs/"+digest)
	w.WriteHeader(http.StatusCreated)
}

func (s *Writable) blob(w http.ResponseWriter, r *http.Request, repo, digest string) {
	s.mu.Lock()
	data, ok := s.blobs[repo+"@"+digest]
	if r.Method == http.MethodDelete {
		delete(s.blobs, repo+"@"+digest)
	}
	s.mu.Unlock()
	switch {
	case !ok:
		notFound(w, "BLOB_UNKNOWN")
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusAccepted)
	default:
		SendRange(w, r, data, len(data))
	}
}

func (s *Writable) document(w http.ResponseWriter, r *http.Request, repo, reference string) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.manifest(repo, reference)
	switch {
	case r.Method == http.MethodPut:
		m = Blob{MediaType: r.Header.Get("Content-Type"), Data: body}
		digest := m.Digest()
		if strings.HasPrefix(reference, "sha512:") {
			digest = fmt.Sprintf("sha512:%x", sha512.Sum512(body))
		}
		if strings.Contains(reference, ":") && reference != digest {
			fail(w, http.StatusBadRequest, "DIGEST_INVALID")
			return
		}
		if missing := s.missing(repo, body); missing != "" {
			fail(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			return
		}
		if !strings.Contains(reference, ":") {
			s.tags[repo+":"+reference] = digest
		}
		if s.Tags {
			for _, tag := range r.URL.Query()["tag"] {
				s.tags[repo+":"+tag] = digest
				w.Header().Add("OCI-Tag", tag)
			}
		}
		s.manifests[repo+"@"+digest] = m
		if subject := subjectOf(body); s.Lists && subject != "" {
			w.Header().Set("OCI-Subject", subject)
		}
		w.Header().Set("Docker-Content-Digest", digest)
		w.WriteHeader(http.StatusCreated)
	case !ok:
		notFound(w, "MANIFEST_UNKNOWN")
	case r.Method == http.MethodDelete:
		if !strings.Contains(reference, ":") {
			delete(s.tags, repo+":"+reference)
		} else {
			delete(s.manifests, repo+"@"+reference)
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		w.Header().Set("Content-Type", m.MediaType)
		w.Header().Set("Docker-Content-Digest", m.Digest())
		w.Header().Set("Content-Length", strconv.Itoa(len(m.Data)))
		if r.Method != http.MethodHead {
			w.Write(m.Data)
		}
	}
}

// missing is the first blob or manifest that a document names and the repository lacks.
func (s *Writable) missing(repo string, body []byte) string {
	type ref struct {
		Digest    string
		MediaType string
	}
	var doc struct {
		Config    *ref
		Layers    []ref
		Manifests []ref
	}
	json.Unmarshal(body, &doc)
	if doc.Config != nil {
		doc.Layers = append(doc.Layers, *doc.Config)
	}
	for _, l := range doc.Layers {
		if _, ok := s.blobs[repo+"@"+l.Digest]; !ok && !strings.Contains(l.MediaType, "foreign") && !strings.Contains(l.MediaType, "nondistributable") {
			return l.Digest
		}
	}
	for _, m := range doc.Manifests {
		if _, ok := s.manifests[repo+"@"+m.Digest]; !ok {
			return m.Digest
		}
	}
	return ""
}

func subjectOf(body []byte) string {
	var doc struct{ Subject struct{ Digest string } }
	json.Unmarshal(body, &doc)
	return doc.Subject.Digest
}

func (s *Writable) referrers(w http.ResponseWriter, r *http.Request, repo, digest string) {
	if !s.Lists {
		notFound(w, "UNSUPPORTED")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := r.URL.Query().Get("artifactType")
	var keys []string
	for key, m := range s.manifests {
		if strings.HasPrefix(key, repo+"@") && subjectOf(m.Data) == digest {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	list := []any{}
	for _, key := range keys {
		m := s.manifests[key]
		var doc struct {
			ArtifactType string
			Config       struct{ MediaType string }
			Annotations  map[string]string
		}
		json.Unmarshal(m.Data, &doc)
		if doc.ArtifactType == "" {
			doc.ArtifactType = doc.Config.MediaType
		}
		if s.Filters && wanted != "" && doc.ArtifactType != wanted {
			continue
		}
		list = append(list, map[string]any{"mediaType": m.MediaType, "digest": m.Digest(), "size": len(m.Data), "artifactType": doc.ArtifactType, "annotations": doc.Annotations})
	}
	if s.Filters && wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	from, to := s.page(w, r, len(list))
	w.Header().Set("Content-Type", OCIIndex)
	w.Write(mustJSON(map[string]any{"schemaVersion": 2, "mediaType": OCIIndex, "manifests": list[from:to]}))
}

func (s *Writable) list(w http.ResponseWriter, r *http.Request, repo, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tags := []string{}
	for key := range s.tags {
		if tag, ok := strings.CutPrefix(key, repo+":"); ok {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	from, to := s.page(w, r, len(tags))
	w.Header().Set("Content-Type", "application/json")
	w.Write(mustJSON(map[string]any{"name": repo, "tags": tags[from:to]}))
}

// page picks a part of n entries, and tells where the next is.
func (s *Writable) page(w http.ResponseWriter, r *http.Request, n int) (from, to int) {
	if s.Page == 0 {
		return 0, n
	}
	from, _ = strconv.Atoi(r.URL.Query().Get("from"))
	if to = min(from+s.Page, n); to < n {
		query := r.URL.Query()
		query.Set("from", strconv.Itoa(to))
		next := url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
		w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
	}
	return from, to
}

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, `{"errors":[{"code":"`+code+`","message":"refused"}]}`)
}
