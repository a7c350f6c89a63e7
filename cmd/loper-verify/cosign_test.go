package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loper.run/cmd/loper-verify/fakesigstore"
	"loper.run/test/env"
)

// field is where cosign works: a registry with an image in one repository for each way to sign, a sigstore to sign with,
// and a pair of keys.
type field struct {
	t        *testing.T
	dir      string
	registry *env.Registry
	image    *env.Image
	sigstore *fakesigstore.Sigstore
	url      string
	layout   *layout
}

const (
	tokenIssuer = "https://accounts.example"
	tokenName   = "release@example.com"
)

// TestCosign lets real cosigns sign in every way that needs no network, and checks the keyless signatures. Of the same it
// makes the vectors of image/trust, when LOPER_VECTORS names their directory.
func TestCosign(t *testing.T) {
	programs := filepath.SplitList(os.Getenv("LOPER_COSIGN"))
	if len(programs) == 0 {
		t.Skip("needs LOPER_COSIGN, a list of cosign programs")
	}
	f := newField(t)
	for _, program := range programs {
		out, err := exec.Command(program, "version", "--json").Output()
		var v struct{ GitVersion string }
		if err != nil || json.Unmarshal(out, &v) != nil {
			t.Fatalf("%s version: %v: %s", program, err, out)
		}
		major, _, _ := strings.Cut(v.GitVersion, ".") // "v2"
		t.Run(v.GitVersion, func(t *testing.T) { f.signAll(t, program, major) })
	}
	if dir := os.Getenv("LOPER_VECTORS"); dir != "" {
		f.layout.write(t, dir)
		for name, data := range f.keys() {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}

func newField(t *testing.T) *field {
	t.Helper()
	f := &field{t: t, dir: t.TempDir(), layout: newLayout()}
	var err error
	if f.registry, err = env.StartRegistry(t.TempDir(), false); err != nil {
		t.Skip(err)
	}
	t.Cleanup(f.registry.Stop)
	if f.sigstore, err = fakesigstore.New(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(f.sigstore.Handler())
	t.Cleanup(server.Close)
	f.url = server.URL
	f.image = env.NewImage(env.RunConfig{Cmd: []string{"/hello"}}, env.Gzipped(env.Tar(env.File{Name: "hello", Mode: 0o755, Body: "hello\n"})))
	for name, data := range f.keys() {
		if err := os.WriteFile(filepath.Join(f.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// keys are the deployment's certificates and public keys.
func (f *field) keys() map[string][]byte {
	trust, err := f.sigstore.TrustedRoot(fakesigstore.Services{Log: true, CT: true})
	if err != nil {
		f.t.Fatal(err)
	}
	files := map[string][]byte{"trusted_root.json": trust, "fulcio.pem": fakesigstore.PEM(f.sigstore.Root, f.sigstore.Intermediate), "rekor.pub": f.sigstore.LogKey(), "ctfe.pub": f.sigstore.CTKey()}
	for _, name := range []string{"cosign.key", "cosign.pub"} {
		if data, err := os.ReadFile(filepath.Join(f.dir, name)); err == nil {
			files[name] = data
		}
	}
	return files
}

// signAll signs the image with one cosign.
func (f *field) signAll(t *testing.T, program, major string) {
	config := filepath.Join(f.dir, "signing_config.json")
	services := `{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","caUrls":[{"url":%[1]q,"majorApiVersion":1,"validFor":{"start":"2020-01-01T00:00:00Z"},"operator":"tests"}],` +
		`"rekorTlogUrls":[{"url":%[1]q,"majorApiVersion":1,"validFor":{"start":"2020-01-01T00:00:00Z"},"operator":"tests"}],"rekorTlogConfig":{"selector":"ANY"},"tsaConfig":{"selector":"ANY"}}`
	if err := os.WriteFile(config, fmt.Appendf(nil, services, f.url), 0o600); err != nil {
		t.Fatal(err)
	}
	predicate := filepath.Join(f.dir, "predicate.json")
	if err := os.WriteFile(predicate, []byte(`{"built":"by hand"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "cosign.key")); err != nil {
		f.cosign(t, program, "generate-key-pair")
	}
	key, unlogged := []string{"--key", "cosign.key"}, []string{"--tlog-upload=false"}
	logged := []string{"--rekor-url", f.url}
	keyless := []string{"--fulcio-url", f.url, "--rekor-url", f.url, "--identity-token", fakesigstore.Token(tokenIssuer, tokenName)}
	bundle, tag := []string{"--new-bundle-format"}, []string{}
	configured := []string{"--signing-config", config, "--trusted-root", "trusted_root.json"}
	if major != "v2" {
		bundle = nil
		tag = []string{"--new-bundle-format=false", "--use-signing-config=false"}
		unlogged = append(unlogged, "--use-signing-config=false")
	}
	attest := []string{"--type", "custom", "--predicate", predicate}
	for _, c := range []struct {
		name    string
		command string
		args    [][]string
	}{
		{"key-tag", "sign", [][]string{key, unlogged, tag}},
		{"key-tag-logged", "sign", [][]string{key, logged, tag}},
		{"key-bundle", "sign", [][]string{key, unlogged, bundle}},
		{"key-attestation-tag", "attest", [][]string{key, unlogged, attest, tag}},
		{"key-attestation-bundle", "attest", [][]string{key, unlogged, attest, bundle}},
		{"keyless-tag", "sign", [][]string{keyless, tag}},
		{"keyless-bundle", "sign", [][]string{configured, bundle, {"--identity-token", fakesigstore.Token(tokenIssuer, tokenName)}}},
	} {
		repository := major + "-" + c.name
		t.Run(c.name, func(t *testing.T) {
			name, err := f.registry.Push(f.image, repository+":v1")
			if err != nil {
				t.Fatal(err)
			}
			name, _, _ = strings.Cut(name, ":v1")
			args := slices.Concat([]string{c.command, "--yes", "--allow-insecure-registry"}, slices.Concat(c.args...), []string{name + "@" + f.image.Manifest.Digest()})
			f.cosign(t, program, args...)
			tags := f.layout.add(t, f.registry.Addr, repository)
			if strings.HasPrefix(c.name, "keyless-") {
				f.check(t, repository, tags)
			}
		})
	}
}

// cosign runs cosign, which knows the deployment by its environment.
func (f *field) cosign(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=test", "HOME="+f.dir, "SIGSTORE_ROOT_FILE=fulcio.pem", "SIGSTORE_REKOR_PUBLIC_KEY=rekor.pub", "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE=ctfe.pub",
		"COSIGN_EXPERIMENTAL=0", "TUF_ROOT="+filepath.Join(f.dir, "tuf"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// check checks the signature that cosign stored beside an image.
func (f *field) check(t *testing.T, repository string, tags map[string][]byte) {
	t.Helper()
	checkKeyless(t, repository, f.layout.beside(t, f.image.Manifest.Digest(), tags), f.image.Manifest.Digest(), f.keys())
}

func get(t *testing.T, url string) (data []byte, mediaType string) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", env.OCIManifest+", "+env.OCIIndex)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err = io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v %s: %s", url, err, res.Status, data)
	}
	return data, res.Header.Get("Content-Type")
}
