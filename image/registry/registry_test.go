package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"loper.run/image/oci"
	"loper.run/image/reference"
)

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(srv.Close)
	return srv
}

func host(srv *httptest.Server) string { return srv.Listener.Addr().String() }

func client(t *testing.T, domain string) *Client {
	t.Helper()
	c, err := New(domain)
	if err != nil {
		t.Fatal(err)
	}
	c.Backoff = time.Millisecond
	t.Cleanup(c.Close)
	return c
}

func ref(t *testing.T, name string) reference.Reference {
	t.Helper()
	r, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return r.WithDefaultTag()
}

func blob(n int) (content []byte, d oci.Descriptor) {
	content = make([]byte, n)
	rand.Read(content)
	return content, oci.Descriptor{Digest: oci.FromBytes(content), Size: int64(n)}
}

const emptyIndex = `{"schemaVersion":2,"manifests":[]}`

// wantError checks for one line with all the words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error has several lines: %q", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

func TestManifest(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/a/b/manifests/latest" || r.UserAgent() != "loper/test" || !strings.Contains(strings.Join(r.Header.Values("Accept"), ","), oci.TypeDockerManifest) {
			http.Error(w, "unexpected request", 400)
			return
		}
		w.Header().Set("Content-Type", oci.TypeIndex)
		io.WriteString(w, emptyIndex)
	})
	c := client(t, host(srv))
	c.UserAgent = "loper/test"
	body, mediaType, d, err := c.Manifest(t.Context(), ref(t, host(srv)+"/a/b"))
	if err != nil || string(body) != emptyIndex || mediaType != oci.TypeIndex || d != oci.FromBytes(body) {
		t.Errorf("got %q, %q, %s, %v", body, mediaType, d, err)
	}
}

func TestManifestOfWrongDigest(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, emptyIndex) })
	_, _, _, err := client(t, host(srv)).Manifest(t.Context(), ref(t, host(srv)+"/a@"+oci.FromBytes(nil).String()))
	wantError(t, err, "digest mismatch", oci.FromBytes([]byte(emptyIndex)).String())
}

func TestHugeManifest(t *testing.T) {
	var sent atomic.Int64
	for _, announced := range []bool{true, false} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if announced {
				w.Header().Set("Content-Length", fmt.Sprint(100<<20))
			}
			chunk := bytes.Repeat([]byte(" "), 1<<20)
			for range 100 {
				n, err := w.Write(chunk)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		sent.Store(0)
		_, _, _, err := client(t, host(srv)).Manifest(t.Context(), ref(t, host(srv)+"/a"))
		wantError(t, err, "too large")
		if n := sent.Load(); n > 50<<20 {
			t.Errorf("read %d bytes of a manifest of 100 MB", n)
		}
	}
}

func TestDownloadResumesAfterCuts(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		content, d := blob(3 << 20)
		var requests atomic.Int64
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			part := content
			if from := r.Header.Get("Range"); from != "" && ranges {
				var n int
				fmt.Sscanf(from, "bytes=%d-", &n)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", n, len(content)-1, len(content)))
				part = content[n:]
				w.Header().Set("Content-Length", fmt.Sprint(len(part)))
				w.WriteHeader(http.StatusPartialContent)
			}
			if requests.Add(1) <= 3 {
				part = part[:len(part)/2+1]
				w.Header().Set("Content-Length", fmt.Sprint(len(content)))
				w.Write(part)
				panic(http.ErrAbortHandler)
			}
			w.Write(part)
		})
		var got bytes.Buffer
		n, err := client(t, host(srv)).Download(t.Context(), "a", d, 0, &got)
		if err != nil || n != d.Size || !bytes.Equal(got.Bytes(), content) {
			t.Errorf("ranges %t: got %d bytes, %v", ranges, n, err)
		}
		if requests.Load() != 4 {
			t.Errorf("ranges %t: %d requests, want 4", ranges, requests.Load())
		}
	}
}

func TestDownloadGivesUp(t *testing.T) {
	content, d := blob(1000)
	var requests atomic.Int64
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Length", "1000")
		w.Write(content[:10])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	var got bytes.Buffer
	n, err := client(t, host(srv)).Download(t.Context(), "a", d, 0, &got)
	if n < 10 || n != int64(got.Len()) {
		t.Errorf("the good part is lost: %d bytes, %d written", n, got.Len())
	}
	wantError(t, err, "tried 5 times")
	if requests.Load() != maxTries {
		t.Errorf("%d requests, want %d", requests.Load(), maxTries)
	}
}

