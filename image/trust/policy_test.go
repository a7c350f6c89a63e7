package trust

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/image/oci"
	"loper.run/image/reference"
)

func mustParse(t testing.TB, name string) reference.Reference {
	t.Helper()
	ref, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// Which policies are good: TestPoliciesLikePodman asks Podman about the same ones.
var policies = map[string]bool{
	`{"default":[{"type":"insecureAcceptAnything"}]}`:                                                                                                         true,
	`{"default":[{"type":"reject"}],"transports":{}}`:                                                                                                         true,
	`{"default":[{"type":"reject"}],"transports":{"docker":{}}}`:                                                                                              true,
	`{"default":[{"type":"reject"}],"transports":{"docker":{"":[{"type":"reject"}]}}}`:                                                                        true,
	`{"default":[{"type":"reject"}],"transports":{"whatever":{"what":[{"type":"reject"}]}}}`:                                                                  true,
	`{"default":[{"type":"reject"}],"transports":{"dir":{"/a/b":[{"type":"reject"}]}}}`:                                                                       true,
	`{"default":[{"type":"reject"}],"transports":{"oci":{"/a/b:x":[{"type":"reject"}]}}}`:                                                                     true,
	`{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]}`:                                                                                    true,
	`{"default":[{"type":"signedBy","keyType":"GPGKeys","keyData":"a2V5"}]}`:                                                                                  true,
	`{"default":[{"type":"signedBy","keyType":"X509Certificates","keyPath":"/k"}]}`:                                                                           true,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k"}]}`:                                                                                                  true,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"matchRepository"}}]}`:                                                      true,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"exactReference","dockerReference":"a:b"}}]}`:                               true,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"exactRepository","dockerRepository":"a.example/b"}}]}`:                     true,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"remapIdentity","prefix":"a.example/b","signedPrefix":"localhost:5000"}}]}`: true,
	`{"default":[{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}]}`:                                                                      true,
	``:                                  false,
	`{}`:                                false,
	`[]`:                                false,
	`null`:                              false,
	`{"default":[]}`:                    false,
	`{"default":null}`:                  false,
	`{"default":{"type":"reject"}}`:     false,
	`{"default":[{"type":"reject"}]} x`: false,
	`{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}`:    false,
	`{"default":[{"type":"reject"}],"Default":[{"type":"reject"}]}`:    false,
	`{"default":[{"type":"reject"}],"comment":"x"}`:                    false,
	`{"default":[{"type":"reject","x":1}]}`:                            false,
	`{"default":[{"Type":"reject"}]}`:                                  false,
	`{"default":[{"type":"reject","type":"reject"}]}`:                  false,
	`{"default":[{"type":"accept"}]}`:                                  false,
	`{"default":[{}]}`:                                                 false,
	`{"default":["reject"]}`:                                           false,
	`{"default":[{"type":"reject"}],"transports":[]}`:                  false,
	`{"default":[{"type":"reject"}],"transports":{"docker":[]}}`:       false,
	`{"default":[{"type":"reject"}],"transports":{"docker":{"a":[]}}}`: false,
	`{"default":[{"type":"reject"}],"transports":{"docker":{"a":[{"type":"reject"}],"a":[{"type":"reject"}]}}}`:                                false,
	`{"default":[{"type":"reject"}],"transports":{"docker":{},"docker":{}}}`:                                                                   false,
	`{"default":[{"type":"reject"}],"transports":{"dir":{"a":[{"type":"reject"}]}}}`:                                                           false,
	`{"default":[{"type":"reject"}],"transports":{"dir":{"/":[{"type":"reject"}]}}}`:                                                           false,
	`{"default":[{"type":"reject"}],"transports":{"dir":{"/a/":[{"type":"reject"}]}}}`:                                                         false,
	`{"default":[{"type":"reject"}],"transports":{"dir":{"/a/../b":[{"type":"reject"}]}}}`:                                                     false,
	`{"default":[{"type":"reject"}],"transports":{"oci":{"a":[{"type":"reject"}]}}}`:                                                           false,
	`{"default":[{"type":"reject"}],"transports":{"docker-archive":{"/a":[{"type":"reject"}]}}}`:                                               false,
	`{"default":[{"type":"signedBy","keyType":"GPGKeys"}]}`:                                                                                    false,
	`{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":""}]}`:                                                                       false,
	`{"default":[{"type":"signedBy","keyPath":"/k"}]}`:                                                                                         false,
	`{"default":[{"type":"signedBy","keyType":"PGP","keyPath":"/k"}]}`:                                                                         false,
	`{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","keyData":"a2V5"}]}`:                                                    false,
	`{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":1}]}`:                                                                        false,
	`{"default":[{"type":"signedBy","keyType":"GPGKeys","keyData":"?"}]}`:                                                                      false,
	`{"default":[{"type":"sigstoreSigned"}]}`:                                                                                                  false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","keyData":"a2V5"}]}`:                                                                  false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","keyType":"GPGKeys"}]}`:                                                               false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{}}]}`:                                                               false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"matchAll"}}]}`:                                              false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"matchExact","x":1}}]}`:                                      false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"exactReference","dockerReference":"a"}}]}`:                  false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"exactReference"}}]}`:                                        false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"exactRepository","dockerRepository":"A"}}]}`:                false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"remapIdentity","prefix":"a"}}]}`:                            false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"remapIdentity","prefix":"","signedPrefix":"b"}}]}`:          false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"remapIdentity","prefix":"a.b/c:d","signedPrefix":"b.c"}}]}`: false,
}

