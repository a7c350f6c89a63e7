package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"loper.run/image/archive"
	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
	"loper.run/image/trust"
	"loper.run/test/env"
)

// known makes a repository's signer known, as a first pull would.
func known(t testing.TB, name string, k trust.PrivateKey) {
	t.Helper()
	ref, err := reference.Parse(name)
	if err == nil {
		err = trust.Remember(ref.Name(), trust.KeySigner(k.Public, ""))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sign(t testing.TB, name string, k trust.PrivateKey) {
	t.Helper()
	if _, err := Sign(t.Context(), name, SignOptions{Key: k, Forms: both}); err != nil {
		t.Fatal(err)
	}
}

func wantRefused(t testing.TB, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, trust.ErrRefused) {
		t.Errorf("not refused: %v", err)
		return
	}
	wantError(t, err, words...)
}

// A registry that means another image by a tag at each request: what is
// unpacked is what was signed, or nothing.
func TestTagThatChangesBetweenRequests(t *testing.T) {
	trusting(t)
	w := env.NewWritable(t)
	r := &env.Registry{Addr: w.Addr}
	good, bad := smallImage("good"), smallImage("bad")
	k, _, _ := signer(t)
	name, err := r.Push(good, "r:v1")
	if err != nil {
		t.Fatal(err)
	}
	sign(t, name, k)
	if _, err := r.Push(bad, "r:other"); err != nil {
		t.Fatal(err)
	}
	known(t, name, k)
	pulled, refused := 0, 0
	for begin := range 4 {
		var mu sync.Mutex
		n := begin
		w.Before = func(out http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, "/manifests/v1") {
				return false
			}
			mu.Lock()
			img := []*env.Image{good, bad}[n%2]
			n++
			mu.Unlock()
			out.Header().Set("Content-Type", img.Manifest.MediaType)
			out.Header().Set("Docker-Content-Digest", img.Manifest.Digest())
			if req.Method != http.MethodHead {
				out.Write(img.Manifest.Data)
			}
			return true
		}
		s := open(t)
		for range 3 {
			img, err := s.Pull(t.Context(), name, PullOptions{})
			if err == nil {
				pulled++
				if got := read(t, img, "a"); got != "good" {
					t.Fatalf("%q was unpacked", got)
				}
				continue
			}
			refused++
			wantRefused(t, err, "not signed")
		}
		if imgs, err := s.List(); err != nil || len(imgs) > 1 {
			t.Errorf("%d images, %v", len(imgs), err)
		}
	}
	w.Before = nil
	if pulled == 0 || refused == 0 {
		t.Errorf("%d pulled, %d refused: it did not change", pulled, refused)
	}
}