func TestDownloadOfWrongSize(t *testing.T) {
	content, d := blob(1000)
	for name, h := range map[string]http.HandlerFunc{
		"announced": func(w http.ResponseWriter, r *http.Request) { w.Write(content) },
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for range 1000 {
				if _, err := w.Write(content); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
		},
	} {
		d.Size = 500
		srv := serve(t, h)
		var got bytes.Buffer
		_, err := client(t, host(srv)).Download(t.Context(), "a", d, 0, &got)
		wantError(t, err, "wrong size", "500")
		if got.Len() > 500 {
			t.Errorf("%s: wrote %d bytes", name, got.Len())
		}
	}
}

func TestStalledBody(t *testing.T) {
	content, d := blob(1 << 20)
	var requests atomic.Int64
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:1000])
		w.(http.Flusher).Flush()
		requests.Add(1)
		<-r.Context().Done()
	})
	c := client(t, host(srv))
	c.Stall = 30 * time.Millisecond
	_, err := c.Download(t.Context(), "a", d, 0, io.Discard)
	// A server that ignores ranges and stalls before the wanted byte makes no progress.
	wantError(t, err, "sent nothing for too long")
	if requests.Load() != maxTries {
		t.Errorf("%d requests, want %d", requests.Load(), maxTries)
	}
}

func TestRetryAfter(t *testing.T) {
	var requests atomic.Int64
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		io.WriteString(w, emptyIndex)
	})
	begin := time.Now()
	_, _, _, err := client(t, host(srv)).Manifest(t.Context(), ref(t, host(srv)+"/a"))
	if err != nil || time.Since(begin) < time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}

