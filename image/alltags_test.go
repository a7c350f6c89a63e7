package image

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"loper.run/image/oci"
	"loper.run/image/progress"
)

func TestPullAllTags(t *testing.T) {
	f, s := newFake(t), open(t)
	for _, tag := range []string{"one", "two"} {
		f.image(t, tag, oci.Host(), gz(t, "a", tag))
	}
	f.files["tags/list"] = []byte(`{"name":"r","tags":["one","gone","two"]}`)
	repo := strings.TrimSuffix(f.name(), ":latest")
	var out bytes.Buffer
	all, err := s.PullAll(t.Context(), repo, PullOptions{Progress: progress.New(&out), Tries: 1})
	wantError(t, err, "gone")
	if len(all) != 2 || all[0].PulledAs != repo+":one" || read(t, all[1], "a") != "two" {
		t.Errorf("%+v", all)
	}
	if !strings.Contains(out.String(), "two: Pulling from r") {
		t.Error(out.String())
	}
	f.files["tags/list"] = []byte(`{"name":"r","tags":["one","two"]}`)
	if all, err := s.PullAll(t.Context(), repo, PullOptions{}); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	for body, words := range map[string]string{`{"tags":null}`: "there are none", `{"tags":["../x"]}`: "../x", `{"tags":["a\nb"]}`: "which is none"} {
		f.files["tags/list"] = []byte(body)
		_, err := s.PullAll(t.Context(), repo, PullOptions{})
		wantError(t, err, words)
	}
	for _, name := range []string{repo + ":one", repo + "@" + oci.FromBytes(nil).String()} {
		_, err = s.PullAll(t.Context(), name, PullOptions{})
		wantError(t, err, "names one of them")
	}
}

func TestPullTries(t *testing.T) {
	f, s := newFake(t), open(t)
	l := gz(t, "a", "x")
	f.image(t, "latest", oci.Host(), l)
	var asked atomic.Int32
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, blobOf(l)) {
			asked.Add(1)
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	}
	for _, tries := range []int{1, 3} {
		asked.Store(0)
		_, err := s.Pull(t.Context(), f.name(), PullOptions{Tries: tries, Backoff: time.Millisecond})
		wantError(t, err, "status 502")
		if asked.Load() != int32(tries) {
			t.Errorf("asked %d times instead of %d", asked.Load(), tries)
		}
	}
}

// Who waits for another pull is told so.
func TestPullWaits(t *testing.T) {
	f, s := newFake(t), open(t)
	l := gz(t, "a", "x")
	f.image(t, "latest", oci.Host(), l)
	other, err := s.files.BeginLayer(t.Context(), oci.FromBytes(l.tar))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2*saysAfter, func() { other.Abort() })
	var out bytes.Buffer
	if _, err := s.Pull(t.Context(), f.name(), PullOptions{Progress: progress.New(&out)}); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%s: Waiting for another pull\n", oci.FromBytes(l.packed).Short()); !strings.Contains(out.String(), want) {
		t.Errorf("output lacks %q:\n%s", want, out.String())
	}
}
