package image

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"loper.run/image/oci"
	"loper.run/test/env"
)

// pullFrom puts images into a store of its own. All are for the host but those
// of the tag "multi", an index for the host and s390x.
func pullFrom(t *testing.T) (*fake, *Store, string) {
	t.Helper()
	f, s := newFake(t), open(t)
	host, other := oci.Host(), oci.Platform{OS: "linux", Architecture: "s390x"}
	f.image(t, "latest", host, gz(t, "a", "one"), zst(t, "b", noise(200_000)), plain(t, "c", "three"))
	mine, theirs := f.image(t, "", host, gz(t, "a", "mine")), f.image(t, "", other, gz(t, "a", "theirs"))
	mine.Platform, theirs.Platform = &host, &other
	f.manifest(t, "multi", oci.TypeIndex, object{"schemaVersion": 2, "mediaType": oci.TypeIndex, "manifests": []any{mine, theirs}})
	return f, s, f.Listener.Addr().String() + "/r"
}

func mustPull(t *testing.T, s *Store, name, platform string) *Image {
	t.Helper()
	img, err := s.Pull(t.Context(), name, PullOptions{Platform: platform})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func mustPush(t *testing.T, s *Store, name, to string, o PushOptions) []Pushed {
	t.Helper()
	done, err := s.Push(t.Context(), name, to, o)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// The very bytes that came in go out: the digest stays the same.
func TestPush(t *testing.T) {
	f, s, from := pullFrom(t)
	img := mustPull(t, s, from, "")
	reg := env.NewWritable(t)
	show := new(recorder)
	done := mustPush(t, s, from, "docker://"+reg.Addr+"/a/b:v1", PushOptions{Progress: show})
	if len(done) != 1 || done[0].Name != reg.Addr+"/a/b:v1" || done[0].Desc.Digest != img.Manifest {
		t.Errorf("%+v", done)
	}
	got, ok := reg.Manifest("a/b", "v1")
	if !ok || string(got.Data) != string(f.files["manifests/latest"]) || got.MediaType != oci.TypeManifest {
		t.Errorf("%t, %s", ok, got.Data)
	}
	if !show.has("The push refers to repository ["+reg.Addr+"/a/b]") || !show.has("v1: digest: "+img.Manifest.String()+" size: ") || show.count("Pushed") != 3 {
		t.Errorf("shown: %q", show.lines)
	}
	// A second time nothing goes out but the manifest.
	before := len(reg.Log("POST"))
	show = new(recorder)
	mustPush(t, s, from, reg.Addr+"/a/b:v1", PushOptions{Progress: show})
	if n := len(reg.Log("POST")) - before; n != 0 || show.count("Layer already exists") != 3 {
		t.Errorf("%d uploads, shown %q", n, show.lines)
	}
	// Into another repository it is mounted, since the store knows where it went.
	reg.Mounts = true
	show = new(recorder)
	mustPush(t, s, img.ID.Hex()[:20], reg.Addr+"/c", PushOptions{Progress: show})
	if _, ok := reg.Manifest("c", "latest"); !ok || show.count("Mounted from a/b") != 3 {
		t.Errorf("%t, shown %q", ok, show.lines)
	}
	// And back again it is the same image.
	other := open(t)
	if again := mustPull(t, other, reg.Addr+"/c", ""); again.ID != img.ID || again.Manifest != img.Manifest || read(t, again, "a") != "one" {
		t.Errorf("%+v", again)
	}
	if img, err := s.Resolve(reg.Addr + "/c@" + img.Manifest.String()); err != nil || len(img.Digests) != 3 {
		t.Errorf("the digest is no name: %v", err)
	}
}

// recorder keeps what is shown: messages, and the states of layers.
type recorder struct {
	mu     sync.Mutex
	lines  []string
	states map[string]ProgressState
}

func (r *recorder) Message(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, text)
}

func (r *recorder) Parts(string, [][2]int64) {}

func (r *recorder) Update(id string, s ProgressState, _, _ int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.states == nil {
		r.states = make(map[string]ProgressState)
	}
	r.states[id] = s
}

func (r *recorder) Close() {}

// count is how many layers ended so.
func (r *recorder) count(s ProgressState) (n int) {
	for _, have := range r.states {
		if have == s {
			n++
		}
	}
	return n
}

func (r *recorder) has(part string) bool { return strings.Contains(strings.Join(r.lines, "\n"), part) }

func TestPushOfNothing(t *testing.T) {
	_, s, from := pullFrom(t)
	mustPull(t, s, from, "")
	for name, want := range map[string]string{"nope": "does not exist locally with the tag: nope", "host": "built in"} {
		_, err := s.Push(t.Context(), name, "", PushOptions{})
		wantError(t, err, want)
	}
	for to, want := range map[string]string{"dir:/x": "image copy", "localhost/a@" + oci.FromBytes(nil).String(): "digest"} {
		_, err := s.Push(t.Context(), from, to, PushOptions{})
		wantError(t, err, want)
	}
	_, err := s.Push(t.Context(), from+":latest", "", PushOptions{AllTags: true})
	wantError(t, err, "tag can't be used with --all-tags/-a")
}

func TestPushIndex(t *testing.T) {
	f, s, from := pullFrom(t)
	index := string(f.files["manifests/multi"])
	mine := mustPull(t, s, from+":multi", "")
	reg := env.NewWritable(t)
	show := new(recorder)
	// What is here of it goes out alone, as long as the registry lacks the rest.
	done := mustPush(t, s, from+":multi", reg.Addr+"/a", PushOptions{Progress: show})
	if done[0].Desc.Digest != mine.Manifest || !show.has("only the available single-platform image was pushed") {
		t.Errorf("%+v, %q", done, show.lines)
	}
	theirs := mustPull(t, s, from+":multi", "linux/s390x")
	done = mustPush(t, s, from+":multi", reg.Addr+"/a", PushOptions{})
	if got, _ := reg.Manifest("a", "latest"); string(got.Data) != index || got.MediaType != oci.TypeIndex || done[0].Desc.Digest != oci.FromBytes([]byte(index)) {
		t.Errorf("%+v: %s", done, got.Data)
	}
	done = mustPush(t, s, from+":multi", reg.Addr+"/b", PushOptions{Platform: "linux/s390x"})
	if got, _ := reg.Manifest("b", "latest"); done[0].Desc.Digest != theirs.Manifest || got.Digest() != theirs.Manifest.String() {
		t.Errorf("%+v", done)
	}
	// With the rest at the registry the index may go with a part of it.
	if _, _, err := s.RemoveFor(from+":multi", "linux/s390x", true, nil); err != nil {
		t.Fatal(err)
	}
	if done = mustPush(t, s, from+":multi", reg.Addr+"/a:again", PushOptions{}); done[0].Desc.Digest != oci.FromBytes([]byte(index)) {
		t.Errorf("%+v", done)
	}
}

func TestPushAllTags(t *testing.T) {
	_, s, from := pullFrom(t)
	mustPull(t, s, from, "")
	mustPull(t, s, from+":multi", "")
	reg := env.NewWritable(t)
	reg.Tags = true
	for _, tag := range []string{"x/a:1", "x/a:2"} {
		if err := s.Tag(from, reg.Addr+"/"+tag); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tag(from+":multi", reg.Addr+"/x/a:3"); err != nil {
		t.Fatal(err)
	}
	if done := mustPush(t, s, reg.Addr+"/x/a", "", PushOptions{AllTags: true}); len(done) != 3 {
		t.Errorf("%+v", done)
	}
	for _, tag := range []string{"1", "2", "3"} {
		if _, ok := reg.Manifest("x/a", tag); !ok {
			t.Errorf("no tag %s", tag)
		}
	}
	if n := len(reg.Log("tag=1&tag=2")); n != 1 {
		t.Errorf("%d requests stored two tags: %q", n, reg.Log("PUT"))
	}
}

// A layer that rotted in the store is named, and no manifest goes out.
func TestPushDamagedLayer(t *testing.T) {
	_, s, from := pullFrom(t)
	img := mustPull(t, s, from, "")
	rec, err := s.files.Image(img.ID)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.files.Root(), "blob/sha256", rec.Packed[1].Hex())
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2]++
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	reg := env.NewWritable(t)
	_, err = s.Push(t.Context(), from, reg.Addr+"/a", PushOptions{})
	wantError(t, err, "damaged", rec.Packed[1].String())
	if _, ok := reg.Manifest("a", "latest"); ok || len(reg.Log("PUT /v2/a/manifests")) != 0 {
		t.Error("the manifest went out")
	}
}

