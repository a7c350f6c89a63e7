package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/image/pack"
	"loper.run/internal/userns"
)

// TestMain lets the test binary be a second process that pulls.
func TestMain(m *testing.M) {
	layer.Workers()
	pack.Workers()
	userns.Main()
	if name := os.Getenv("LOPER_TEST_PULL"); name != "" {
		s, err := Open(os.Getenv("LOPER_TEST_ROOT"))
		if err == nil {
			_, err = s.Pull(context.Background(), name, PullOptions{})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fake is a registry whose content and faults a test decides.
type fake struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte // path below /v2/r/ -> body
	types map[string]string
	hits  map[string]int
	// fault, when set, may answer a request itself.
	fault func(w http.ResponseWriter, r *http.Request) bool
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{files: map[string][]byte{}, types: map[string]string{}, hits: map[string]int{}}
	f.Server = httptest.NewServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(f.Close)
	for _, v := range []string{"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"} {
		t.Setenv(v, "/nonexistent")
	}
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	path := strings.TrimPrefix(r.URL.Path, "/v2/r/")
	body, ok := f.files[path]
	mediaType, fault := f.types[path], f.fault
	f.hits[path]++
	f.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	if mediaType != "" {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", oci.FromBytes(body).String())
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func (f *fake) name() string { return f.Listener.Addr().String() + "/r:latest" }

func (f *fake) blob(body []byte) oci.Descriptor {
	d := oci.Descriptor{Digest: oci.FromBytes(body), Size: int64(len(body))}
	f.files["blobs/"+d.Digest.String()] = body
	return d
}

func (f *fake) manifest(t testing.TB, tag, mediaType string, doc any) oci.Descriptor {
	t.Helper()
	body, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	d := oci.Descriptor{MediaType: mediaType, Digest: oci.FromBytes(body), Size: int64(len(body))}
	for _, name := range []string{tag, d.Digest.String()} {
		if name != "" {
			f.files["manifests/"+name], f.types["manifests/"+name] = body, mediaType
		}
	}
	return d
}

type object map[string]any

// testLayer is a layer before it is in an image.
type testLayer struct {
	tar    []byte
	packed []byte
	suffix string // of the media type
}

// image puts an image of the layers under a tag.
func (f *fake) image(t testing.TB, tag string, p oci.Platform, layers ...testLayer) oci.Descriptor {
	t.Helper()
	diffs := []oci.Digest{}
	list := []oci.Descriptor{}
	for _, l := range layers {
		d := f.blob(l.packed)
		d.MediaType = oci.TypeLayer + l.suffix
		list, diffs = append(list, d), append(diffs, oci.FromBytes(l.tar))
	}
	config, err := json.Marshal(oci.Image{Platform: p, Config: oci.ImageConfig{Cmd: []string{"/bin/" + tag}}, RootFS: oci.RootFS{Type: "layers", DiffIDs: diffs}})
	if err != nil {
		t.Fatal(err)
	}
	c := f.blob(config)
	c.MediaType = oci.TypeConfig
	return f.manifest(t, tag, oci.TypeManifest, object{"schemaVersion": 2, "mediaType": oci.TypeManifest, "config": c, "layers": list})
}

func files(t testing.TB, content map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, body := range content {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), Uid: os.Getuid(), Gid: os.Getgid()}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func plain(t testing.TB, name, body string) testLayer {
	tar := files(t, map[string]string{name: body})
	return testLayer{tar, tar, ""}
}

func gz(t testing.TB, name, body string) testLayer {
	tar := files(t, map[string]string{name: body})
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(tar)
	w.Close()
	return testLayer{tar, buf.Bytes(), "+gzip"}
}

func zst(t testing.TB, name, body string) testLayer {
	t.Helper()
	tar := files(t, map[string]string{name: body})
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return testLayer{tar, w.EncodeAll(tar, nil), "+zstd"}
}

// noise doesn't compress, so that a layer of it takes long enough to be cut.
func noise(n int) string {
	r := rand.NewChaCha8([32]byte{byte(n)})
	b := make([]byte, n)
	r.Read(b)
	return string(b)
}

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// read returns a file of an image, from the uppermost layer that has it.
func read(t testing.TB, img *Image, name string) string {
	t.Helper()
	for i := len(img.Layers) - 1; i >= 0; i-- {
		if b, err := os.ReadFile(img.Layers[i] + "/" + name); err == nil {
			return string(b)
		}
	}
	return "<missing>"
}

// wantNothing checks that no part of an image can be seen.
func wantNothing(t testing.TB, s *Store) {
	t.Helper()
	if imgs, err := s.List(); err != nil || len(imgs) != 0 {
		t.Errorf("List returns %d images, %v", len(imgs), err)
	}
	names, err := s.files.Names()
	if err != nil || len(names) != 0 {
		t.Errorf("there are names: %v, %v", names, err)
	}
}

func wantError(t testing.TB, err error, words ...string) {
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
