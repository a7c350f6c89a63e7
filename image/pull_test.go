package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/image/progress"
)

func TestPull(t *testing.T) {
	f, s := newFake(t), open(t)
	d := f.image(t, "latest", oci.Host(), gz(t, "a", "one"), zst(t, "b", "two"), plain(t, "c", "three"), gz(t, "a", "four"))
	var out bytes.Buffer
	show := progress.New(&out)
	img, err := s.Pull(t.Context(), f.name(), PullOptions{Progress: show})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, img, "a") + read(t, img, "b") + read(t, img, "c"); got != "fourtwothree" {
		t.Errorf("files are %q", got)
	}
	if img.Manifest != d.Digest || len(img.Layers) != 4 || img.Size != 15 || img.Config.Cmd[0] != "/bin/latest" {
		t.Errorf("image is %+v", img)
	}
	base := strings.TrimSuffix(f.name(), ":latest")
	for _, name := range []string{f.name(), base, base + "@" + d.Digest.String(), img.ID.String(), img.ID.Hex(), img.ID.Short(), "sha256:" + img.ID.Short()} {
		got, err := s.Resolve(name)
		if err != nil || got.ID != img.ID || got.Names[0] != f.name() || got.Digests[0] != base+"@"+d.Digest.String() {
			t.Errorf("Resolve(%s) = %+v, %v", name, got, err)
		}
	}
	for _, want := range []string{"latest: Pulling from r", ": Pull complete", "Digest: " + d.Digest.String(), "Status: Downloaded newer image for " + f.name()} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	if _, err := s.Pull(t.Context(), f.name(), PullOptions{Progress: progress.New(&out)}); err != nil || !strings.Contains(out.String(), "Status: Image is up to date for "+f.name()) {
		t.Errorf("second pull: %v\n%s", err, out.String())
	}
	for path, n := range f.hits {
		if strings.HasPrefix(path, "blobs/") && n != 1 {
			t.Errorf("%s was fetched %d times", path, n)
		}
	}
	f.Close()
	if _, err := s.Pull(t.Context(), base+"@"+d.Digest.String(), PullOptions{}); err != nil {
		t.Errorf("a pull by digest of what is there needs the registry: %v", err)
	}
}

func TestPullSharedLayers(t *testing.T) {
	f, s := newFake(t), open(t)
	shared := gz(t, "base", "base")
	f.image(t, "latest", oci.Host(), shared, gz(t, "x", "1"))
	f.image(t, "two", oci.Host(), shared, gz(t, "x", "2"), shared)
	var out bytes.Buffer
	a, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Pull(t.Context(), strings.Replace(f.name(), "latest", "two", 1), PullOptions{Progress: progress.New(&out)})
	if err != nil {
		t.Fatal(err)
	}
	if a.Layers[0] != b.Layers[0] || len(b.Layers) != 3 || b.Layers[0] != b.Layers[2] || b.Size != 5 {
		t.Errorf("layers are not shared: %+v, %+v", a, b)
	}
	if want := oci.FromBytes(shared.packed).Short() + ": Already exists"; !strings.Contains(out.String(), want) {
		t.Errorf("output lacks %q:\n%s", want, out.String())
	}
	if n := f.hits["blobs/"+oci.FromBytes(shared.packed).String()]; n != 1 {
		t.Errorf("the shared layer was fetched %d times", n)
	}
}

func TestPullIndex(t *testing.T) {
	f, s := newFake(t), open(t)
	other := oci.Platform{OS: "linux", Architecture: "s390x"}
	mine := f.image(t, "", oci.Host(), gz(t, "a", "mine"))
	theirs := f.image(t, "", other, gz(t, "a", "theirs"))
	host := oci.Host()
	mine.Platform, theirs.Platform = &host, &other
	inner := f.manifest(t, "", oci.TypeIndex, object{"schemaVersion": 2, "manifests": []any{theirs, mine}})
	inner.Platform = nil
	f.manifest(t, "latest", oci.TypeIndex, object{"schemaVersion": 2, "mediaType": oci.TypeIndex, "manifests": []any{theirs, mine}})
	f.manifest(t, "nested", oci.TypeDockerIndex, object{"schemaVersion": 2, "mediaType": oci.TypeDockerIndex, "manifests": []any{inner}})
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil || read(t, img, "a") != "mine" {
		t.Fatalf("host's platform: %+v, %v", img, err)
	}
	nested, err := s.Pull(t.Context(), strings.Replace(f.name(), "latest", "nested", 1), PullOptions{})
	if err != nil || nested.ID != img.ID {
		t.Errorf("nested index: %+v, %v", nested, err)
	}
	img, err = s.Pull(t.Context(), f.name(), PullOptions{Platform: "linux/s390x"})
	if err != nil || read(t, img, "a") != "theirs" {
		t.Errorf("s390x: %+v, %v", img, err)
	}
	_, err = s.Pull(t.Context(), f.name(), PullOptions{Platform: "plan9/mips"})
	wantError(t, err, "no image for the platform plan9/mips", "linux/s390x")
	// An index that holds itself can't be made, but a deep one can.
	deep := inner
	for range oci.MaxDepth {
		deep = f.manifest(t, "deep", oci.TypeIndex, object{"schemaVersion": 2, "manifests": []any{oci.Descriptor{MediaType: deep.MediaType, Digest: deep.Digest, Size: deep.Size}}})
	}
	_, err = s.Pull(t.Context(), strings.Replace(f.name(), "latest", "deep", 1), PullOptions{})
	wantError(t, err, "more than 3 indexes")
}