// A layer that the store dropped is fetched from where it came from, or else the
// user is told what to do.
func TestPushDroppedLayer(t *testing.T) {
	f, s, from := pullFrom(t)
	img := mustPull(t, s, from, "")
	rec, err := s.files.Image(img.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.files.Root(), "blob/sha256", rec.Packed[1].Hex())); err != nil {
		t.Fatal(err)
	}
	reg := env.NewWritable(t)
	mustPush(t, s, from, reg.Addr+"/a", PushOptions{})
	if got, _ := reg.Blob("a", rec.Packed[1].String()); oci.FromBytes(got) != rec.Packed[1] {
		t.Errorf("the registry has %d bytes", len(got))
	}
	// The registry that got it has it, too.
	f.Close()
	mustPush(t, s, from, env.NewWritable(t).Addr+"/b", PushOptions{})
}

func TestPushLayerThatIsNowhere(t *testing.T) {
	f, s, from := pullFrom(t)
	img := mustPull(t, s, from, "")
	rec, err := s.files.Image(img.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.files.Root(), "blob/sha256", rec.Packed[1].Hex())); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = s.Push(t.Context(), from, env.NewWritable(t).Addr+"/a", PushOptions{})
	wantError(t, err, rec.Packed[1].Short(), "pull the image again")
}