// Signatures of the same image in another repository, copied to this one.
func TestSignatureFromAnotherRepository(t *testing.T) {
	trusting(t)
	w := env.NewWritable(t)
	r := &env.Registry{Addr: w.Addr}
	k, _, _ := signer(t)
	img := smallImage("x")
	other, err := r.Push(img, "other:v1")
	if err != nil {
		t.Fatal(err)
	}
	name, err := r.Push(img, "app:v1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.SignCosign(oci.FromBytes(img.Manifest.Data), other)
	if err != nil {
		t.Fatal(err)
	}
	ref, client, err := atRegistry(name)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := s.Publish(t.Context(), client, ref.Path, oci.Descriptor{Digest: s.Of}); err != nil {
		t.Fatal(err)
	}
	here := open(t)
	got, err := here.Pull(t.Context(), name, PullOptions{})
	if err != nil || got.Signer != "" || len(got.Verdicts) != 1 || !strings.Contains(got.Verdicts[0].Note, "/other:v1") {
		t.Errorf("%+v, %v", got, err)
	}
	known(t, name, k)
	_, err = here.Pull(t.Context(), name, PullOptions{})
	wantRefused(t, err, "/other:v1")
}

// An index that nobody signed leads to what somebody signed, or to nothing.
func TestDowngradedIndex(t *testing.T) {
	trusting(t)
	w := env.NewWritable(t)
	r := &env.Registry{Addr: w.Addr}
	k, _, _ := signer(t)
	arch := oci.Host().Architecture
	good, bad := smallImage("good"), smallImage("bad")
	name, err := r.PushIndex("r:v1", env.Platform{OS: "linux", Arch: arch, Image: good})
	if err != nil {
		t.Fatal(err)
	}
	sign(t, name, k) // the index alone
	s := open(t)
	img, err := s.Pull(t.Context(), name, PullOptions{})
	if err != nil || img.Signer == "" || read(t, img, "a") != "good" {
		t.Fatalf("%+v, %v", img, err)
	}
	// The same manifest without the index is not what was signed.
	_, err = s.Pull(t.Context(), w.Addr+"/r@"+good.Manifest.Digest(), PullOptions{})
	wantRefused(t, err, "not signed")
	// Another index, though it names the signed manifest too.
	evil, err := r.PushIndex("r:v2", env.Platform{OS: "linux", Arch: arch, Image: bad}, env.Platform{OS: "linux", Arch: arch, Image: good})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Pull(t.Context(), evil, PullOptions{})
	wantRefused(t, err, "not signed")
	// A signature of the manifest vouches for it, whatever led there.
	sign(t, w.Addr+"/r@"+bad.Manifest.Digest(), k)
	if img, err := s.Pull(t.Context(), evil, PullOptions{}); err != nil || read(t, img, "a") != "bad" {
		t.Errorf("%v, %v", img, err)
	}
}

// More signatures than anybody needs, and larger ones, end in time.
func TestEndlessSignatures(t *testing.T) {
	trusting(t)
	w := env.NewWritable(t)
	r := &env.Registry{Addr: w.Addr}
	k, _, _ := signer(t)
	img := smallImage("x")
	name, err := r.Push(img, "r:v1")
	if err != nil {
		t.Fatal(err)
	}
	known(t, name, k)
	ref, client, err := atRegistry(name)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	d := oci.FromBytes(img.Manifest.Data)
	s, err := k.SignCosign(oci.FromBytes([]byte("other")), name)
	if err == nil {
		s.Of = d
		err = s.Publish(t.Context(), client, ref.Path, oci.Descriptor{Digest: d})
	}
	if err != nil {
		t.Fatal(err)
	}
	tag := "sha256-" + d.Hex() + ".sig"
	fill := func(size int64) {
		body, _, _, err := client.Manifest(t.Context(), reference.Reference{Path: ref.Path, Tag: tag})
		var m oci.Manifest
		if err == nil {
			err = json.Unmarshal(body, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		m.Layers = m.Layers[:1]
		for len(m.Layers) < 500 {
			m.Layers = append(m.Layers, m.Layers[0])
		}
		if size > 0 {
			for i := range m.Layers {
				m.Layers[i].Size = size
			}
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.PutManifest("r", tag, env.Blob{MediaType: oci.TypeManifest, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	fill(0)
	here := open(t)
	before := len(w.Log("blobs/"))
	begin := time.Now()
	_, err = here.Pull(t.Context(), name, PullOptions{})
	wantRefused(t, err, "none of its 64 signatures")
	if n := len(w.Log("blobs/")) - before; n > 70 {
		t.Errorf("%d blobs were asked for", n)
	}
	fill(2 << 30)
	if _, err := here.Pull(t.Context(), name, PullOptions{}); err == nil {
		t.Error("signatures of two gigabytes are good")
	}
	if d := time.Since(begin); d > time.Minute {
		t.Errorf("it took %v", d)
	}
	wantNothing(t, here)
}

// What is here runs as long as the policy accepts it: a new policy, a key that
// was taken away or replaced, are looked at before the next run.
func TestAllow(t *testing.T) {
	trusting(t)
	w := env.NewWritable(t)
	r := &env.Registry{Addr: w.Addr}
	k, _, public := signer(t)
	_, _, otherPublic := signer(t)
	name, err := r.Push(smallImage("signed"), "signed:v1")
	if err != nil {
		t.Fatal(err)
	}
	ref, _ := reference.Parse(name)
	if _, err := Sign(t.Context(), name, SignOptions{Key: k, Forms: both, Identity: ref.Name() + ":v1"}); err != nil {
		t.Fatal(err)
	}
	unsignedName, err := r.Push(smallImage("unsigned"), "unsigned:v1")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t)
	img, err := s.Pull(t.Context(), name, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := s.Pull(t.Context(), unsignedName, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.Server.Close() // nothing below asks the registry
	policy := filepath.Join(t.TempDir(), "policy.json")
	o := trust.Options{Policy: policy}
	set := func(text string) {
		t.Helper()
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	allow := func(want bool, img *Image, o trust.Options) {
		t.Helper()
		for range 2 { // the second time from what the first one kept
			if err := s.Allow(t.Context(), img, o); (err == nil) != want {
				t.Errorf("allowed is to be %v: %v", want, err)
			}
		}
	}
	allow(true, img, trust.Options{})
	allow(true, unsigned, trust.Options{})
	allow(true, img, trust.Options{Require: true})
	allow(false, unsigned, trust.Options{Require: true})
	set(`{"default":[{"type":"reject"}]}`)
	allow(false, img, o)
	allow(true, img, trust.Options{}) // another policy
	set(`{"default":[{"type":"insecureAcceptAnything"}]}`)
	allow(true, img, o)
	allow(true, unsigned, o)
	signed := func(key string) string { return `{"default":[{"type":"sigstoreSigned","keyPath":"` + key + `"}]}` }
	set(signed(public))
	allow(true, img, o)
	allow(false, unsigned, o)
	set(signed(otherPublic))
	allow(false, img, o)
	set(signed(public))
	allow(true, img, o)
	other, err := os.ReadFile(otherPublic)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(public, other, 0o600); err != nil { // replaced in place
		t.Fatal(err)
	}
	allow(false, img, o)
	if err := os.WriteFile(public, own, 0o600); err != nil {
		t.Fatal(err)
	}
	allow(true, img, o)
	os.Remove(public)
	allow(false, img, o)
	if err := os.WriteFile(public, own, 0o600); err != nil {
		t.Fatal(err)
	}
	set(`{"default":[]}`)
	allow(false, img, o)
	os.Remove(policy)
	allow(false, img, o)
	set(signed(public))
	if err := os.Chmod(policy, 0o666); err != nil {
		t.Fatal(err)
	}
	allow(false, img, o)
	// What was pulled before there were verdicts has nobody who vouches for it.
	os.Chmod(policy, 0o600)
	dir := filepath.Join(s.files.Root(), "image/sha256", img.ID.Hex())
	if err := os.Remove(filepath.Join(dir, string(store.Verdicts))); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, string(store.Signatures)))
	allow(false, img, o)
	allow(true, img, trust.Options{})
}

// Archives by the policy's words for them, as skopeo has it.
func TestLoadByPolicy(t *testing.T) {
	env.Need(t, "docker-registry", "skopeo")
	trusting(t)
	reg, err := env.StartRegistry(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Stop)
	if _, err := reg.Push(smallImage("x"), "r:v1"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	places := map[string]string{ // as skopeo names it -> path
		"docker-archive:" + dir + "/d.tar:r:v1": dir + "/d.tar", "oci-archive:" + dir + "/o.tar:v1": dir + "/o.tar",
		"oci:" + dir + "/layout:v1": dir + "/layout", "dir:" + dir + "/plain": dir + "/plain",
	}
	for place := range places {
		if out, err := exec.Command("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+reg.Addr+"/r:v1", place).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	scope := func(transport, scope string) string {
		return fmt.Sprintf(`{"default":[{"type":"reject"}],"transports":{%q:{%q:[{"type":"insecureAcceptAnything"}]}}}`, transport, scope)
	}
	accepted, refused := 0, 0
	for _, text := range []string{
		`{"default":[{"type":"reject"}]}`, `{"default":[{"type":"insecureAcceptAnything"}]}`,
		scope("docker-archive", ""), scope("docker", ""), scope("oci-archive", ""), scope("oci-archive", dir), scope("oci-archive", dir+"/o.tar"),
		scope("oci", dir), scope("oci", dir+"/layout"), scope("oci", dir+"/layout:v1"), scope("oci", dir+"/layout:v2"), scope("oci", dir+"/lay"),
		scope("dir", dir+"/plain"), scope("dir", filepath.Dir(dir)), scope("dir", dir+"/plain/x"), scope("dir", ""),
	} {
		policy := filepath.Join(t.TempDir(), "policy.json")
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for place, path := range places {
			_, theirs := exec.Command("skopeo", "--policy", policy, "copy", place, "dir:"+t.TempDir()).CombinedOutput()
			s := open(t)
			ours := s.loadPath(t, path, trust.Options{Policy: policy})
			if (ours == nil) != (theirs == nil) {
				t.Errorf("%s by %s:\nours:   %v\ntheirs: %v", place, text, ours, theirs)
			}
			if ours == nil {
				accepted++
				continue
			}
			refused++
			wantNothing(t, s)
		}
	}
	if accepted < 8 || refused < 8 {
		t.Errorf("the table shows little: %d accepted, %d refused", accepted, refused)
	}
}

func (s *Store) loadPath(t *testing.T, path string, o trust.Options) error {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var a *archive.Archive
	if st, _ := f.Stat(); st.IsDir() {
		f.Close()
		a, err = archive.ReadDir(t.Context(), path)
	} else {
		a, err = s.OpenArchive(t.Context(), f)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	_, err = s.Load(t.Context(), a, LoadOptions{Trust: o})
	return err
}