func TestPullWrongPlatform(t *testing.T) {
	f, s := newFake(t), open(t)
	f.image(t, "latest", oci.Platform{OS: "linux", Architecture: "s390x"}, gz(t, "a", "x"))
	_, err := s.Pull(t.Context(), f.name(), PullOptions{Platform: "linux/riscv64"})
	wantError(t, err, "the image is for linux/s390x, not for linux/riscv64")
	wantNothing(t, s)
}

// blobOf returns the path of an image's first layer.
func blobOf(l testLayer) string { return "blobs/" + oci.FromBytes(l.packed).String() }

func TestPullBadContent(t *testing.T) {
	good := gz(t, "a", noise(300_000))
	truncated := testLayer{good.tar, good.packed[:len(good.packed)-1000], "+gzip"}
	wrongDiff := testLayer{[]byte("something else"), good.packed, "+gzip"}
	noTar := testLayer{[]byte("not a tar"), []byte("not a tar"), ""}
	escape := func(name string) testLayer {
		tar := files(t, map[string]string{name: "evil"})
		return testLayer{tar, tar, ""}
	}
	var dangling bytes.Buffer
	w := tar.NewWriter(&dangling)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "nothing"})
	w.Close()
	for name, test := range map[string]struct {
		layer testLayer
		fault func(f *fake)
		words []string
	}{
		"no link target": {testLayer{dangling.Bytes(), dangling.Bytes(), ""}, nil, []string{"no such file"}},
		"wrong digest":   {good, func(f *fake) { b := bytes.Clone(good.packed); b[1000] ^= 1; f.files[blobOf(good)] = b }, []string{"digest mismatch", oci.FromBytes(good.packed).String()}},
		"wrong size":     {good, func(f *fake) { f.files[blobOf(good)] = append(bytes.Clone(good.packed), 'x') }, []string{"wrong size"}},
		"truncated gzip": {truncated, nil, []string{"layer " + oci.FromBytes(truncated.packed).Short()}},
		"wrong diff id":  {wrongDiff, nil, []string{"diff_id", "digest mismatch"}},
		"no tar":         {noTar, nil, []string{"layer " + oci.FromBytes(noTar.packed).Short()}},
		"missing layer":  {good, func(f *fake) { delete(f.files, blobOf(good)) }, []string{"not found in registry", "layer"}},
		"outside":        {escape("../../evil"), nil, []string{"layer"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := newFake(t), open(t)
			f.image(t, "latest", oci.Host(), gz(t, "other", "x"), test.layer)
			if test.fault != nil {
				test.fault(f)
			}
			_, err := s.Pull(t.Context(), f.name(), PullOptions{})
			wantError(t, err, append(test.words, "pull "+f.name())...)
			t.Log(err)
			wantNothing(t, s)
			// What was wrong is not kept: the next pull of good content works.
			if test.fault != nil {
				f.files[blobOf(good)] = good.packed
				if img, err := s.Pull(t.Context(), f.name(), PullOptions{}); err != nil || read(t, img, "a") != noise(300_000) {
					t.Errorf("pull of the mended image: %v", err)
				}
			}
		})
	}
}

