package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"loper.run/image/oci"
)

// member is an entry of a tar to be made.
type member struct {
	name, body string
	link       string // target; of a symbolic link unless hard
	hard       bool
}

func makeTar(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.body)), Typeflag: tar.TypeReg}
		switch {
		case m.hard:
			h.Typeflag, h.Linkname = tar.TypeLink, m.link
		case m.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, m.link
		case strings.HasSuffix(m.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read opens an archive in memory.
func read(t testing.TB, data []byte) (*Archive, error) {
	t.Helper()
	fd, err := unix.MemfdCreate("archive", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "archive")
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	a, err := Read(t.Context(), f, os.TempDir())
	if err == nil {
		t.Cleanup(func() { a.Close() })
	}
	return a, err
}

func config(layers ...string) string {
	var ids []oci.Digest
	for _, l := range layers {
		ids = append(ids, oci.FromBytes([]byte(l)))
	}
	body, err := json.Marshal(oci.Image{Platform: oci.Host(), RootFS: oci.RootFS{Type: "layers", DiffIDs: ids}})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func list(entries ...dockerEntry) string {
	body, err := json.Marshal(entries)
	if err != nil {
		panic(err)
	}
	return string(body)
}

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

// manifestOf returns the manifest of an archive's image.
func manifestOf(t *testing.T, a *Archive, i int) *oci.Manifest {
	t.Helper()
	body, err := a.Small(a.Images[i].Target, oci.MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := oci.ParseDocument(body, a.Images[i].Target.MediaType)
	if err != nil {
		t.Fatal(err)
	}
	return doc.Manifest
}

func content(t *testing.T, a *Archive, d oci.Descriptor) string {
	t.Helper()
	body, err := a.Small(d, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// Docker's classic form, with a shared layer as a link, a compressed one, and
// several names.
func TestClassic(t *testing.T) {
	packed := gz("second")
	data := makeTar(t,
		member{name: "a/"}, member{name: "a/layer.tar", body: "first"},
		member{name: "b/layer.tar", link: "../a/layer.tar"},
		member{name: "c/layer.tar", body: packed},
		member{name: "d/layer.tar", link: "c/layer.tar", hard: true},
		member{name: "one.json", body: config("first", "second")}, member{name: "two.json", body: config("first", "second")},
		member{name: "manifest.json", body: list(
			dockerEntry{Config: "one.json", RepoTags: []string{"x:1", "x:2"}, Layers: []string{"a/layer.tar", "c/layer.tar"}},
			dockerEntry{Config: "two.json", Layers: []string{"b/layer.tar", "d/layer.tar"}})},
	)
	for name, data := range map[string][]byte{"plain": data, "gzip": []byte(gz(string(data))), "zstd": zstandardOf(t, data)} {
		a, err := read(t, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(a.Images) != 2 || fmt.Sprint(a.Images[0].Names, a.Images[1].Names) != "[x:1 x:2] []" {
			t.Errorf("%s: images %+v", name, a.Images)
		}
		for i := range a.Images {
			m := manifestOf(t, a, i)
			if got := content(t, a, m.Layers[0]) + " " + content(t, a, m.Layers[1]); got != "first "+packed {
				t.Errorf("%s: layers %q", name, got)
			}
			if m.Layers[1].MediaType != oci.TypeDockerLayer+".gzip" || content(t, a, m.Config) != config("first", "second") {
				t.Errorf("%s: %+v", name, m)
			}
		}
	}
}

func zstandardOf(t *testing.T, data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// From a pipe an archive is copied once.
func TestPipe(t *testing.T) {
	data := makeTar(t, member{name: "l", body: "first"}, member{name: "c", body: config("first")}, member{name: "manifest.json", body: list(dockerEntry{Config: "c", Layers: []string{"l"}})})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		w.Write(data)
		w.Close()
	}()
	temp := t.TempDir()
	a, err := Read(t.Context(), r, temp)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got := content(t, a, manifestOf(t, a, 0).Layers[0]); got != "first" {
		t.Errorf("layer %q", got)
	}
	if names, _ := os.ReadDir(temp); len(names) > 0 {
		t.Errorf("the copy has a name: %v", names)
	}
}

// tar writes "./" and "./name" when it is given a directory as ".".
func TestArchiveOfADirectory(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"./l": "first", "./c": config("first"), "./manifest.json": list(dockerEntry{Config: "c", Layers: []string{"l"}})} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := read(t, b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got := content(t, a, manifestOf(t, a, 0).Layers[0]); got != "first" {
		t.Errorf("layer %q", got)
	}
}

// What an archive must not do, each told in one line and without harm.
func TestHostileArchives(t *testing.T) {
	good := []member{{name: "l", body: "first"}, {name: "c", body: config("first")}, {name: "manifest.json", body: list(dockerEntry{Config: "c", Layers: []string{"l"}})}}
	with := func(more ...member) []byte { return makeTar(t, append(good[:len(good):len(good)], more...)...) }
	manifestFor := func(e dockerEntry) []byte {
		return makeTar(t, good[0], good[1], member{name: "manifest.json", body: list(e)})
	}
	layout := func(index string) []byte {
		return makeTar(t, member{name: "oci-layout", body: layoutVersion}, member{name: "index.json", body: index})
	}
	cut := with(member{name: "big", body: strings.Repeat("x", 5000)})
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"empty file":                 {nil, "not an archive of images"},
		"no tar":                     {[]byte(strings.Repeat("hello ", 500)), "not an archive of images"},
		"empty tar":                  {makeTar(t), "not an archive of images"},
		"some other tar":             {makeTar(t, member{name: "etc/passwd", body: "x"}), "not an archive of images"},
		"up and out":                 {with(member{name: "../../etc/passwd", body: "x"}), "leads out of the archive"},
		"link up and out":            {with(member{name: "x", link: "../../etc/passwd"}), "leads out of the archive"},
		"absolute link":              {with(member{name: "x", link: "/etc/passwd"}), "leads out of the archive"},
		"hard link out":              {with(member{name: "x", link: "../etc/passwd", hard: true}), "leads out of the archive"},
		"a name twice":               {with(member{name: "l", body: "other"}), "it is there twice"},
		"a name twice, other words":  {with(member{name: "./a/../l", body: "other"}), "it is there twice"},
		"links in a circle":          {makeTar(t, good[1], member{name: "l", link: "m"}, member{name: "m", link: "l"}, good[2]), "in a circle"},
		"link to nothing":            {makeTar(t, good[1], member{name: "l", link: "m"}, good[2]), "not exist"},
		"cut off":                    {cut[:len(cut)-4096], "cut off"},
		"layers and config disagree": {manifestFor(dockerEntry{Config: "c", Layers: []string{"l", "l"}}), "has 1 layers, manifest.json 2"},
		"config outside":             {manifestFor(dockerEntry{Config: "../../../etc/passwd", Layers: []string{"l"}}), "not exist"},
		"layer outside":              {manifestFor(dockerEntry{Config: "c", Layers: []string{"/etc/passwd"}}), "not exist"},
		"no images":                  {makeTar(t, member{name: "manifest.json", body: "[]"}), "no image"},
		"not a list":                 {makeTar(t, member{name: "manifest.json", body: "{}"}), "manifest.json"},
		"too many layers":            {manifestFor(dockerEntry{Config: "c", Layers: make([]string, 501)}), "more than 500 layers"},
		"older than manifests":       {makeTar(t, member{name: "repositories", body: "{}"}), "older than 1.10"},
		"no index":                   {makeTar(t, member{name: "oci-layout", body: layoutVersion}), "index.json"},
		"unknown layout":             {makeTar(t, member{name: "oci-layout", body: `{"imageLayoutVersion":"9.0"}`}), "unknown"},
		"index without images":       {layout(`{"schemaVersion":2,"manifests":[]}`), "no image"},
		"index that is a manifest":   {layout(`{"schemaVersion":2,"config":{},"layers":[]}`), "index.json"},
		"index with a path":          {layout(`{"schemaVersion":2,"manifests":[{"digest":"sha256:../../../../etc/passwd","size":1}]}`), "digest"},
		"index too big":              {layout(strings.Repeat(" ", maxIndex+1)), "more than"},
		"xz":                         {[]byte("\xfd7zXZ\x00aaaaaaaaaaaaa"), "xz"},
		"cut off gzip":               {[]byte(gz(string(with())))[:100], "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := read(t, test.data)
			if err == nil {
				t.Fatalf("it is read: %+v", a.Images)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("want %q, got %v", test.want, err)
			}
		})
	}
	if _, err := read(t, []byte("hello")); !errors.Is(err, ErrFormat) {
		t.Errorf("%v is no ErrFormat", err)
	}
}

// A content that is not what its digest says is told when it is used.
func TestWrongContent(t *testing.T) {
	body := `{"schemaVersion":2}`
	d := oci.FromBytes([]byte(body))
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, oci.TypeManifest, d, len(body))
	for want, stored := range map[string]string{"digest mismatch": `{"schemaVersion":3}`, "its descriptor says": body + " "} {
		a, err := read(t, makeTar(t, member{name: "oci-layout", body: layoutVersion}, member{name: "index.json", body: index}, member{name: blobPlace(d), body: stored}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Small(a.Images[0].Target, 1000); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// Names of a directory are as foreign as those of a tar.
func TestHostileDirectory(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	body := `{"schemaVersion":2}`
	d := oci.FromBytes([]byte(body))
	if err := os.WriteFile(outside, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, oci.TypeManifest, d, len(body))
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o755),
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(layoutVersion), 0o644),
		os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o644),
		os.Symlink(outside, filepath.Join(dir, blobPlace(d))))
	if err != nil {
		t.Fatal(err)
	}
	a, err := ReadDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Small(a.Images[0].Target, 1000); err == nil {
		t.Error("a link leads out of the directory")
	}
}