func TestErrors(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := listener.Addr().String()
	listener.Close()
	status := func(code int, body string) string {
		return host(serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code); io.WriteString(w, body) }))
	}
	for _, test := range []struct {
		domain string
		is     error
		words  []string
	}{
		{down, nil, []string{"connection refused", "is it running?", down}},
		{status(404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`), ErrNotFound, []string{"image a:latest not found"}},
		{status(401, ""), ErrUnauthorized, []string{"wants credentials", "login"}},
		{status(403, ""), ErrUnauthorized, []string{"credentials"}},
		{status(500, `{"errors":[{"message":"out\nof\u001b[31m cheese"}]}`), nil, []string{"status 500", "out of [31m cheese", "tried 5 times"}},
		{status(418, "<html>"), nil, []string{"status 418"}},
	} {
		_, _, _, err := client(t, test.domain).Manifest(t.Context(), ref(t, test.domain+"/a"))
		wantError(t, err, test.words...)
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%v is not %v", err, test.is)
		}
	}
}

func TestUntrustedCertificate(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer srv.Close()
	_, _, _, err := client(t, host(srv)).Manifest(t.Context(), ref(t, host(srv)+"/a"))
	wantError(t, err, "unknown authority", "certs.d/"+host(srv))
}

// What certs.d says holds for its registry alone, and HTTP/2 is spoken.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	content, d := blob(1000)
	var target string
	var cert atomic.Bool
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			http.Error(w, "want HTTP/2", 400)
			return
		}
		cert.Store(len(r.TLS.PeerCertificates) > 0)
		if target != "" {
			http.Redirect(w, r, target, http.StatusFound)
			return
		}
		w.Write(content)
	}
	start := func() *httptest.Server {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(h))
		srv.EnableHTTP2 = true
		srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	srv, other := start(), start()
	certs := filepath.Join(dir, "containers/certs.d", host(srv))
	if err := os.MkdirAll(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	pair := srv.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	for name, body := range map[string][]byte{"ca.crt": certPEM, "me.cert": certPEM, "me.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(filepath.Join(certs, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := client(t, host(srv))
	if got, err := c.Small(t.Context(), "a", d, 1000); err != nil || !bytes.Equal(got, content) || !cert.Load() {
		t.Errorf("%d bytes, %v, client certificate %t", len(got), err, cert.Load())
	}
	target = other.URL
	_, err = c.Small(t.Context(), "a", d, 1000)
	wantError(t, err, "unknown authority")
	if err := os.WriteFile(filepath.Join(certs, "ca.crt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = client(t, host(srv)).Small(t.Context(), "a", d, 1000)
	wantError(t, err, "ca.crt", "no certificate")
}

func TestPlainHTTPIsForLoopback(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, emptyIndex) })
	// A name that is no loopback name by itself, though it leads there.
	_, port, _ := net.SplitHostPort(host(srv))
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if addrs, err := net.LookupHost(name); err != nil || !strings.HasPrefix(addrs[0], "127.") {
		t.Skipf("the host name %s leads to %v, not to loopback", name, addrs)
	}
	_, _, _, err = client(t, net.JoinHostPort(name, port)).Manifest(t.Context(), ref(t, net.JoinHostPort(name, port)+"/a"))
	wantError(t, err, "plain HTTP", "loopback addresses only")
	if err := onlyLoopback("tcp", "192.0.2.1:80", nil); err == nil {
		t.Error("plain HTTP may connect to 192.0.2.1")
	}
	for h, want := range map[string]bool{"localhost": true, "127.3.2.1": true, "::1": true, "[::1]": true, "localhost.example.com": false, "10.0.0.1": false, "127.0.0.1.example.com": false} {
		if isLoopback(h) != want {
			t.Errorf("isLoopback(%q) = %t", h, !want)
		}
	}
}

func TestBearer(t *testing.T) {
	content, d := blob(100)
	var tokens atomic.Int64
	auth := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tokens.Add(1)
		user, password, _ := r.BasicAuth()
		if user != "me" || password != "secret" || r.FormValue("service") != "svc" || r.FormValue("scope") != "repository:a/b:pull" || r.FormValue("x") != "y" {
			w.WriteHeader(401)
			return
		}
		io.WriteString(w, `{"access_token":"tok"}`)
	})
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer tok" {
			w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token?x=y",service="svc",scope="repository:evil:push"`, auth.URL))
			w.WriteHeader(401)
			return
		}
		w.Write(content)
	})
	c := client(t, host(srv))
	c.Credentials = func(domain, path string) (Credential, error) {
		if domain != host(srv) || path != "a/b" {
			t.Errorf("asked for credentials of %s/%s", domain, path)
		}
		return Credential{Username: "me", Password: "secret"}, nil
	}
	for range 3 {
		if got, err := c.Small(t.Context(), "a/b", d, 1000); err != nil || !bytes.Equal(got, content) {
			t.Fatal(err)
		}
	}
	if tokens.Load() != 1 {
		t.Errorf("%d tokens were fetched, want 1", tokens.Load())
	}
	c = client(t, host(srv))
	_, err := c.Small(t.Context(), "a/b", d, 1000)
	wantError(t, err, "wants credentials")
}

func TestIdentityToken(t *testing.T) {
	var srv *httptest.Server
	srv = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && r.Method == http.MethodPost && r.FormValue("grant_type") == "refresh_token" && r.FormValue("refresh_token") == "id":
			io.WriteString(w, `{"token":"tok"}`)
		case r.Header.Get("Authorization") == "Bearer tok":
			io.WriteString(w, emptyIndex)
		default:
			w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, srv.URL))
			w.WriteHeader(401)
		}
	})
	c := client(t, host(srv))
	c.Credentials = func(string, string) (Credential, error) { return Credential{IdentityToken: "id"}, nil }
	if _, _, _, err := c.Manifest(t.Context(), ref(t, host(srv)+"/a")); err != nil {
		t.Error(err)
	}
}

func TestTokenServerMustBeSafe(t *testing.T) {
	for _, realm := range []string{"http://192.0.2.1/token", "ftp://localhost/", "", "https://user:pw@localhost/"} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("WWW-Authenticate", `Bearer realm="`+realm+`"`)
			w.WriteHeader(401)
		})
		c := client(t, host(srv))
		c.Credentials = func(string, string) (Credential, error) { return Credential{Username: "u", Password: "p"}, nil }
		_, _, _, err := c.Manifest(t.Context(), ref(t, host(srv)+"/a"))
		wantError(t, err, "token server")
	}
}

