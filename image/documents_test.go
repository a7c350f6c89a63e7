package image

import (
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"loper.run/image/oci"
	"loper.run/test/env"
)

func tagged(f *fake, tag string) string { return f.Listener.Addr().String() + "/r:" + tag }

// An index may leave out platforms, and hide images in further indexes.
func TestPullFromUntidyIndexes(t *testing.T) {
	f := newFake(t)
	host, other := oci.Host(), oci.Platform{OS: "linux", Architecture: "s390x"}
	mine, theirs := f.image(t, "", host, gz(t, "a", "mine")), f.image(t, "", other, gz(t, "a", "theirs"))
	artifact := f.manifest(t, "", oci.TypeManifest, object{"schemaVersion": 2, "mediaType": oci.TypeManifest, "artifactType": "x/y", "config": oci.Empty(), "layers": []any{oci.Empty()}})
	with := func(d oci.Descriptor, p oci.Platform) oci.Descriptor { d.Platform = &p; return d }
	put := func(tag string, entries ...any) oci.Descriptor {
		d := f.manifest(t, tag, oci.TypeIndex, object{"schemaVersion": 2, "mediaType": oci.TypeIndex, "manifests": entries})
		return d
	}
	unknown := oci.Platform{OS: "unknown", Architecture: "unknown"}
	featured := host
	featured.OSFeatures = []string{"something"}
	for tag, entries := range map[string][]any{
		"without-platforms": {artifact, theirs, mine},
		"nested-second":     {put("", with(theirs, other)), put("", with(theirs, other), with(mine, host))},
		"mixed":             {with(artifact, unknown), theirs, put("", mine)},
		"needs-features":    {with(theirs, featured), with(mine, host)},
	} {
		put(tag, entries...)
		img, err := open(t).Pull(t.Context(), tagged(f, tag), PullOptions{})
		if err != nil || read(t, img, "a") != "mine" {
			t.Errorf("%s: %v", tag, err)
		}
	}
	put("none", artifact, with(theirs, other))
	_, err := open(t).Pull(t.Context(), tagged(f, "none"), PullOptions{})
	wantError(t, err, "no image for the platform", "there is linux/s390x")
	var many []any
	for i := range maxLooked + 1 {
		d := put("", with(theirs, other), oci.Descriptor{MediaType: oci.TypeManifest, Digest: oci.FromBytes([]byte{byte(i)}), Size: 1, ArtifactType: "x/y"})
		many = append(many, d)
	}
	put("many", many...)
	_, err = open(t).Pull(t.Context(), tagged(f, "many"), PullOptions{})
	wantError(t, err, "not among the first")
}

