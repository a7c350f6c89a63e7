package image

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"loper.run/image/oci"
	"loper.run/test/env"
)

// Debian's registry, with a password, as most private ones are.
func TestPullFromDockerRegistry(t *testing.T) {
	env.Need(t, "docker-registry")
	reg, err := env.StartRegistry(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Stop)
	tar := env.Tar(env.File{Name: "a", Body: "x", UID: os.Getuid(), GID: os.Getgid()})
	docker := env.Gzipped(tar)
	docker.MediaType = env.DockerLayer
	for name, img := range map[string]*env.Image{
		"oci:one":    env.NewImage(env.RunConfig{Cmd: []string{"true"}}, env.Gzipped(tar)),
		"docker/two": env.NewImage(env.RunConfig{Cmd: []string{"true"}}, docker),
	} {
		if _, err := reg.Push(img, name); err != nil {
			t.Fatal(err)
		}
		s := open(t)
		for _, v := range []string{"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
			t.Setenv(v, "")
		}
		dir := t.TempDir()
		t.Setenv("DOCKER_CONFIG", dir)
		_, err := s.Pull(t.Context(), reg.Addr+"/"+name, PullOptions{})
		wantError(t, err, "wants credentials")
		wantNothing(t, s)
		config := `{"auths":{"` + reg.Addr + `":{"username":"` + reg.User + `","password":"` + reg.Pass + `"}}}`
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.Pull(t.Context(), reg.Addr+"/"+name, PullOptions{})
		if err != nil || read(t, got, "a") != "x" || got.Manifest.String() != img.Manifest.Digest() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// The registry that other tools test with serves what ours must understand.
func TestPullFromGoRegistry(t *testing.T) {
	newFake(t) // no credentials
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	tar := env.Tar(env.File{Name: "a", Body: "x", UID: os.Getuid(), GID: os.Getgid()})
	mine := env.NewImage(env.RunConfig{}, env.Gzipped(tar))
	other := env.NewImageFor("linux", "s390x", env.RunConfig{}, env.Plain(tar))
	put := func(path, mediaType string, body []byte) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPut, srv.URL+path, strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", mediaType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("PUT %s: %s", path, resp.Status)
		}
	}
	for _, img := range []*env.Image{mine, other} {
		for _, b := range img.Blobs() {
			resp, err := http.Post(srv.URL+"/v2/a/b/blobs/uploads/?digest="+b.Digest(), "application/octet-stream", strings.NewReader(string(b.Data)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		put("/v2/a/b/manifests/"+img.Manifest.Digest(), img.Manifest.MediaType, img.Manifest.Data)
	}
	index := env.Index(env.Platform{OS: "linux", Arch: "s390x", Image: other}, env.Platform{OS: "linux", Arch: oci.Host().Architecture, Image: mine})
	put("/v2/a/b/manifests/v1", index.MediaType, index.Data)
	s := open(t)
	name := strings.TrimPrefix(srv.URL, "http://") + "/a/b"
	img, err := s.Pull(t.Context(), name+":v1", PullOptions{})
	if err != nil || img.Manifest.String() != mine.Manifest.Digest() || img.Digests[0] != name+"@"+index.Digest() {
		t.Errorf("%+v, %v", img, err)
	}
	if _, err := s.Resolve(name + "@" + index.Digest()); err != nil {
		t.Error(err)
	}
	if _, err := s.Pull(t.Context(), name+"@"+mine.Manifest.Digest(), PullOptions{}); err != nil {
		t.Error(err)
	}
}