func TestPushToLyingRegistry(t *testing.T) {
	_, s, from := pullFrom(t)
	mustPull(t, s, from, "")
	reg := env.NewWritable(t)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" && strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Docker-Content-Digest", oci.FromBytes(nil).String())
			w.WriteHeader(201)
			return true
		}
		return false
	}
	_, err := s.Push(t.Context(), from, reg.Addr+"/a", PushOptions{})
	wantError(t, err, "do not trust what it has")
}

// What we push, other engines pull, and the other way round; digests stay.
func TestPushWithOthers(t *testing.T) {
	env.Need(t, "docker-registry", "skopeo")
	_, s, from := pullFrom(t)
	img := mustPull(t, s, from, "")
	mustPull(t, s, from+":multi", "")
	mustPull(t, s, from+":multi", "linux/s390x")
	reg, err := env.StartRegistry(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Stop)
	dir := t.TempDir()
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("DOCKER_CONFIG", dir)
	auth := base64.StdEncoding.EncodeToString([]byte(reg.User + ":" + reg.Pass))
	config := `{"auths":{"` + reg.Addr + `":{"auth":"` + auth + `"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	mustPush(t, s, from, reg.Addr+"/a:one", PushOptions{})
	index := mustPush(t, s, from+":multi", reg.Addr+"/a:multi", PushOptions{})[0].Desc
	skopeo := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("skopeo", args...)
		cmd.Env = append(os.Environ(), "REGISTRY_AUTH_FILE="+filepath.Join(dir, "config.json"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("skopeo %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	raw := skopeo("inspect", "--raw", "--tls-verify=false", "docker://"+reg.Addr+"/a:one")
	if oci.FromBytes([]byte(raw)) != img.Manifest {
		t.Errorf("skopeo reads another manifest: %s", raw)
	}
	if raw := skopeo("inspect", "--raw", "--tls-verify=false", "docker://"+reg.Addr+"/a:multi"); oci.FromBytes([]byte(raw)) != index.Digest {
		t.Errorf("skopeo reads another index: %s", raw)
	}
	var inspected struct{ Layers []string }
	if err := json.Unmarshal([]byte(skopeo("inspect", "--tls-verify=false", "docker://"+reg.Addr+"/a:one")), &inspected); err != nil || len(inspected.Layers) != 3 {
		t.Errorf("%+v, %v", inspected, err)
	}
	skopeo("copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+reg.Addr+"/a:multi", "docker://"+reg.Addr+"/b:multi")
	other := open(t)
	got := mustPull(t, other, reg.Addr+"/b:multi", "linux/s390x")
	if n, err := other.files.Name(reg.Addr + "/b:multi"); err != nil || n.Manifest != index.Digest || read(t, got, "a") != "theirs" {
		t.Errorf("what skopeo copied: %+v, %v", n, err)
	}
}

// What the caller says about credentials is used in place of files.
func TestAccess(t *testing.T) {
	env.Need(t, "docker-registry")
	_, s, from := pullFrom(t)
	mustPull(t, s, from, "")
	reg, err := env.StartRegistry(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Stop)
	_, err = s.Push(t.Context(), from, reg.Addr+"/a", PushOptions{})
	wantError(t, err, reg.Addr)
	s.Access.Login.Username, s.Access.Login.Password = reg.User, reg.Pass
	mustPush(t, s, from, reg.Addr+"/a", PushOptions{})
	auth := filepath.Join(t.TempDir(), "auth.json")
	text := base64.StdEncoding.EncodeToString([]byte(reg.User + ":" + reg.Pass))
	if err := os.WriteFile(auth, []byte(`{"auths":{"`+reg.Addr+`":{"auth":"`+text+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Access = Access{AuthFile: auth}
	mustCopy(t, s, "docker://"+reg.Addr+"/a", "docker://"+reg.Addr+"/b", CopyOptions{})
}
