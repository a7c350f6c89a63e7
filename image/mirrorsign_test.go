package image

import (
	"os"
	"path/filepath"
	"testing"

	"loper.run/image/oci"
	"loper.run/test/env"
)

// A mirror brings signatures along, and they have to be of the name that was
// asked for: those of another repository count as little as from anywhere.
func TestSignaturesOfAMirror(t *testing.T) {
	trusting(t)
	home := os.Getenv("HOME")
	w := env.NewWritable(t)
	r := &env.Registry{Addr: w.Addr}
	const origin = "127.0.0.1:1" // nobody is there
	text := "[[registry]]\nlocation = \"" + origin + "\"\n[[registry.mirror]]\nlocation = \"" + w.Addr + "/m\"\n"
	for _, dir := range []string{filepath.Join(home, ".config/containers"), filepath.Join(home, "conf/containers")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "registries.conf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k, _, _ := signer(t)
	publish := func(path, body, identity string) string {
		t.Helper()
		img := smallImage(body)
		name, err := r.Push(img, "m/"+path+":v1")
		if err != nil {
			t.Fatal(err)
		}
		ref, client, err := atRegistry(name)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		s, err := k.SignCosign(oci.FromBytes(img.Manifest.Data), identity)
		if err == nil {
			err = s.Publish(t.Context(), client, ref.Path, oci.Descriptor{Digest: s.Of})
		}
		if err != nil {
			t.Fatal(err)
		}
		return origin + "/" + path + ":v1"
	}
	good := publish("good", "good", origin+"/good")
	moved := publish("moved", "moved", origin+"/good")
	own := publish("own", "own", w.Addr+"/m/own") // signed as the mirror's
	for _, name := range []string{good, moved, own} {
		known(t, name, k)
	}
	s := open(t)
	if img, err := s.Pull(t.Context(), good, PullOptions{}); err != nil || img.Signer == "" || read(t, img, "a") != "good" {
		t.Errorf("%+v, %v", img, err)
	}
	for _, name := range []string{moved, own} { // here nobody can say whether there are others elsewhere
		if _, err := s.Pull(t.Context(), name, PullOptions{}); err == nil {
			t.Errorf("%s was pulled", name)
		}
	}
	w.Lists = true // now the mirror knows all that there is to know
	_, err := s.Pull(t.Context(), moved, PullOptions{})
	wantRefused(t, err, `of an image called "`+origin+`/good"`)
	_, err = s.Pull(t.Context(), own, PullOptions{})
	wantRefused(t, err, `of an image called "`+w.Addr+`/m/own"`)
}