func TestPullBadDocuments(t *testing.T) {
	f, s := newFake(t), open(t)
	d := f.image(t, "good", oci.Host(), gz(t, "a", "x"))
	good := f.files["manifests/good"]
	config := f.blob([]byte(`{"rootfs":{"type":"layers","diff_ids":[]}}`))
	put := func(tag, mediaType, body string) {
		f.files["manifests/"+tag], f.types["manifests/"+tag] = []byte(body), mediaType
	}
	put("ambiguous", oci.TypeManifest, `{"manifests":[],`+string(good[1:]))
	put("contradicts", oci.TypeDockerManifest, string(good))
	put("schema1", "application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"fsLayers":[]}`)
	put("huge", oci.TypeManifest, strings.Repeat(" ", 100<<20))
	f.manifest(t, "layers", oci.TypeManifest, object{"schemaVersion": 2, "config": config, "layers": []any{object{"digest": d.Digest, "size": 1, "mediaType": oci.TypeLayer}}})
	f.manifest(t, "artifact", oci.TypeManifest, object{"schemaVersion": 2, "config": object{"digest": d.Digest, "size": 1, "mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": []any{}})
	f.manifest(t, "encrypted", oci.TypeManifest, object{"schemaVersion": 2, "config": config, "layers": []any{object{"digest": d.Digest, "size": 1, "mediaType": oci.TypeLayer + "+gzip+encrypted"}}})
	f.manifest(t, "bigconfig", oci.TypeManifest, object{"schemaVersion": 2, "config": object{"digest": config.Digest, "size": 1 << 40, "mediaType": oci.TypeConfig}, "layers": []any{}})
	f.manifest(t, "configsize", oci.TypeManifest, object{"schemaVersion": 2, "config": object{"digest": config.Digest, "size": 10, "mediaType": oci.TypeConfig}, "layers": []any{}})
	host := oci.Host()
	d.Platform, d.Size = &host, d.Size+1
	f.manifest(t, "size", oci.TypeIndex, object{"schemaVersion": 2, "manifests": []any{d}})
	for tag, words := range map[string]string{
		"ambiguous": "ambiguous", "contradicts": "calls itself", "schema1": "schema 1", "huge": "too large", "layers": "0 layers, its manifest 1",
		"artifact": "not a container image", "encrypted": "no layer of an image", "bigconfig": "more than", "configsize": "descriptor says 10", "size": "its index says",
		"unknown": "image r:unknown not found",
	} {
		name := strings.Replace(f.name(), "latest", tag, 1)
		_, err := s.Pull(t.Context(), name, PullOptions{})
		wantError(t, err, words)
		if (tag == "unknown") != errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", tag, err)
		}
	}
	wantNothing(t, s)
	if _, err := s.Pull(t.Context(), "Not A Name", PullOptions{}); err == nil {
		t.Error("a bad name is pulled")
	}
}

func TestPullResumes(t *testing.T) {
	f, s := newFake(t), open(t)
	body := noise(2_000_000)
	l := gz(t, "a", body)
	f.image(t, "latest", oci.Host(), l)
	cut, ranges := true, []string{}
	f.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, blobOf(l)) {
			return false
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if !cut {
			ranges = append(ranges, r.Header.Get("Range"))
			return false
		}
		// The registry goes away in the middle and comes back with an error that no retry helps.
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(l.packed)))
		w.Write(l.packed[:1_000_000])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	_, err := s.Pull(t.Context(), f.name(), PullOptions{})
	wantError(t, err, "status 400")
	wantNothing(t, s)
	f.mu.Lock()
	cut = false
	f.mu.Unlock()
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil || read(t, img, "a") != body {
		t.Fatalf("second pull: %v", err)
	}
	if len(ranges) != 1 || ranges[0] != "bytes=1000000-" {
		t.Errorf("the good part was not kept: ranges %q", ranges)
	}
}

// A part on disk that is not what the registry sent is found out and fetched anew.
func TestPullRottenPart(t *testing.T) {
	f, s := newFake(t), open(t)
	body := noise(500_000)
	l := gz(t, "a", body)
	f.image(t, "latest", oci.Host(), l)
	part, err := s.files.Partial(t.Context(), oci.FromBytes(l.packed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.WriteAt(make([]byte, 100_000), 0); err != nil {
		t.Fatal(err)
	}
	part.Close()
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil || read(t, img, "a") != body {
		t.Errorf("pull: %v", err)
	}
}

func child(t *testing.T, root, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "LOPER_TEST_PULL="+name, "LOPER_TEST_ROOT="+root)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

func TestPullByTwoProcesses(t *testing.T) {
	f, s := newFake(t), open(t)
	var layers []testLayer
	for i := range 6 {
		layers = append(layers, gz(t, fmt.Sprint("f", i), noise(200_000+i)))
	}
	f.image(t, "latest", oci.Host(), layers...)
	f.fault = func(http.ResponseWriter, *http.Request) bool { time.Sleep(20 * time.Millisecond); return false }
	var children []*exec.Cmd
	for range 3 {
		children = append(children, child(t, s.files.Root(), f.name()))
	}
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Errorf("another process: %v", err)
		}
	}
	for i := range 6 {
		if read(t, img, fmt.Sprint("f", i)) != noise(200_000+i) {
			t.Errorf("file %d differs", i)
		}
		if n := f.hits[blobOf(layers[i])]; n != 1 {
			t.Errorf("layer %d was fetched %d times", i, n)
		}
	}
}