func TestBasicAndRedirects(t *testing.T) {
	content, d := blob(100)
	var leaked atomic.Value
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if h := r.Header.Get("Authorization") + r.Header.Get("Referer"); h != "" {
			leaked.Store(h)
		}
		if strings.HasSuffix(r.URL.Path, "/login") {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(401)
			return
		}
		w.Write(content)
	})
	// The same address with another port: what a test of host names alone lets through.
	target := other.URL
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "sec:ret" {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(401)
			return
		}
		http.Redirect(w, r, target, http.StatusTemporaryRedirect)
	})
	c := client(t, host(srv))
	c.Credentials = func(string, string) (Credential, error) { return Credential{Username: "me", Password: "sec:ret"}, nil }
	if got, err := c.Small(t.Context(), "a", d, 1000); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	target = other.URL + "/login"
	_, err := c.Small(t.Context(), "a", d, 1000)
	if !errors.Is(err, ErrUnauthorized) {
		t.Errorf("the host behind a redirect asked for credentials: %v", err)
	}
	if v := leaked.Load(); v != nil {
		t.Errorf("the host behind a redirect was sent %q", v)
	}
	target = "http://192.0.2.1/"
	_, err = c.Small(t.Context(), "a", d, 1000)
	wantError(t, err, "redirect to http://192.0.2.1 is refused")
	target = srv.URL
	c.Credentials = nil
}

func TestParseChallenges(t *testing.T) {
	got := parseChallenges([]string{`Bearer realm="https://a.b/c?d=e,f",service=x , scope="a \"b\" c"`, `Negotiate, Basic realm="r"`, `=`, `"`, `Basic realm="open`})
	want := []challenge{
		{"bearer", map[string]string{"realm": "https://a.b/c?d=e,f", "service": "x", "scope": `a "b" c`}},
		{"negotiate", map[string]string{}}, {"basic", map[string]string{"realm": "r"}}, {"basic", map[string]string{"realm": "open"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(challenge{})); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a.b/c",service=x, Basic realm=y`)
	f.Fuzz(func(t *testing.T, s string) { parseChallenges([]string{s, s}) })
}

func TestFileCredentials(t *testing.T) {
	dir := t.TempDir()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "run"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "conf"))
	t.Setenv("DOCKER_CONFIG", filepath.Join(dir, "docker"))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	write("run/containers/auth.json", `{"auths":{"a.example":{"auth":"`+b64("run:1")+`"},"a.example/team":{"auth":"`+b64("team:2")+`"}}}`, 0o600)
	write("docker/config.json", `{"auths":{"a.example":{"auth":"`+b64("docker:3")+`"},"https://index.docker.io/v1/":{"auth":"`+b64("hub:4:5")+`"},
		"https://b.example/v2/":{"username":"u","password":"p"},"tok.example":{"identitytoken":"id"}},
		"credHelpers":{"h.example":"test","bad.example":"../../bin/sh","none.example":"none"}}`, 0o600)
	write("docker-credential-test", "#!/bin/sh\nread server; [ \"$1 $server\" = 'get h.example' ] && echo '{\"Username\":\"<token>\",\"Secret\":\"s\"}'\n", 0o700)
	write("docker-credential-none", "#!/bin/sh\necho credentials not found in native keychain; exit 1\n", 0o700)
	for name, want := range map[string]Credential{
		"a.example/x": {Username: "run", Password: "1"}, "a.example/team/x": {Username: "team", Password: "2"}, "a.example/teams/x": {Username: "run", Password: "1"},
		"docker.io/library/x": {Username: "hub", Password: "4:5"}, "b.example/x": {Username: "u", Password: "p"}, "tok.example/x": {IdentityToken: "id"},
		"h.example/x": {IdentityToken: "s"}, "none.example/x": {}, "c.example/x": {}, "example/x": {},
	} {
		domain, path, _ := strings.Cut(name, "/")
		if got, err := FileCredentials(domain, path); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	_, err := FileCredentials("bad.example", "x")
	wantError(t, err, "no name of a credential helper")
	write("run/containers/auth.json", `{`, 0o600)
	_, err = FileCredentials("a.example", "x")
	wantError(t, err, "auth.json")
}

func TestCancel(t *testing.T) {
	_, d := blob(1 << 20)
	started := make(chan bool)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(d.Size))
		w.(http.Flusher).Flush()
		close(started)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	if _, err := client(t, host(srv)).Download(ctx, "a", d, 0, io.Discard); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