func TestPullAllPlatforms(t *testing.T) {
	f, s, from := pullFrom(t)
	img, err := s.Pull(t.Context(), from+":multi", PullOptions{AllPlatforms: true})
	if err != nil || read(t, img, "a") != "mine" {
		t.Fatal(err)
	}
	if img, err := s.FindFor(from+":multi", "linux/s390x"); err != nil || read(t, img, "a") != "theirs" {
		t.Error(err)
	}
	if n, err := s.files.Name(from + ":multi"); err != nil || n.Manifest != oci.FromBytes(f.files["manifests/multi"]) {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := s.Pull(t.Context(), from, PullOptions{AllPlatforms: true}); err != nil {
		t.Errorf("an image without an index: %v", err)
	}
}

// An artifact is refused in one line that says what it is.
func TestPullArtifact(t *testing.T) {
	f, s := newFake(t), open(t)
	f.blob([]byte(oci.EmptyJSON))
	for tag, m := range map[string]object{
		"empty":  {"artifactType": "application/vnd.example.sbom", "config": oci.Empty(), "layers": []any{oci.Empty()}},
		"config": {"config": object{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": oci.Empty().Digest, "size": 2}, "layers": []any{}},
	} {
		m["schemaVersion"], m["mediaType"] = 2, oci.TypeManifest
		f.manifest(t, tag, oci.TypeManifest, m)
	}
	_, err := s.Pull(t.Context(), tagged(f, "empty"), PullOptions{})
	wantError(t, err, "not a container image: it is an artifact of the type \"application/vnd.example.sbom\"")
	_, err = s.Pull(t.Context(), tagged(f, "config"), PullOptions{})
	wantError(t, err, "not a container image", "helm.config")
	wantNothing(t, s)
}

// sha512 may be the digest of anything: index, manifest, configuration, layer and what it unpacks to.
func TestPullSHA512(t *testing.T) {
	f, s := newFake(t), open(t)
	put := func(kind, mediaType string, body []byte) oci.Descriptor {
		d, err := oci.Parse(fmt.Sprintf("sha512:%x", sha512.Sum512(body)))
		if err != nil {
			t.Fatal(err)
		}
		f.files[kind+"/"+d.String()], f.types[kind+"/"+d.String()] = body, mediaType
		return oci.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(body))}
	}
	encode := func(v any) []byte {
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	l := gz(t, "a", "long")
	diff, _ := oci.Parse(fmt.Sprintf("sha512:%x", sha512.Sum512(l.tar)))
	layer := put("blobs", oci.TypeLayer+"+gzip", l.packed)
	config := put("blobs", oci.TypeConfig, encode(oci.Image{Platform: oci.Host(), RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{diff}}}))
	manifest := put("manifests", oci.TypeManifest, encode(oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeManifest, Config: config, Layers: []oci.Descriptor{layer}}))
	host := oci.Host()
	manifest.Platform = &host
	inner := put("manifests", oci.TypeIndex, encode(oci.Index{SchemaVersion: 2, MediaType: oci.TypeIndex, Manifests: []oci.Descriptor{manifest}}))
	index := put("manifests", oci.TypeIndex, encode(oci.Index{SchemaVersion: 2, MediaType: oci.TypeIndex, Manifests: []oci.Descriptor{inner}}))
	name := f.Listener.Addr().String() + "/r@" + index.Digest.String()
	img, err := s.Pull(t.Context(), name, PullOptions{})
	if err != nil || read(t, img, "a") != "long" || img.ID != config.Digest {
		t.Fatalf("%+v, %v", img, err)
	}
	for _, id := range []string{img.ID.String(), img.ID.Hex()[:30], name} {
		if got, err := s.Resolve(id); err != nil || got.ID != img.ID {
			t.Errorf("%.40s: %v", id, err)
		}
	}
	// Nothing of it is lost to a collection, and all of it can go on.
	if err := s.collect(); err != nil {
		t.Fatal(err)
	}
	reg := env.NewWritable(t)
	mustPush(t, s, name, reg.Addr+"/a", PushOptions{})
	if _, ok := reg.Blob("a", layer.Digest.String()); !ok {
		t.Error("the layer did not arrive by its digest")
	}
	// One byte more or less is another digest.
	f.files["blobs/"+layer.Digest.String()] = append([]byte{}, l.packed[:len(l.packed)-1]...)
	f.files["blobs/"+layer.Digest.String()] = append(f.files["blobs/"+layer.Digest.String()], l.packed[len(l.packed)-1]^1)
	_, err = open(t).Pull(t.Context(), name, PullOptions{})
	wantError(t, err, "digest mismatch", "sha512:")
}