func TestPullInParallel(t *testing.T) {
	f, s := newFake(t), open(t)
	f.image(t, "latest", oci.Host(), gz(t, "a", noise(300_000)), gz(t, "b", noise(300_001)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.Pull(t.Context(), f.name(), PullOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestPullKilled(t *testing.T) {
	f, s := newFake(t), open(t)
	var layers []testLayer
	for i := range 4 {
		layers = append(layers, gz(t, fmt.Sprint("f", i), noise(1_000_000+i)))
	}
	f.image(t, "latest", oci.Host(), layers...)
	slow := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || r.Header.Get("Range") != "" {
			return false
		}
		f.mu.Lock()
		body := f.files[strings.TrimPrefix(r.URL.Path, "/v2/r/")]
		f.mu.Unlock()
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		for len(body) > 0 {
			n := min(len(body), 100_000)
			w.Write(body[:n])
			w.(http.Flusher).Flush()
			body = body[n:]
			time.Sleep(5 * time.Millisecond)
		}
		return true
	}
	for i := range 8 {
		f.mu.Lock()
		f.fault = slow
		f.mu.Unlock()
		c := child(t, s.files.Root(), f.name())
		time.Sleep(time.Duration(15+i*15) * time.Millisecond)
		c.Process.Kill()
		c.Wait()
		if imgs, err := s.List(); err != nil {
			t.Fatal(err)
		} else if len(imgs) == 1 {
			// Whole, though the kill may have come before its name.
			if _, err := s.Resolve(imgs[0].ID.String()); err != nil {
				t.Errorf("the image is there, but: %v", err)
			}
			break
		}
	}
	f.mu.Lock()
	f.fault = nil
	f.mu.Unlock()
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if read(t, img, fmt.Sprint("f", i)) != noise(1_000_000+i) {
			t.Errorf("file %d differs", i)
		}
	}
	for _, dir := range []string{"partial", "staging"} {
		if left, err := os.ReadDir(s.files.Root() + "/" + dir); err != nil || len(left) != 0 {
			t.Errorf("%s: %v is left over, %v", dir, left, err)
		}
	}
}

// A pull mends what has rotted in the store.
func TestPullMends(t *testing.T) {
	f, s := newFake(t), open(t)
	f.image(t, "latest", oci.Host(), gz(t, "a", "x"))
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	spoil := map[string]func() error{
		"configuration": func() error {
			path := s.files.Root() + "/blob/sha256/" + img.ID.Hex()
			os.Chmod(path, 0o600)
			return os.WriteFile(path, []byte("{}"), 0o600)
		},
		"layer":  func() error { return os.RemoveAll(strings.TrimSuffix(img.Layers[0], "/diff")) },
		"record": func() error { return os.RemoveAll(s.files.Root() + "/image/sha256/" + img.ID.Hex()) },
	}
	for name, spoil := range spoil {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Resolve(f.name()); err == nil {
			t.Errorf("the image without its %s is found", name)
		}
		if img, err := s.Pull(t.Context(), f.name(), PullOptions{}); err != nil || read(t, img, "a") != "x" {
			t.Errorf("pull of the image without its %s: %v", name, err)
		}
	}
}

func TestPullOnFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a small tmpfs")
	}
	root := t.TempDir()
	if err := unix.Mount("none", root, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	f := newFake(t)
	f.image(t, "latest", oci.Host(), gz(t, "a", noise(3_000_000)))
	s, err := Open(root + "/image")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Pull(t.Context(), f.name(), PullOptions{})
	wantError(t, err, "no space left on device")
	wantNothing(t, s)
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil || st.Bfree*10 < st.Blocks*8 {
		t.Errorf("%d of %d blocks are free after the failure, %v", st.Bfree, st.Blocks, err)
	}
}