// Fields that came into the format after the Podman that is at hand.
var newerPolicies = map[string]bool{
	`{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPaths":["/k","/l"]}]}`:                                                                   true,
	`{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPaths":[]}]}`:                                                                            false,
	`{"default":[{"type":"sigstoreSigned","keyPaths":["/k"]}]}`:                                                                                      true,
	`{"default":[{"type":"sigstoreSigned","keyPaths":[]}]}`:                                                                                          false,
	`{"default":[{"type":"sigstoreSigned","keyDatas":["a2V5"]}]}`:                                                                                    true,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyPath":"/r"}]}`:                                                               true,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyPath":"/r","rekorPublicKeyData":"a2V5"}]}`:                                   false,
	`{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}]}`:                 true,
	`{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}}]}`:                                           false,
	`{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"/c","caData":"YQ==","oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}]}`: false,
	`{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"/c","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}]}`:                                  false,
	`{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i"},"rekorPublicKeyPath":"/r"}]}`:                                    false,
	`{"default":[{"type":"sigstoreSigned","fulcio":{"oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}]}`:                               false,
	`{"default":[{"type":"sigstoreSigned","keyPath":"/k","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}]}`:  false,
	`{"default":[{"type":"sigstoreSigned","pki":{"caRootsPath":"/c","subjectEmail":"e"}}]}`:                                                          true,
	`{"default":[{"type":"sigstoreSigned","pki":{"caRootsPath":"/c","caIntermediatesData":"YQ==","subjectHostname":"h"}}]}`:                          true,
	`{"default":[{"type":"sigstoreSigned","pki":{"caRootsPath":"/c"}}]}`:                                                                             false,
	`{"default":[{"type":"sigstoreSigned","pki":{"subjectEmail":"e"}}]}`:                                                                             false,
}

