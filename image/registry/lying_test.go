package registry

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"loper.run/image/oci"
)

func TestDockerContentDigest(t *testing.T) {
	configure(t, "")
	good := oci.FromBytes([]byte(emptyIndex))
	for header, ok := range map[string]bool{
		"": true, "nonsense": true, good.String(): true, oci.FromBytes(nil).String(): false,
	} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Docker-Content-Digest", header)
			io.WriteString(w, emptyIndex)
		})
		_, _, d, err := client(t, host(srv)).Manifest(t.Context(), ref(t, host(srv)+"/a"))
		if (err == nil) != ok || ok && d != good {
			t.Errorf("%q: %s, %v", header, d, err)
		}
		if !ok {
			wantError(t, err, "manifest of", "digest mismatch")
		}
	}
}

// Each warning is shown once, cleaned, and only a few.
func TestWarnings(t *testing.T) {
	configure(t, "")
	n := 0
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		for _, h := range []string{`299 - "old \"tag\""`, "299 - \"esc\u009b2Jape\"", `199 - "stale"`, `299 agent "x"`, `299 - ""`, fmt.Sprintf(`299 - "%d"`, n), `299 - "` + strings.Repeat("x", 9000) + `"`} {
			w.Header().Add("Warning", h)
		}
		io.WriteString(w, emptyIndex)
	})
	c := client(t, host(srv))
	var got []string
	c.Warn = func(s string) { got = append(got, s) }
	for range 20 {
		if _, _, _, err := c.Manifest(t.Context(), ref(t, host(srv)+"/a")); err != nil {
			t.Fatal(err)
		}
	}
	prefix := "registry " + host(srv) + " warns: "
	if len(got) != maxWarnings || got[0] != prefix+`old "tag"` || strings.Contains(got[1], "\u009b") || len(got[3]) != len(prefix)+maxWarning {
		t.Errorf("%d: %q", len(got), got)
	}
}

func TestRetryAfterForms(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"3": 3 * time.Second, "99999999999999999999": 0, "18446744073709551615": 1 << 31 * time.Second, "-1": 0, "soon": 0, "Mon, 02 Jan 2006 15:04:05 GMT": 0,
	} {
		if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {header}}}); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
	date := time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)
	if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {date}}}); got < 28*time.Second || got > 30*time.Second {
		t.Errorf("%s: %v", date, got)
	}
	// Nobody waits an hour.
	configure(t, "")
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(503)
	})
	begin := time.Now()
	_, _, _, err := client(t, host(srv)).Manifest(t.Context(), ref(t, host(srv)+"/a"))
	wantError(t, err, "status 503")
	if time.Since(begin) > 5*time.Second {
		t.Errorf("waited %v", time.Since(begin))
	}
}

// Who sends a byte now and then doesn't keep us for ever.
func TestSlowSender(t *testing.T) {
	configure(t, "")
	content, d := blob(4000)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4000")
		for i := range content {
			if _, err := w.Write(content[i : i+1]); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-time.After(20 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	})
	c := client(t, host(srv))
	c.Stall = time.Second // in which 64 bytes must come, and 50 do
	begin := time.Now()
	_, err := c.Small(t.Context(), "a", d, 4000)
	wantError(t, err, "sent nothing for too long")
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// Where an upload goes on may be another host, which gets no credentials, and
// may not be one without TLS.
func TestUploadOnAnotherHost(t *testing.T) {
	configure(t, "")
	var leaked string
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		leaked += r.Header.Get("Authorization")
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(201)
	})
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(401)
			return
		}
		w.Header().Set("Location", other.URL+"/elsewhere")
		w.WriteHeader(202)
	})
	c := client(t, host(srv))
	c.Credentials = me
	if err := putContent(t, c, "a", []byte("x")); err != nil || leaked != "" {
		t.Errorf("%v, leaked %q", err, leaked)
	}
	_, err := c.do(t.Context(), request{method: http.MethodPut, path: "a", what: "x", actions: "pull,push", at: &url.URL{Scheme: "http", Host: "192.0.2.1", Path: "/x"}})
	wantError(t, err, "upload to http://192.0.2.1 is refused")
}

// A registry that is named insecure may have any certificate, or none, and one
// that isn't may not.
func TestInsecureByName(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	h := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, emptyIndex) }
	plain := serve(t, h)
	secure := httptest.NewTLSServer(http.HandlerFunc(h))
	secure.Config.ErrorLog = plain.Config.ErrorLog
	t.Cleanup(secure.Close)
	_, port, _ := strings.Cut(host(plain), ":")
	for addr, words := range map[string]string{name + ":" + port: "plain HTTP", host(secure): "unknown authority"} {
		configure(t, "[[registry]]\nlocation = '"+addr+"'\ninsecure = true\n")
		if _, _, _, err := client(t, addr).Manifest(t.Context(), ref(t, addr+"/a")); err != nil {
			if strings.HasPrefix(addr, name) && strings.Contains(err.Error(), "no such host") {
				t.Skip("needs a host name that leads here")
			}
			t.Errorf("%s named insecure: %v", addr, err)
		}
		configure(t, "[[registry]]\nlocation = 'other.test'\ninsecure = true\n")
		_, _, _, err := client(t, addr).Manifest(t.Context(), ref(t, addr+"/a"))
		wantError(t, err, words)
	}
}

// Requests go through the proxy that the environment names, but for those hosts
// that it excepts. The environment is read once, so another process has to look.
func TestProxy(t *testing.T) {
	if to := os.Getenv("TEST_PROXY_TARGET"); to != "" {
		c := client(t, to)
		c.Insecure = true
		_, _, _, err := c.Manifest(t.Context(), ref(t, to+"/a"))
		fmt.Println("result:", err)
		return
	}
	var mu sync.Mutex
	var seen []string
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, emptyIndex) }))
	t.Cleanup(secure.Close)
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Method+" "+r.Host)
		mu.Unlock()
		if r.Method != http.MethodConnect {
			io.WriteString(w, emptyIndex)
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		up, err := net.Dial("tcp", secure.Listener.Addr().String())
		if err != nil {
			return
		}
		defer up.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(up, conn)
		io.Copy(conn, up)
	})
	run := func(target string, env ...string) string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$")
		cmd.Env = append(append(os.Environ(), "TEST_PROXY_TARGET="+target), env...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.Run()
		return out.String()
	}
	if out := run("registry.test", "HTTPS_PROXY="+proxy.URL); !strings.Contains(out, "result: <nil>") {
		t.Error(out)
	}
	if len(seen) != 1 || seen[0] != "CONNECT registry.test:443" {
		t.Errorf("the proxy saw %q", seen)
	}
	if out := run("registry.test", "HTTPS_PROXY="+proxy.URL, "NO_PROXY=.test"); strings.Contains(out, "result: <nil>") || len(seen) != 1 {
		t.Errorf("excepted: %s, the proxy saw %q", out, seen)
	}
}

// Whoever reads on after a body has stalled gets the same error again.
func TestReadingOnAfterAStall(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	body := watch(r, 20*time.Millisecond, func(err error) { r.CloseWithError(err) })
	for range 20_000 {
		if _, err := body.Read(make([]byte, 1)); err != errStalled {
			t.Fatal(err)
		}
	}
}
