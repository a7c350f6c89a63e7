package registry

import (
	"bytes"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"loper.run/image/oci"
	"loper.run/test/env"
)

func uploadOf(content []byte, from ...string) Upload {
	return Upload{
		Descriptor: oci.Descriptor{Digest: oci.FromBytes(content), Size: int64(len(content))}, Near: func() []string { return from },
		Open: func(at int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content[at:])), nil },
	}
}

// big is a blob that is not sent in one request.
func big(t *testing.T) []byte {
	t.Helper()
	content, _ := blob(atOnce + 100_000)
	return content
}

func TestPutBlob(t *testing.T) {
	small, _ := blob(1000)
	middle, _ := blob(single + 1)
	for name, content := range map[string][]byte{"small": small, "middle": middle, "big": big(t), "empty": {}} {
		for _, single := range []bool{false, true} {
			reg := env.NewWritable(t)
			reg.Single = single
			c := client(t, reg.Addr)
			b := uploadOf(content)
			var sent atomic.Int64
			b.Sent = func(n int64) { sent.Store(n) }
			got, err := c.PutBlob(t.Context(), "a/b", b)
			if err != nil || got != (Stored{}) {
				t.Fatalf("%s: %+v, %v", name, got, err)
			}
			if have, ok := reg.Blob("a/b", b.Digest.String()); !ok || !bytes.Equal(have, content) {
				t.Errorf("%s: the registry has %d bytes, want %d", name, len(have), len(content))
			}
			if sent.Load() != int64(len(content)) {
				t.Errorf("%s: %d bytes were told to be sent, want %d", name, sent.Load(), len(content))
			}
			if got, err := c.PutBlob(t.Context(), "a/b", b); err != nil || !got.Existed {
				t.Errorf("%s: again: %+v, %v", name, got, err)
			}
			if single && name == "small" && len(reg.Log("PUT")) != 0 {
				t.Errorf("small: %q, want one POST", reg.Log(""))
			}
		}
	}
}

func TestPutBlobOfSHA512(t *testing.T) {
	reg := env.NewWritable(t)
	content, _ := blob(1000)
	b := uploadOf(content)
	d, err := oci.Parse(fmt.Sprintf("sha512:%x", sha512.Sum512(content)))
	if err != nil {
		t.Fatal(err)
	}
	b.Digest = d
	if _, err := client(t, reg.Addr).PutBlob(t.Context(), "a", b); err != nil {
		t.Fatal(err)
	}
	if _, ok := reg.Blob("a", d.String()); !ok {
		t.Error("the blob is not there by its digest")
	}
}

func TestMount(t *testing.T) {
	content, _ := blob(1000)
	b := uploadOf(content, "other/one")
	for _, mounts := range []bool{true, false} { // false: it answers 202 and begins an upload
		reg := env.NewWritable(t)
		reg.Mounts = mounts
		reg.PutBlob("other/one", content)
		got, err := client(t, reg.Addr).PutBlob(t.Context(), "a", b)
		if err != nil || mounts != (got.Mounted == "other/one") {
			t.Errorf("mounts %t: %+v, %v", mounts, got, err)
		}
		if have, _ := reg.Blob("a", b.Digest.String()); !bytes.Equal(have, content) {
			t.Errorf("mounts %t: the registry has %d bytes", mounts, len(have))
		}
		if posts := reg.Log("POST"); len(posts) != 1 {
			t.Errorf("mounts %t: %q, want one", mounts, posts)
		}
	}
	// One that refuses to read the other repository may still be written to.
	reg := env.NewWritable(t)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("mount") != "" {
			w.WriteHeader(403)
			return true
		}
		return false
	}
	if got, err := client(t, reg.Addr).PutBlob(t.Context(), "a", b); err != nil || got.Mounted != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// The token is for both repositories, and for writing to one only.
