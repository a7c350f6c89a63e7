package trust

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
)

const cosignDir = "testdata/cosign"

// layoutRegistry serves an OCI layout whose names are REPOSITORY:TAG.
func layoutRegistry(t *testing.T, dir string) (*registry.Client, map[string]oci.Descriptor) {
	t.Helper()
	for _, v := range []string{"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"} {
		t.Setenv(v, "/nonexistent")
	}
	var index oci.Index
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]oci.Descriptor{}
	for _, d := range index.Manifests {
		names[d.Annotations["org.opencontainers.image.ref.name"]] = d
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		repository, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
		kind, name, _ := strings.Cut(what, "/")
		digest, err := oci.Parse(name)
		if d, ok := names[repository+":"+name]; ok && kind == "manifests" {
			digest, err = d.Digest, nil
		}
		if err != nil || kind == "referrers" {
			http.NotFound(w, r)
			return
		}
		body, err := os.ReadFile(filepath.Join(dir, "blobs", digest.Algorithm().String(), digest.Hex()))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if kind == "manifests" {
			var head struct{ MediaType string }
			json.Unmarshal(body, &head)
			w.Header().Set("Content-Type", head.MediaType)
		}
		w.Write(body)
	}))
	t.Cleanup(server.Close)
	client, err := registry.New(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, names
}

// What cosign 2 and 3 made: with a key, with a certificate, as tags and as
// bundles. Attestations sign no image.
func TestCosignMade(t *testing.T) {
	verifier := needVerifier(t)
	dir := home(t)
	client, names := layoutRegistry(t, filepath.Join(cosignDir, "layout"))
	pub, err := os.ReadFile(filepath.Join(cosignDir, "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(filepath.Join(cosignDir, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "conf/loper/trusted_root.json"), root)
	o := Options{Verifier: verifier, Policy: policyFile(t, silent), Observe: true}
	seen := 0
	for name, d := range names {
		repository, tag, _ := strings.Cut(name, ":")
		if tag != "v1" {
			continue
		}
		seen++
		// The port is that of the registry that they were made in.
		img := Image{Transport: "docker", Ref: reference.Reference{Domain: "127.0.0.1:43759", Path: repository, Tag: tag}, Digests: []oci.Digest{d.Digest}}
		find := Registry(client, img)
		byKey := strings.Contains(repository, "-key-") && !strings.Contains(repository, "attestation")
		list, err := o.Search(t.Context(), img, find, Who{Keys: []Key{key}})
		if (len(list) == 1) != byKey {
			t.Errorf("%s by its key: %v, %v", repository, list, err)
		}
		keyless := strings.Contains(repository, "keyless")
		list, err = o.Search(t.Context(), img, find, Who{Issuer: "https://accounts.example", Subject: "release@example.com"})
		if (len(list) == 1) != keyless {
			t.Errorf("%s by its person: %v, %v", repository, list, err)
		}
		if list, err := o.Search(t.Context(), img, find, Who{Issuer: "https://accounts.example", Subject: "mallory@example.com"}); len(list) != 0 {
			t.Errorf("%s by another person: %v, %v", repository, list, err)
		}
		// A first meeting: a key that is in no log came with nothing.
		v, err := o.Decide(t.Context(), img, find)
		if want := keyless || strings.Contains(repository, "logged"); err != nil || v.Signed() != want {
			t.Errorf("%s at the first meeting: %+v, %v", repository, v, err)
		}
		// The same in another repository, and of another image.
		moved := img
		moved.Ref.Domain = "other.example"
		if list, _ := o.Search(t.Context(), moved, find, Who{Keys: []Key{key}}); len(list) != 0 && list[0].Form != Bundle {
			t.Errorf("%s in another repository: %v", repository, list)
		}
		other := img
		other.Digests = []oci.Digest{digestOf("other")}
		if list, _ := o.Search(t.Context(), other, Registry(client, img), Who{Keys: []Key{key}}); len(list) != 0 {
			t.Errorf("%s of another image: %v", repository, list)
		}
	}
	if seen < 14 {
		t.Errorf("only %d vectors", seen)
	}
}

// cosign's own private key opens, and signs what its public key verifies.
func TestCosignPrivateKey(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(cosignDir, "cosign.key"))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile(filepath.Join(cosignDir, "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	word := func(s string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(s), nil } }
	k, err := ParsePrivateKey(text, word("test"))
	if err != nil || string(k.Public.PEM()) != string(pub) {
		t.Fatal(err)
	}
	sig, err := k.Sign([]byte("hello"))
	if err != nil || k.Public.Verify([]byte("hello"), sig) != nil {
		t.Error(err)
	}
	if _, err := ParsePrivateKey(text, word("wrong")); err == nil || !strings.Contains(err.Error(), "password") {
		t.Error(err)
	}
	// A key that would take all memory to open.
	block, _ := pem.Decode(text)
	block.Bytes = bytes.Replace(block.Bytes, []byte(`"N":65536`), []byte(`"N":1073741824`), 1)
	if _, err := ParsePrivateKey(pem.EncodeToMemory(block), word("test")); err == nil || !strings.Contains(err.Error(), "take too much") {
		t.Error(err)
	}
}
