package registry

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loper.run/image/oci"
	"loper.run/image/reference"
)

// configure makes a registries.conf that is the only one, and returns the
// directory of the user's configuration.
func configure(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("CONTAINERS_REGISTRIES_CONF", "")
	if err := os.MkdirAll(filepath.Join(dir, "containers"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "containers/registries.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asked counts requests by path.
type asked struct{ atomic.Int64 }

func (a *asked) serve(t *testing.T, h http.HandlerFunc) string {
	return host(serve(t, func(w http.ResponseWriter, r *http.Request) {
		a.Add(1)
		h(w, r)
	}))
}

func unreachable(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestMirrors(t *testing.T) {
	var paths [2]atomic.Value
	good := func(i int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			paths[i].Store(r.URL.Path)
			io.WriteString(w, emptyIndex)
		}
	}
	fails := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }
	}
	for name, test := range map[string]struct {
		mirror     http.HandlerFunc // nil is down
		fromMirror bool
	}{
		"good":         {good(0), true},
		"down":         {nil, false},
		"lacks it":     {fails(404), false},
		"wants login":  {fails(401), false},
		"broken":       {fails(500), false},
		"busy":         {fails(429), false},
		"wrong digest": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, emptyIndex+" ") }, false},
		"huge":         {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "99999999") }, false},
	} {
		var mirrored, primary asked
		mirror := unreachable(t)
		if test.mirror != nil {
			mirror = mirrored.serve(t, test.mirror)
		}
		home := primary.serve(t, good(1))
		configure(t, fmt.Sprintf("[[registry]]\nprefix = 'example.test/team'\nlocation = '%s/here'\n[[registry.mirror]]\nlocation = '%s/there/of'\n", home, mirror))
		paths[0].Store("")
		paths[1].Store("")
		c := client(t, "example.test")
		r := ref(t, "example.test/team/a@"+oci.FromBytes([]byte(emptyIndex)).String())
		body, _, _, err := c.Manifest(t.Context(), r)
		if err != nil || string(body) != emptyIndex {
			t.Errorf("%s: %q, %v", name, body, err)
			continue
		}
		suffix := "/manifests/" + r.Digest.String()
		if test.fromMirror != (paths[0].Load() == "/v2/there/of/a"+suffix) || test.fromMirror == (paths[1].Load() == "/v2/here/a"+suffix) {
			t.Errorf("%s: asked for %v and %v", name, paths[0].Load(), paths[1].Load())
		}
	}
}

// The rest of an image comes from where its manifest was, and from elsewhere
// only what is missing there.
func TestBlobsComeFromWhereTheManifestWas(t *testing.T) {
	content, d := blob(1000)
	var first, second, home asked
	lacks := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }
	m1 := first.serve(t, lacks)
	m2 := second.serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			io.WriteString(w, emptyIndex)
		} else {
			w.WriteHeader(404)
		}
	})
	primary := home.serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(content) })
	configure(t, fmt.Sprintf("[[registry]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s'\n", primary, m1, m2))
	c := client(t, primary)
	if _, _, _, err := c.Manifest(t.Context(), ref(t, primary+"/a")); err != nil {
		t.Fatal(err)
	}
	if home.Load() != 0 || first.Load() != 1 {
		t.Errorf("%d requests to the first mirror, %d to the registry", first.Load(), home.Load())
	}
	if got, err := c.Small(t.Context(), "a", d, 1000); err != nil || !bytes.Equal(got, content) {
		t.Error(err)
	}
	if second.Load() != 2 {
		t.Errorf("%d requests to the second mirror", second.Load())
	}
}