func TestParsePolicy(t *testing.T) {
	for _, list := range []map[string]bool{policies, newerPolicies} {
		for text, good := range list {
			if _, err := ParsePolicy([]byte(text)); (err == nil) != good {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

func TestMostSpecificScopeWins(t *testing.T) {
	text := `{"default":[{"type":"reject"}],"transports":{"docker":{`
	names := []string{
		"docker.io/library/busybox:latest", "docker.io/library/busybox", "docker.io/library", "docker.io",
		"registry.example.com:5000/a", "registry.example.com:5000", "*.example.com", "*.com", "127.0.0.1:5000",
		"quay.io/a@sha256:" + strings.Repeat("0", 64),
	}
	for i, n := range names {
		if i > 0 {
			text += ","
		}
		text += `"` + n + `":[{"type":"insecureAcceptAnything"}]`
	}
	text += `},"dir":{"/a/b":[{"type":"insecureAcceptAnything"}],"":[{"type":"reject"}]},
		"oci":{"/a/b:t":[{"type":"insecureAcceptAnything"}],"/a":[{"type":"insecureAcceptAnything"}]},
		"docker-archive":{"":[{"type":"insecureAcceptAnything"}]}}}`
	p, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		img     Image
		scope   string
		decided bool
	}{
		{Image{Transport: "docker", Ref: mustParse(t, "busybox:latest")}, "docker.io/library/busybox:latest", true},
		{Image{Transport: "docker", Ref: mustParse(t, "busybox:1")}, "docker.io/library/busybox", true},
		{Image{Transport: "docker", Ref: mustParse(t, "busyboxes:1")}, "docker.io/library", true},
		{Image{Transport: "docker", Ref: mustParse(t, "a/b:1")}, "docker.io", true},
		{Image{Transport: "docker", Ref: mustParse(t, "registry.example.com:5000/a/b:1")}, "registry.example.com:5000/a", true},
		{Image{Transport: "docker", Ref: mustParse(t, "registry.example.com:5000/ab:1")}, "registry.example.com:5000", true},
		{Image{Transport: "docker", Ref: mustParse(t, "registry.example.com/ab:1")}, "*.example.com", true},
		{Image{Transport: "docker", Ref: mustParse(t, "registry.example.com:5001/ab:1")}, "*.example.com", true},
		{Image{Transport: "docker", Ref: mustParse(t, "a.b.example.com/ab:1")}, "*.example.com", true},
		{Image{Transport: "docker", Ref: mustParse(t, "example.com/ab:1")}, "*.com", true},
		{Image{Transport: "docker", Ref: mustParse(t, "127.0.0.1:5000/ab:1")}, "127.0.0.1:5000", true},
		{Image{Transport: "docker", Ref: mustParse(t, "quay.io/a@sha256:"+strings.Repeat("0", 64))}, names[9], true},
		{Image{Transport: "docker", Ref: mustParse(t, "quay.io/a:1")}, "", true}, // the default rejects
		{Image{Transport: "dir", Path: "/a/b"}, "/a/b", true},
		{Image{Transport: "dir", Path: "/a/b/c/d"}, "/a/b", true},
		{Image{Transport: "dir", Path: "/a/bc"}, "", true},
		{Image{Transport: "oci", Path: "/a/b", Ref: reference.Reference{Tag: "t"}}, "/a/b:t", true},
		{Image{Transport: "oci", Path: "/a/b"}, "/a", true},
		{Image{Transport: "docker-archive", Path: "/x"}, "", false}, // only a default, and it accepts anything
	} {
		if list, scope, decided := p.For(c.img); scope != c.scope || decided != c.decided || len(list) == 0 {
			t.Errorf("%s: scope %q, decided %v; want %q, %v", c.img, scope, decided, c.scope, c.decided)
		}
	}
}

// A default that accepts anything is no decision about an image; a scope is one.
func TestDefaultThatAcceptsDecidesNothing(t *testing.T) {
	img := Image{Transport: "docker", Ref: mustParse(t, "quay.io/a:1")}
	for text, want := range map[string]bool{
		`{"default":[{"type":"insecureAcceptAnything"}]}`:                                                                         false,
		`{"default":[{"type":"reject"}],"transports":{"docker":{"":[{"type":"insecureAcceptAnything"}]}}}`:                        false,
		`{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"":[{"type":"reject"}]}}}`:                        true,
		`{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"quay.io":[{"type":"insecureAcceptAnything"}]}}}`: true,
		`{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"other.io":[{"type":"reject"}]}}}`:                false,
		`{"default":[{"type":"insecureAcceptAnything"},{"type":"reject"}]}`:                                                       true,
	} {
		p, err := ParsePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, decided := p.For(img); decided != want {
			t.Errorf("%s: decided is %v", text, decided)
		}
	}
	if _, _, decided := (*Policy)(nil).For(img); decided {
		t.Error("no policy decides")
	}
}

func TestIdentities(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("1", 64)
	tagged := Image{Transport: "docker", Ref: mustParse(t, "r.example/a/b:v1")}
	byDigest := Image{Transport: "docker", Ref: mustParse(t, "r.example/a/b"+digest)}
	file := Image{Transport: "oci", Path: "/x", Ref: reference.Reference{Tag: "v1"}}
	for _, c := range []struct {
		id     Identity
		img    Image
		signed string
		want   bool
	}{
		{Identity{Type: matchExact}, tagged, "r.example/a/b:v1", true},
		{Identity{Type: matchExact}, tagged, "r.example/a/b:v2", false},
		{Identity{Type: matchExact}, tagged, "r.example/a/b", false},
		{Identity{Type: matchExact}, tagged, "r.example/a/b:v1" + digest, false},
		{Identity{Type: matchExact}, byDigest, "r.example/a/b:v1", false},
		{Identity{Type: matchExact}, byDigest, "r.example/a/b" + digest, true},
		{Identity{Type: matchRepoDigestOrExact}, tagged, "r.example/a/b:v1", true},
		{Identity{Type: matchRepoDigestOrExact}, tagged, "r.example/a/b", false},
		{Identity{Type: matchRepoDigestOrExact}, byDigest, "r.example/a/b:v1", true},
		{Identity{Type: matchRepoDigestOrExact}, byDigest, "r.example/a/c:v1", false},
		{Identity{Type: matchRepoDigestOrExact}, byDigest, "r.example/a/b", false},
		{Identity{Type: matchRepository}, tagged, "r.example/a/b", true},
		{Identity{Type: matchRepository}, tagged, "r.example/a/b:other", true},
		{Identity{Type: matchRepository}, tagged, "r.example/a/bb", false},
		{Identity{Type: matchRepository}, tagged, "R.example/a/b", false},
		{Identity{Type: matchRepository}, tagged, "", false},
		{Identity{Type: matchRepository}, file, "r.example/a/b", false},
		{Identity{Type: exactReference, Name: "o.example/c:v9"}, tagged, "o.example/c:v9", true},
		{Identity{Type: exactReference, Name: "o.example/c:v9"}, file, "o.example/c:v9", true},
		{Identity{Type: exactReference, Name: "o.example/c:v9"}, tagged, "o.example/c", false},
		{Identity{Type: exactRepository, Name: "o.example/c"}, file, "o.example/c:any", true},
		{Identity{Type: exactRepository, Name: "o.example/c"}, tagged, "r.example/a/b:v1", false},
		{Identity{Type: exactRepository, Name: "busybox"}, tagged, "index.docker.io/library/busybox", true},
		{Identity{Type: remapIdentity, Prefix: "r.example/a", SignedPrefix: "up.example"}, tagged, "up.example/b:v1", true},
		{Identity{Type: remapIdentity, Prefix: "r.example", SignedPrefix: "up.example:5000/x"}, tagged, "up.example:5000/x/a/b:v1", true},
		{Identity{Type: remapIdentity, Prefix: "r.example/a/b", SignedPrefix: "up.example/c"}, tagged, "up.example/c:v1", true},
		{Identity{Type: remapIdentity, Prefix: "r.example/a/b", SignedPrefix: "up.example/c"}, byDigest, "up.example/c:v7", true},
		{Identity{Type: remapIdentity, Prefix: "r.exam", SignedPrefix: "up.example"}, tagged, "r.example/a/b:v1", true},
		{Identity{Type: remapIdentity, Prefix: "r.example/a", SignedPrefix: "up.example"}, tagged, "r.example/a/b:v1", false},
	} {
		if got := c.id.accepts(c.img, c.signed); got != c.want {
			t.Errorf("%+v of %s accepts %q: %v", c.id, c.img, c.signed, got)
		}
	}
}

func TestPolicyFile(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	path := filepath.Join(home, ".config/containers/policy.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(mode os.FileMode, text string) {
		os.Remove(path)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write(0o644, `{"default":[{"type":"reject"}]}`)
	if p, err := LoadPolicy(""); err != nil || p.Path != path || p.Default[0].Type != reject {
		t.Errorf("%+v, %v", p, err)
	}
	write(0o646, `{"default":[{"type":"insecureAcceptAnything"}]}`)
	if _, err := LoadPolicy(""); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("a policy that everybody may write: %v", err)
	}
	write(0o600, `{"default":[{"type":"rejekt"}]}`)
	if _, err := LoadPolicy(""); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a wrong policy: %v", err)
	}
	write(0o000, `{"default":[{"type":"insecureAcceptAnything"}]}`)
	if os.Geteuid() != 0 {
		if _, err := LoadPolicy(""); err == nil {
			t.Error("a policy that we can't read is none")
		}
	}
	os.Remove(path)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPolicy(""); err == nil {
		t.Error("a directory is a policy")
	}
	if _, err := LoadPolicy(filepath.Join(home, "none")); err == nil {
		t.Error("a policy that was asked for is not there")
	}
}

func digestOf(text string) oci.Digest { return oci.FromBytes([]byte(text)) }
