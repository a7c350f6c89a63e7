package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// From the web comes only what nobody on the way can change, also behind a
// redirect.
func TestFetch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/root.tar":
			io.WriteString(w, "tar")
		case "/away":
			http.Redirect(w, r, "http://192.0.2.1/root.tar", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/root.tar", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for _, path := range []string{"/root.tar", "/here"} {
		body, err := fetch(t.Context(), server.URL+path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if data, err := io.ReadAll(body); err != nil || string(data) != "tar" {
			t.Errorf("%s: %q, %v", path, data, err)
		}
		body.Close()
	}
	for address, want := range map[string]string{
		server.URL + "/away": "only https", server.URL + "/round": "10 redirects", server.URL + "/none": "404",
		"http://192.0.2.1/x": "only https", "http://localhost.example.com/x": "only https", "http://127.0.0.1.example.com/x": "only https",
	} {
		if body, err := fetch(t.Context(), address); err == nil {
			body.Close()
			t.Errorf("%s is fetched", address)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}