// A mirror that sends other bytes than a digest says is not asked again.
func TestLyingMirror(t *testing.T) {
	content, d := blob(1000)
	other, _ := blob(1000)
	var lies, home asked
	mirror := lies.serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(other) })
	primary := home.serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(content) })
	configure(t, fmt.Sprintf("[[registry]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s'\n", primary, mirror))
	c := client(t, primary)
	if got, err := c.Small(t.Context(), "a", d, 1000); err != nil || !bytes.Equal(got, content) {
		t.Errorf("small: %v", err)
	}
	if lies.Load() != 1 || home.Load() != 1 {
		t.Errorf("%d requests to the mirror, %d to the registry", lies.Load(), home.Load())
	}
	c = client(t, primary)
	var got bytes.Buffer
	if _, err := c.Download(t.Context(), "a", d, 0, &got); err != nil || !bytes.Equal(got.Bytes(), other) {
		t.Fatalf("download: %v", err)
	}
	if !c.Distrust(d.Digest) {
		t.Error("there is nobody else to ask")
	}
	got.Reset()
	if _, err := c.Download(t.Context(), "a", d, 0, &got); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("second download: %v", err)
	}
	if c.Distrust(d.Digest) {
		t.Error("the registry itself is dropped")
	}
	// One that announces another size is found out before.
	mirror = lies.serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(other[:999]) })
	configure(t, fmt.Sprintf("[[registry]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s'\n", primary, mirror))
	got.Reset()
	if _, err := client(t, primary).Download(t.Context(), "a", d, 0, &got); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("download of the wrong size: %v", err)
	}
}

// A download that a mirror broke off goes on elsewhere.
func TestMirrorBreaksOff(t *testing.T) {
	content, d := blob(1 << 20)
	var breaks, home asked
	mirror := breaks.serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:1000])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	primary := home.serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	configure(t, fmt.Sprintf("[[registry]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s'\n", primary, mirror))
	var got bytes.Buffer
	if _, err := client(t, primary).Download(t.Context(), "a", d, 0, &got); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Error(err)
	}
	if breaks.Load() != 1 || home.Load() != 1 {
		t.Errorf("%d requests to the mirror, %d to the registry", breaks.Load(), home.Load())
	}
}

func TestDigestOnlyAndTagOnlyMirrors(t *testing.T) {
	var digests, tags, home asked
	ok := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, emptyIndex) }
	m1, m2, primary := digests.serve(t, ok), tags.serve(t, ok), home.serve(t, ok)
	configure(t, fmt.Sprintf("[[registry]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s'\npull-from-mirror = 'digest-only'\n[[registry.mirror]]\nlocation = '%s'\npull-from-mirror = 'tag-only'\n", primary, m1, m2))
	for _, name := range []string{"a:1", "a@" + oci.FromBytes([]byte(emptyIndex)).String()} {
		if _, _, _, err := client(t, primary).Manifest(t.Context(), ref(t, primary+"/"+name)); err != nil {
			t.Error(err)
		}
	}
	if digests.Load() != 1 || tags.Load() != 1 || home.Load() != 0 {
		t.Errorf("%d, %d and %d requests", digests.Load(), tags.Load(), home.Load())
	}
}

func TestBlocked(t *testing.T) {
	var n asked
	primary := n.serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, emptyIndex) })
	dir := configure(t, fmt.Sprintf("[[registry]]\nlocation = '%s/bad'\nblocked = true\n", primary))
	c := client(t, primary)
	_, _, _, err := c.Manifest(t.Context(), ref(t, primary+"/bad/a"))
	wantError(t, err, primary+"/bad/a is blocked by", filepath.Join(dir, "containers/registries.conf")+", line 1", `prefix "`+primary+`/bad"`)
	_, err = c.do(t.Context(), request{path: "bad/a", what: "blobs/uploads/", method: http.MethodPost, actions: "pull,push"})
	wantError(t, err, "is blocked by")
	if n.Load() != 0 {
		t.Errorf("a blocked registry got %d requests", n.Load())
	}
	if _, _, _, err := c.Manifest(t.Context(), ref(t, primary+"/good/a")); err != nil {
		t.Error(err)
	}
}