func TestMountScopes(t *testing.T) {
	content, _ := blob(100)
	scopes := make(chan []string, 10)
	auth := serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		scopes <- r.Form["scope"]
		io.WriteString(w, `{"token":"t"}`)
	})
	reg := env.NewWritable(t)
	reg.Mounts = true
	reg.PutBlob("b", content)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer t" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+auth.URL+`"`)
		w.WriteHeader(401)
		return true
	}
	if got, err := client(t, reg.Addr).PutBlob(t.Context(), "a", uploadOf(content, "b")); err != nil || got.Mounted != "b" {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, want := range [][]string{{"repository:a:pull,push"}, {"repository:a:pull,push", "repository:b:pull"}} {
		if got := <-scopes; !slices.Equal(got, want) {
			t.Errorf("scopes %q, want %q", got, want)
		}
	}
}

func TestPutBlobResumes(t *testing.T) {
	content := big(t)
	cuts := map[string]struct {
		fault func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool // of the nth PATCH or PUT
		most  int64                                                                         // bytes sent in all
		want  string                                                                        // of the error
	}{
		"cut": {func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool {
			if r.Method == "PATCH" && n < 4 {
				reg.Cut(r, 2<<20)
			}
			return false
		}, int64(len(content)) + 12<<20, ""},
		"session lost": {func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool {
			if n == 1 {
				reg.Forget()
			}
			return false
		}, 2*int64(len(content)) + 1, ""},
		"lost at the end": {func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool {
			if n == 2 {
				reg.Forget()
			}
			return false
		}, 2*int64(len(content)) + 1, ""},
		"wrong range": {func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool {
			if n == 1 {
				w.WriteHeader(416)
				return true
			}
			return false
		}, 2*int64(len(content)) + 1, ""},
		"busy": {func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool {
			if n < 3 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(429)
			}
			return n < 3
		}, 3*int64(len(content)) + 1, ""},
		"busy for long": {func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
			return true
		}, 0, "limits the rate"},
		"too large": {func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool {
			if r.ContentLength > 1<<20 {
				w.WriteHeader(413)
				return true
			}
			return false
		}, 0, ""},
		"takes nothing": {func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool {
			w.WriteHeader(400)
			return true
		}, 0, "status 400"},
		"claims too much": {func(reg *env.Writable, w http.ResponseWriter, r *http.Request, n int64) bool {
			w.Header().Set("Location", r.URL.Path)
			w.Header().Set("Range", fmt.Sprintf("0-%d", len(content)+10))
			w.WriteHeader(202)
			return true
		}, 0, "it says that it has"},
	}
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			reg := env.NewWritable(t)
			var n, received atomic.Int64
			reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != "PATCH" && r.Method != "PUT" {
					return false
				}
				r.Body = &countBody{r.Body, &received}
				return cut.fault(reg, w, r, n.Add(1))
			}
			b := uploadOf(content)
			_, err := client(t, reg.Addr).PutBlob(t.Context(), "a", b)
			if cut.want != "" {
				wantError(t, err, cut.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if have, _ := reg.Blob("a", b.Digest.String()); !bytes.Equal(have, content) {
				t.Errorf("the registry has %d bytes, want %d", len(have), len(content))
			}
			if got := received.Load(); cut.most > 0 && got > cut.most {
				t.Errorf("%d bytes were sent, want at most %d", got, cut.most)
			}
		})
	}
}

type countBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *countBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// A blob that has rotted is never completed, whatever the way it is sent.
func TestPutDamagedBlob(t *testing.T) {
	for name, size := range map[string]int{"single": 1000, "at once": single + 1, "big": atOnce + 1} {
		content, d := blob(size)
		b := uploadOf(content)
		b.Descriptor = d
		for _, damage := range []func(){func() { content[size/2]++ }, func() { b = uploadOf(content[:size-1]); b.Descriptor = d }} {
			reg := env.NewWritable(t)
			reg.Single = true
			damage()
			_, err := client(t, reg.Addr).PutBlob(t.Context(), "a", b)
			wantError(t, err, d.Digest.String())
			if _, ok := reg.Blob("a", d.Digest.String()); ok || strings.Contains(err.Error(), "tried") {
				t.Errorf("%s: the registry has it (%t): %v", name, ok, err)
			}
			if len(reg.Log("DELETE")) == 0 && name == "big" {
				t.Error("the upload was not cancelled")
			}
		}
	}
}

// Where an upload goes on may be on another host, which gets no credentials.
func TestUploadElsewhere(t *testing.T) {
	content := big(t)
	var leaked atomic.Value
	storage := env.NewWritable(t)
	storage.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if h := r.Header.Get("Authorization"); h != "" {
			leaked.Store(h)
		}
		return false
	}
	var location func(string) string
	reg := env.NewWritable(t)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if user, _, _ := r.BasicAuth(); user != "me" {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(401)
			return true
		}
		if r.Method != "POST" {
			return false
		}
		resp, err := http.Post(storage.Server.URL+r.URL.Path, "", nil)
		if err != nil {
			t.Error(err)
			return false
		}
		resp.Body.Close()
		w.Header().Set("Location", location(resp.Header.Get("Location")))
		w.WriteHeader(202)
		return true
	}
	c := client(t, reg.Addr)
	c.Credentials = func(string, string) (Credential, error) { return Credential{Username: "me", Password: "secret"}, nil }
	location = func(path string) string { return storage.Server.URL + path + "?state=a%2Fb" }
	b := uploadOf(content)
	if _, err := c.PutBlob(t.Context(), "a", b); err != nil {
		t.Fatal(err)
	}
	if _, ok := storage.Blob("a", b.Digest.String()); !ok {
		t.Error("the blob is not where the registry said")
	}
	if v := leaked.Load(); v != nil {
		t.Errorf("the other host was sent %q", v)
	}
	if patch := storage.Log("PATCH"); len(patch) != 1 || !strings.HasSuffix(patch[0], "?state=a%2Fb") {
		t.Errorf("%q", patch)
	}
	for _, bad := range []string{"http://192.0.2.1/x", "ftp://localhost/x", "%zz"} {
		location = func(string) string { return bad }
		content, _ := blob(10)
		_, err := c.PutBlob(t.Context(), "a", uploadOf(content))
		wantError(t, err, "")
	}
}

func TestChunks(t *testing.T) {
	content := big(t)
	reg := env.NewWritable(t)
	reg.MinChunk = 3 << 20
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.ContentLength > 5<<20 {
			w.WriteHeader(413)
			return true
		}
		return false
	}
	b := uploadOf(content)
	if _, err := client(t, reg.Addr).PutBlob(t.Context(), "a", b); err != nil {
		t.Fatal(err)
	}
	if have, _ := reg.Blob("a", b.Digest.String()); !bytes.Equal(have, content) {
		t.Errorf("the registry has %d bytes, want %d", len(have), len(content))
	}
	// When the least that one side takes is more than the other lets through, that is said.
	reg.MinChunk = 6 << 20
	b = uploadOf(append([]byte{1}, content...))
	_, err := client(t, reg.Addr).PutBlob(t.Context(), "a", b)
	wantError(t, err, "413")
}

// manifestOf stores an empty artifact's blobs and returns a manifest with a subject.
func manifestOf(t *testing.T, reg *env.Writable, subject *oci.Descriptor, kind, text string) ([]byte, oci.Digest) {
	t.Helper()
	reg.PutBlob("a", []byte(oci.EmptyJSON))
	body, err := json.Marshal(oci.Manifest{
		SchemaVersion: 2, MediaType: oci.TypeManifest, ArtifactType: kind, Config: oci.Empty(), Layers: []oci.Descriptor{oci.Empty()},
		Subject: subject, Annotations: map[string]string{"text": text},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body, oci.FromBytes(body)
}

func TestPutManifest(t *testing.T) {
	for _, tags := range []bool{true, false} {
		reg := env.NewWritable(t)
		reg.Tags = tags
		c := client(t, reg.Addr)
		body, d := manifestOf(t, reg, nil, "x/y", "1")
		if err := c.PutManifest(t.Context(), "a", body, oci.TypeManifest, d); err != nil {
			t.Fatal(err)
		}
		if err := c.PutManifest(t.Context(), "a", body, oci.TypeManifest, d, "one"); err != nil {
			t.Fatal(err)
		}
		if err := c.PutManifest(t.Context(), "a", body, oci.TypeManifest, d, "two", "three", "four"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"one", "two", "three", "four", d.String()} {
			if m, ok := reg.Manifest("a", name); !ok || !bytes.Equal(m.Data, body) || m.MediaType != oci.TypeManifest {
				t.Errorf("%s: %t", name, ok)
			}
		}
		if n := len(reg.Log("PUT")); tags && n != 3 || !tags && n != 6 {
			t.Errorf("tags %t: %d requests: %q", tags, n, reg.Log("PUT"))
		}
		reg.Page = 2
		if got, err := c.Tags(t.Context(), "a"); err != nil || !slices.Equal(got, []string{"four", "one", "three", "two"}) {
			t.Errorf("%q, %v", got, err)
		}
		if err := c.DeleteManifest(t.Context(), "a", "one"); err != nil {
			t.Error(err)
		}
		if err := c.DeleteManifest(t.Context(), "a", d.String()); err != nil {
			t.Error(err)
		}
		if err := c.DeleteManifest(t.Context(), "a", d.String()); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if err := c.DeleteBlob(t.Context(), "a", oci.Empty().Digest); err != nil {
			t.Error(err)
		}
	}
}

func TestRegistryThatStoresSomethingElse(t *testing.T) {
	reg := env.NewWritable(t)
	body, d := manifestOf(t, reg, nil, "x/y", "1")
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" {
			w.Header().Set("Docker-Content-Digest", oci.FromBytes(nil).String())
			w.WriteHeader(201)
			return true
		}
		return false
	}
	c := client(t, reg.Addr)
	wantError(t, c.PutManifest(t.Context(), "a", body, oci.TypeManifest, d, "latest"), "stored the manifest of a as "+oci.FromBytes(nil).String())
	content, _ := blob(single + 1)
	_, err := c.PutBlob(t.Context(), "a", uploadOf(content))
	wantError(t, err, "stored")
}

func TestReferrers(t *testing.T) {
	for _, kind := range []struct{ lists, filters bool }{{true, true}, {true, false}, {false, false}} {
		reg := env.NewWritable(t)
		reg.Lists, reg.Filters, reg.Page = kind.lists, kind.filters, 1
		c := client(t, reg.Addr)
		image, id := manifestOf(t, reg, nil, "", "image")
		subject := &oci.Descriptor{MediaType: oci.TypeManifest, Digest: id, Size: int64(len(image))}
		if got, err := c.Referrers(t.Context(), "a", id, ""); err != nil || len(got) != 0 {
			t.Errorf("%+v: none: %v, %v", kind, got, err)
		}
		var all []oci.Digest
		for i, what := range []string{"test/sig", "test/sbom", "test/sig"} {
			body, d := manifestOf(t, reg, subject, what, fmt.Sprint(i))
			for range 2 { // again changes nothing
				if err := c.PutManifest(t.Context(), "a", body, oci.TypeManifest, d); err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, d)
		}
		got, err := c.Referrers(t.Context(), "a", id, "")
		if err != nil || len(got) != 3 {
			t.Errorf("%+v: all: %d, %v", kind, len(got), err)
		}
		got, err = c.Referrers(t.Context(), "a", id, "test/sig")
		if err != nil || len(got) != 2 || got[0].ArtifactType != "test/sig" || got[0].Annotations["text"] == "" || got[0].Size == 0 {
			t.Errorf("%+v: of one type: %+v, %v", kind, got, err)
		}
		_, tagged := reg.Manifest("a", "sha256-"+id.Hex())
		if tagged == kind.lists {
			t.Errorf("%+v: a tag for the referrers: %t", kind, tagged)
		}
		if err := c.DeleteManifest(t.Context(), "a", all[0].String()); err != nil {
			t.Error(err)
		}
		if got, err = c.Referrers(t.Context(), "a", id, ""); err != nil || len(got) != 2 {
			t.Errorf("%+v: after a deletion: %d, %v", kind, len(got), err)
		}
	}
}

// Two clients that add to the list at once: nobody's entry is lost in the end.
func TestReferrersTagOfTwo(t *testing.T) {
	reg := env.NewWritable(t)
	c := client(t, reg.Addr)
	image, id := manifestOf(t, reg, nil, "", "image")
	subject := &oci.Descriptor{MediaType: oci.TypeManifest, Digest: id, Size: int64(len(image))}
	theirs, theirsID := manifestOf(t, reg, subject, "test/sig", "theirs")
	ours, oursID := manifestOf(t, reg, subject, "test/sig", "ours")
	var once atomic.Bool
	tag := "/manifests/sha256-" + id.Hex()
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" && strings.HasSuffix(r.URL.Path, tag) && once.CompareAndSwap(false, true) {
			// The other client writes between our reading and our writing, and its list loses ours.
			defer func() {
				d := oci.Descriptor{MediaType: oci.TypeManifest, Digest: theirsID, Size: int64(len(theirs))}
				body, _ := json.Marshal(oci.Index{SchemaVersion: 2, MediaType: oci.TypeIndex, Manifests: []oci.Descriptor{d}})
				io.Copy(io.Discard, r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
			}()
		}
		return false
	}
	for _, m := range [][]byte{theirs, ours} {
		if err := c.PutManifest(t.Context(), "a", m, oci.TypeManifest, oci.FromBytes(m)); err != nil && !strings.Contains(err.Error(), "stored") {
			t.Fatal(err)
		}
	}
	got, err := c.Referrers(t.Context(), "a", id, "")
	if err != nil || !slices.ContainsFunc(got, func(d oci.Descriptor) bool { return d.Digest == oursID }) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPagesStayAtHome(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", `<https://192.0.2.1/v2/a/tags/list?last=x>; rel="next"`)
		io.WriteString(w, `{"tags":["x"]}`)
	})
	_, err := client(t, host(srv)).Tags(t.Context(), "a")
	wantError(t, err, "it is elsewhere", "192.0.2.1")
	srv = serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"tags":["x\u001b[2J"]}`) })
	_, err = client(t, host(srv)).Tags(t.Context(), "a")
	wantError(t, err, "is none")
}