// What a descriptor embeds is not fetched; what isn't what it says is refused.
func TestPullEmbedded(t *testing.T) {
	f, s := newFake(t), open(t)
	l := gz(t, "a", "inside")
	layer := oci.Descriptor{MediaType: oci.TypeLayer + "+gzip", Digest: oci.FromBytes(l.packed), Size: int64(len(l.packed)), Data: l.packed}
	text, err := json.Marshal(oci.Image{Platform: oci.Host(), RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{oci.FromBytes(l.tar)}}})
	if err != nil {
		t.Fatal(err)
	}
	config := oci.Descriptor{MediaType: oci.TypeConfig, Digest: oci.FromBytes(text), Size: int64(len(text)), Data: text}
	body, err := json.Marshal(oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeManifest, Config: config, Layers: []oci.Descriptor{layer}})
	if err != nil {
		t.Fatal(err)
	}
	host := oci.Host()
	entry := oci.Descriptor{MediaType: oci.TypeManifest, Digest: oci.FromBytes(body), Size: int64(len(body)), Data: body, Platform: &host}
	f.manifest(t, "latest", oci.TypeIndex, oci.Index{SchemaVersion: 2, MediaType: oci.TypeIndex, Manifests: []oci.Descriptor{entry}})
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil || read(t, img, "a") != "inside" {
		t.Fatalf("%+v, %v", img, err)
	}
	reg := env.NewWritable(t)
	mustPush(t, s, f.name(), reg.Addr+"/a", PushOptions{})
	mustCopy(t, s, "docker://"+f.name(), "docker://"+reg.Addr+"/b", CopyOptions{All: true})
	if got, _ := reg.Blob("b", layer.Digest.String()); string(got) != string(l.packed) {
		t.Errorf("the registry got %d bytes", len(got))
	}
	layer.Data = append([]byte{}, l.packed...)
	layer.Data[20]++
	f.manifest(t, "lie", oci.TypeManifest, oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeManifest, Config: config, Layers: []oci.Descriptor{layer}})
	_, err = s.Pull(t.Context(), tagged(f, "lie"), PullOptions{})
	wantError(t, err, "embedded data", "digest mismatch")
}

// A layer that registries need not hold comes from where its descriptor says, without credentials.
func TestPullForeignLayer(t *testing.T) {
	f, s := newFake(t), open(t)
	l := gz(t, "a", "foreign")
	var leaked atomic.Value
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := r.Header.Get("Authorization"); h != "" {
			leaked.Store(h)
		}
		w.Write(l.packed)
	}))
	t.Cleanup(elsewhere.Close)
	// The same address would be the registry's own: localhost is another name for it.
	url := strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1) + "/layer"
	layer := oci.Descriptor{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: oci.FromBytes(l.packed), Size: int64(len(l.packed)), URLs: []string{"http://192.0.2.1/x", f.URL + "/v2/other", url}}
	text, err := json.Marshal(oci.Image{Platform: oci.Host(), RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{oci.FromBytes(l.tar)}}})
	if err != nil {
		t.Fatal(err)
	}
	config := f.blob(text)
	config.MediaType = oci.TypeDockerConfig
	put := func(layer oci.Descriptor) {
		f.manifest(t, "latest", oci.TypeDockerManifest, oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeDockerManifest, Config: config, Layers: []oci.Descriptor{layer}})
	}
	put(layer)
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil || read(t, img, "a") != "foreign" {
		t.Fatalf("%v", err)
	}
	if v := leaked.Load(); v != nil {
		t.Errorf("it was sent %q", v)
	}
	if f.hits["/v2/other"] != 0 {
		t.Error("the registry was asked at a place that the manifest named")
	}
	// It isn't pushed.
	reg, show := env.NewWritable(t), new(recorder)
	mustPush(t, s, f.name(), reg.Addr+"/a", PushOptions{Progress: show})
	if show.count("Skipped foreign layer") != 1 {
		t.Errorf("%v", show.states)
	}
	// A usual layer that the registry lacks is missing, whatever its descriptor says.
	layer.MediaType = oci.TypeDockerLayer + ".gzip"
	put(layer)
	_, err = open(t).Pull(t.Context(), f.name(), PullOptions{})
	wantError(t, err, "not found")
}

// Skopeo sees in what we pushed what we see.
func TestInspectedBySkopeo(t *testing.T) {
	env.Need(t, "skopeo")
	f := newFake(t)
	f.image(t, "latest", oci.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, gz(t, "a", "x"), zst(t, "b", "y"))
	s := open(t)
	img := mustPull(t, s, f.name(), "linux/arm/v7")
	dir := t.TempDir()
	mustCopy(t, s, f.name(), "oci:"+dir+"/x", CopyOptions{Platform: "linux/arm/v7"})
	out, err := exec.Command("skopeo", "--override-arch", "arm", "inspect", "oci:"+dir+"/x").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var seen struct {
		Digest, Architecture, Os string
		Layers                   []string
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatal(err)
	}
	if seen.Digest != img.Manifest.String() || seen.Architecture != "arm" || seen.Os != "linux" || len(seen.Layers) != 2 {
		t.Errorf("%+v", seen)
	}
}