// What changes something goes to the registry that the name says, and what it
// reads on the way too.
func TestWritesGoToTheRegistryItself(t *testing.T) {
	var n, home asked
	mirror := n.serve(t, func(w http.ResponseWriter, r *http.Request) {})
	primary := home.serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v2/a/") {
			w.WriteHeader(404)
		}
	})
	configure(t, fmt.Sprintf("[[registry]]\nprefix = '%s/a'\nlocation = '%s/elsewhere'\n[[registry.mirror]]\nlocation = '%s'\n", primary, primary, mirror))
	c := client(t, primary)
	for _, r := range []request{
		{path: "a/b", what: "blobs/uploads/", method: http.MethodPost},
		{path: "a/b", what: "manifests/x", actions: "pull,push"},
		{path: "a/b", what: "manifests/x", method: http.MethodDelete},
	} {
		resp, err := c.do(t.Context(), r)
		if err != nil {
			t.Errorf("%+v: %v", r, err)
			continue
		}
		resp.Body.Close()
	}
	if n.Load() != 0 || home.Load() != 3 {
		t.Errorf("%d requests to the mirror, %d to the registry", n.Load(), home.Load())
	}
}

// Each endpoint gets its own credentials and nobody else's.
func TestCredentialsOfMirrors(t *testing.T) {
	var n, home asked
	wants := func(user string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if u, p, ok := r.BasicAuth(); ok && (u != user || p != "of "+r.Host) {
				t.Errorf("%s was sent %q, %q", r.Host, u, p)
			} else if !ok {
				w.Header().Set("WWW-Authenticate", "Basic realm=x")
				w.WriteHeader(401)
				return
			}
			if user == "mirror" {
				w.WriteHeader(404)
				return
			}
			io.WriteString(w, emptyIndex)
		}
	}
	mirror, primary := n.serve(t, wants("mirror")), home.serve(t, wants("primary"))
	configure(t, fmt.Sprintf("[[registry]]\nprefix = 'example.test'\nlocation = '%s/x'\n[[registry.mirror]]\nlocation = '%s/y'\n", primary, mirror))
	c := client(t, "example.test")
	c.Credentials = func(domain, path string) (Credential, error) {
		switch domain + "/" + path {
		case mirror + "/y/a":
			return Credential{Username: "mirror", Password: "of " + mirror}, nil
		case primary + "/x/a":
			return Credential{Username: "primary", Password: "of " + primary}, nil
		}
		return Credential{}, fmt.Errorf("asked for the credentials of %s/%s", domain, path)
	}
	if _, _, _, err := c.Manifest(t.Context(), ref(t, "example.test/a")); err != nil {
		t.Error(err)
	}
	if n.Load() != 2 || home.Load() != 2 {
		t.Errorf("%d requests to the mirror, %d to the registry", n.Load(), home.Load())
	}
}

// When nobody has it, one line says what each said.
func TestAllSourcesFail(t *testing.T) {
	var n, home asked
	mirror := n.serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) })
	primary := home.serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) })
	down := unreachable(t)
	configure(t, fmt.Sprintf("[[registry]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s'\n", primary, mirror, down))
	_, _, _, err := client(t, primary).Manifest(t.Context(), ref(t, primary+"/a"))
	wantError(t, err, "image a:latest not found in registry "+primary, "mirrors failed too: ", mirror, "connection refused by "+down)
	if n.Load() != 1 || home.Load() != 1 {
		t.Errorf("%d requests to the mirror, %d to the registry", n.Load(), home.Load())
	}
}

// A mirror that asks for patience is waited for when the registry is down.
func TestBusyMirrorOfADownRegistry(t *testing.T) {
	var n asked
	mirror := n.serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Load() < 3 {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, emptyIndex)
	})
	primary := unreachable(t)
	configure(t, fmt.Sprintf("[[registry]]\nlocation = '%s'\n[[registry.mirror]]\nlocation = '%s'\n", primary, mirror))
	if _, _, _, err := client(t, primary).Manifest(t.Context(), ref(t, primary+"/a")); err != nil {
		t.Error(err)
	}
}

func TestRewriteToNonsense(t *testing.T) {
	configure(t, "[[registry]]\nprefix = 'example.test'\nlocation = 'example.test/UPPER'\n")
	_, _, _, err := client(t, "example.test").Manifest(t.Context(), reference.Reference{Domain: "example.test", Path: "a", Tag: "1"})
	wantError(t, err, "registries.conf, line 1 leads from example.test/a to example.test/UPPER/a", "lowercase")
}
