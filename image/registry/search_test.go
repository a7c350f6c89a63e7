package registry

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"loper.run/image/oci"
	"loper.run/test/env"
)

func TestSearchOfTheFirstVersion(t *testing.T) {
	configure(t, "")
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/search" || r.FormValue("q") != "te st" {
			w.WriteHeader(404)
			return
		}
		switch r.FormValue("page") {
		case "1":
			io.WriteString(w, `{"num_pages":2,"results":[{"name":"a\u001b[2J","description":"x\ny","star_count":3,"is_official":true},{"name":"b"}]}`)
		case "2":
			io.WriteString(w, `{"num_pages":2,"results":[{"name":"c"},{"name":"d"}]}`)
		}
	})
	got, err := client(t, host(srv)).Search(t.Context(), "te st", 3)
	if err != nil || len(got) != 3 || got[0] != (Found{host(srv) + "/a [2J", "x y", 3, true, false}) || got[2].Name != host(srv)+"/c" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSearchOfDockerRegistry(t *testing.T) {
	ca := env.NewAuthority(t)
	config := configure(t, "")
	tokens := env.NewTokens(t, ca)
	reg := env.NewRegistry(t, env.RegistryOptions{Tokens: tokens, Authority: ca})
	ca.CertsD(t, config, reg.Addr, false)
	c := client(t, reg.Addr)
	c.Credentials = me
	for i := range 3 {
		if err := putContent(t, c, fmt.Sprintf("team/tool%d", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Search(t.Context(), "tool", 2)
	if err != nil || len(got) != 2 || got[0].Name != reg.Addr+"/team/tool0" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.Search(t.Context(), "none", 2); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	given, _ := tokens.Given()
	if last := given[len(given)-1]; last != "[{registry catalog [*]}]" {
		t.Errorf("the token is for %s", last)
	}
	_, err = client(t, reg.Addr).Search(t.Context(), "tool", 2)
	wantError(t, err, "wants credentials")
}

func TestCatalogInPages(t *testing.T) {
	configure(t, "")
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/v2/_catalog":
			w.WriteHeader(404)
		case r.FormValue("last") == "":
			w.Header().Set("Link", `</v2/_catalog?last=b&n=2>; rel="next"`)
			io.WriteString(w, `{"repositories":["a","b"]}`)
		default:
			io.WriteString(w, `{"repositories":["c"]}`)
		}
	})
	got, err := client(t, host(srv)).Search(t.Context(), "", 10)
	if err != nil || len(got) != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSearchPlaces(t *testing.T) {
	configure(t, "")
	for term, want := range map[string]string{"busybox": "docker.io busybox", "a/b": "docker.io a/b", "quay.io/a/b": "quay.io a/b", "localhost:5000/": "localhost:5000 "} {
		domains, rest, err := SearchPlaces(term)
		if got := strings.Join(domains, ",") + " " + rest; err != nil || got != want {
			t.Errorf("%s: %q, %v", term, got, err)
		}
	}
	configure(t, `unqualified-search-registries = ["a.test", "b.test"]`)
	if domains, rest, err := SearchPlaces("x"); err != nil || fmt.Sprint(domains, rest) != "[a.test b.test]x" {
		t.Error(domains, rest, err)
	}
}

func FuzzNextPage(f *testing.F) {
	f.Add(`</v2/_catalog?last=b&n=2>; rel="next"`, "_catalog")
	f.Add(`<https://elsewhere.test/v2/_catalog>;rel=next`, "_catalog")
	f.Fuzz(func(t *testing.T, link, what string) {
		req, err := http.NewRequest(http.MethodGet, "https://a.test/v2/"+"_catalog", nil)
		if err != nil {
			t.Fatal(err)
		}
		nextPage(&http.Response{Request: req, Header: http.Header{"Link": {link}}}, what)
	})
}

// Whatever a registry says of ranges, what is taken begins at the byte that was
// asked for and ends at the last one.
func FuzzContentRange(f *testing.F) {
	f.Add("bytes 10-99/100", int64(10), 206, int64(90))
	f.Add("bytes 0-99/*", int64(0), 200, int64(-1))
	f.Add("bytes 18446744073709551615-0/0", int64(1), 206, int64(0))
	f.Fuzz(func(t *testing.T, said string, at int64, status int, length int64) {
		d := oci.Descriptor{Digest: oci.FromBytes(nil), Size: 100}
		if at < 0 || at >= d.Size {
			return
		}
		tr := transfer{d: d, at: at, to: d.Size, all: true}
		skip, err := tr.begins(&http.Response{StatusCode: status, ContentLength: length, Header: http.Header{"Content-Range": {said}}}, at > 0)
		if err == nil && skip != 0 && skip != at {
			t.Errorf("skips %d bytes of %q", skip, said)
		}
		if err == nil && length >= 0 && length-skip != d.Size-at {
			t.Errorf("takes %d bytes, of which %d are skipped, from %d on", length, skip, at)
		}
	})
}
