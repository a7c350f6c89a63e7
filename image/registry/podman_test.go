package registry

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"loper.run/image/oci"
	"loper.run/test/env"
)

// record serves an index below the paths that it has, and keeps what was asked.
type record struct {
	mu    sync.Mutex
	asked []string
}

func (r *record) serve(t *testing.T, name string, has ...string) string {
	return host(serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/v2/" {
			return
		}
		line := name + " " + req.URL.Path
		r.mu.Lock()
		if !slices.Contains(r.asked, line) {
			r.asked = append(r.asked, line)
		}
		r.mu.Unlock()
		for _, h := range has {
			if strings.HasPrefix(req.URL.Path, "/v2/"+h+"/") {
				w.Header().Set("Content-Type", oci.TypeIndex)
				io.WriteString(w, emptyIndex)
				return
			}
		}
		w.WriteHeader(404)
	}))
}

func (r *record) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := strings.Join(r.asked, ", ")
	r.asked = nil
	return got
}

// The same registries.conf makes the same requests as with skopeo, which is to
// say Podman.
func TestLikePodman(t *testing.T) {
	env.Need(t, "skopeo")
	var r record
	m1, m2, p1 := r.serve(t, "m1", "only/m1"), r.serve(t, "m2", "y/app", "only/m2"), r.serve(t, "p1", "x/app", "app", "team/app")
	digest := "@" + oci.FromBytes([]byte(emptyIndex)).String()
	fill := strings.NewReplacer("M1", m1, "M2", m2, "P1", p1)
	table := func(prefix, location string, mirrors ...string) string {
		s := fmt.Sprintf("[[registry]]\nprefix = '%s'\nlocation = '%s'\ninsecure = true\n", prefix, location)
		for _, m := range mirrors {
			where, pull, _ := strings.Cut(m, " ")
			s += fmt.Sprintf("[[registry.mirror]]\nlocation = '%s'\ninsecure = true\n", where)
			if pull != "" {
				s += "pull-from-mirror = '" + pull + "'\n"
			}
		}
		return s
	}
	for _, test := range []struct{ config, name string }{
		{table("a.test", "P1"), "a.test/app:1"},
		{table("a.test", "P1/x"), "a.test/app"},
		{table("a.test/team", "P1"), "a.test/team/app:1"},
		{table("a.test", "P1", "M1"), "a.test/app:1"},
		{table("a.test", "P1", "M1", "M2/y"), "a.test/app:1"},
		{table("a.test", "P1", "M2/y", "M1"), "a.test/app" + digest},
		{table("a.test", "P1", "M1/y digest-only", "M2/y tag-only"), "a.test/app:1"},
		{table("a.test", "P1", "M1/y digest-only", "M2/z tag-only"), "a.test/app" + digest},
		{table("*.test", "P1", "M1"), "b.a.test/app:1"},
		{table("*.test", "P1/x") + table("a.test", "P1/team"), "a.test/app:1"},
		{table("a.test", "P1/x") + table("a.test/app", "P1/team/app"), "a.test/app:1"},
		{table("a.test/app:1", "P1/team/app:2") + table("a.test", "P1"), "a.test/app:1"},
		{table("docker.io/library", "P1", "M2/y"), "app:1"},
		{table("docker.io", "P1/team", "M1"), "docker.io/library/app:1"},
		{table("a.test", "P1") + "[[registry]]\nlocation = 'a.test/bad'\nblocked = true\n", "a.test/bad/app:1"},
		{table("a.test", "P1", "M1"), "a.test/missing:1"},
	} {
		text := fill.Replace(test.config)
		dir := configure(t, text)
		file := filepath.Join(dir, "containers/registries.conf")
		cmd := exec.Command("skopeo", "--registries-conf", file, "inspect", "--raw", "docker://"+test.name)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, skopeoErr := cmd.CombinedOutput()
		want := r.take()
		name := ref(t, test.name)
		if !name.Digest.IsZero() {
			name.Tag = ""
		}
		c := client(t, name.Domain)
		_, _, _, err := c.Manifest(t.Context(), name)
		if got := r.take(); got != want || (err == nil) != (skopeoErr == nil) {
			t.Errorf("%s with\n%s: asked\n%s (%v), skopeo\n%s (%s)", test.name, text, got, err, want, out)
		}
	}
}

// What one refuses to read, the other does too.
func TestRefusesLikePodman(t *testing.T) {
	env.Need(t, "skopeo")
	for text, same := range map[string]bool{
		"[[registry]]\nprefix = 'a.test'\n":                                                 true,
		"[[registry]]\ninsecure = true\n":                                                   true,
		"[[registry]]\nlocation = 'https://a.test'\n":                                       true,
		"[[registry]]\nprefix = 'a.*.test'\nlocation = 'b.test'\n":                          false, // skopeo takes it and never uses it
		"[[registry]]\nlocation = 'a.test'\n[[registry.mirror]]\ninsecure = true\n":         true,
		"short-name-mode = 'strict'\n":                                                      true,
		"[registries.search]\nregistries = ['a.test']\n[[registry]]\nlocation = 'b.test'\n": true,
		"[registries.block]\nregistries = ['127.0.0.1:1']\n":                                true,
		"[[registry]]\nlocation = 'a.test'\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'b.test'\npull-from-mirror = 'all'\n": true,
	} {
		dir := configure(t, text)
		file := filepath.Join(dir, "containers/registries.conf")
		cmd := exec.Command("skopeo", "--registries-conf", file, "inspect", "--raw", "docker://127.0.0.1:1/x")
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, _ := cmd.CombinedOutput()
		theirs := !strings.Contains(string(out), "connection refused")
		c, err := New("127.0.0.1:1")
		if err == nil {
			_, _, _, err = c.Manifest(t.Context(), ref(t, "127.0.0.1:1/x"))
		}
		ours := !strings.Contains(err.Error(), "connection refused")
		if (ours == theirs) != same {
			t.Errorf("%q: ours %v, skopeo %s", text, err, out)
		}
	}
}
