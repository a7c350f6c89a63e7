package trust

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
	"loper.run/test/env"
)

// verifier is loper-verify, built once, or why it can't be.
var verifier = sync.OnceValues(func() (string, error) {
	if p := os.Getenv("LOPER_VERIFY"); p != "" {
		return p, nil
	}
	source := filepath.Join(env.Source(), "cmd/loper-verify")
	if _, err := os.Stat(filepath.Join(source, "go.mod")); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "loper-verify")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // who runs it is nobody
		return "", err
	}
	built = dir
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "loper-verify"), ".")
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "loper-verify"), nil
})

var built string

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

func needVerifier(t testing.TB) Verifier {
	t.Helper()
	p, err := verifier()
	if err != nil {
		t.Skip("needs the program loper-verify: ", err)
	}
	return Verifier{Program: p}
}

// Podman's library refuses the same policies.
func TestPoliciesLikePodman(t *testing.T) {
	env.Need(t, "skopeo")
	home(t)
	dir := t.TempDir()
	for text, good := range policies {
		file := policyFile(t, text)
		out, err := exec.Command("skopeo", "--policy", file, "copy", "dir:/nonexistent", "dir:"+dir).CombinedOutput()
		if err == nil {
			t.Fatalf("copied nothing: %s", out)
		}
		if refused := strings.Contains(string(out), "trust policy"); refused == good {
			t.Errorf("%s: we say good is %v, skopeo: %s", text, good, out)
		}
	}
}

// peers is a registry, a user with keys, and images that skopeo signed.
type peers struct {
	reg  *env.Registry
	home string
	gpg  string // GNUPGHOME
	dir  string // the image as skopeo's dir:
}

func newPeers(t *testing.T) *peers {
	t.Helper()
	env.Need(t, "docker-registry", "skopeo")
	p := &peers{home: home(t)}
	var err error
	if p.reg, err = env.StartRegistry(t.TempDir(), false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.reg.Stop)
	tar := env.Tar(env.File{Name: "a", Body: "x"})
	if _, err := p.reg.Push(env.NewImage(env.RunConfig{}, env.Gzipped(tar)), "plain:v1"); err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"} {
		t.Setenv(v, "/nonexistent")
	}
	d := filepath.Join(p.home, ".config/containers/registries.d")
	if err := os.MkdirAll(d, 0o700); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("# where signatures are\ndefault-docker:\n  lookaside: file://%s/lookaside\n  use-sigstore-attachments: true\n", p.home)
	if err := os.WriteFile(filepath.Join(d, "all.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.dir = filepath.Join(p.home, "image")
	p.skopeo(t, "copy", "--src-tls-verify=false", "docker://"+p.reg.Addr+"/plain:v1", "dir:"+p.dir)
	return p
}

func (p *peers) skopeo(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("skopeo", append([]string{"--insecure-policy"}, args...)...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+p.gpg)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("skopeo %s: %v: %s", args, err, out)
	}
}

// newGPG makes an OpenPGP key and returns its fingerprint and public key file.
func (p *peers) newGPG(t *testing.T, name string) (fingerprint, file string) {
	t.Helper()
	env.Need(t, "gpg", "gpgconf")
	if p.gpg == "" {
		dir, err := os.MkdirTemp("/tmp", "gpg") // a socket's path is short
		if err != nil {
			t.Fatal(err)
		}
		p.gpg = dir
		t.Cleanup(func() {
			cmd := exec.Command("gpgconf", "--kill", "all")
			cmd.Env = append(os.Environ(), "GNUPGHOME="+dir)
			cmd.Run()
			os.RemoveAll(dir)
		})
	}
	gpg := func(args ...string) string {
		cmd := exec.Command("gpg", append([]string{"--batch", "--yes", "--passphrase", "", "--pinentry-mode", "loopback"}, args...)...)
		cmd.Env = append(os.Environ(), "GNUPGHOME="+p.gpg)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %s: %v", args, err)
		}
		return string(out)
	}
	gpg("--quick-generate-key", name+"@example.com", "rsa2048", "sign", "never")
	for _, line := range strings.Split(gpg("--list-keys", "--with-colons", name+"@example.com"), "\n") {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			fingerprint = f[9]
			break
		}
	}
	file = filepath.Join(p.home, name+".gpg")
	gpg("--output", file, "--export", fingerprint)
	return fingerprint, file
}

// newCosign makes a key and its public file.
func (p *peers) newCosign(t *testing.T, name string) (k PrivateKey, public string) {
	t.Helper()
	secret, pub, err := GenerateKey([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if k, err = ParsePrivateKey(secret, func() ([]byte, error) { return []byte("secret"), nil }); err != nil {
		t.Fatal(err)
	}
	public = filepath.Join(p.home, name+".pub")
	if err := os.WriteFile(public, pub, 0o600); err != nil {
		t.Fatal(err)
	}
	return k, public
}

// ask is our verdict about an image of the registry.
func (p *peers) ask(t *testing.T, name, policy string, v Verifier) error {
	t.Helper()
	ref := mustParse(t, p.reg.Addr+"/"+name)
	client, err := registry.New(ref.Domain)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, _, digest, err := client.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if !ref.Digest.IsZero() {
		ref.Tag = ""
	}
	img := Image{Transport: "docker", Ref: ref, Digests: []oci.Digest{digest}}
	_, err = Options{Policy: policy, Verifier: v}.Decide(t.Context(), img, Registry(client, img))
	return err
}

// theirs is skopeo's.
func (p *peers) theirs(t *testing.T, name, policy string) error {
	t.Helper()
	out, err := exec.Command("skopeo", "--policy", policy, "copy", "--src-tls-verify=false", "--remove-signatures", "docker://"+p.reg.Addr+"/"+name, "dir:"+t.TempDir()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s", out)
	}
	return nil
}

func (p *peers) compare(t *testing.T, names, policies []string, v Verifier) (yes, no int) {
	t.Helper()
	for _, policy := range policies {
		file := policyFile(t, policy)
		for _, name := range names {
			ours, theirs := p.ask(t, name, file, v), p.theirs(t, name, file)
			if (ours == nil) != (theirs == nil) {
				t.Errorf("%s by %s:\nours:   %v\ntheirs: %v", name, policy, ours, theirs)
			}
			if ours == nil {
				yes++
			} else {
				no++
			}
		}
	}
	return yes, no
}

// digest names the image of a repository by its digest.
func (p *peers) digest(t *testing.T, repo string) string {
	t.Helper()
	client, err := registry.New(p.reg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, _, d, err := client.Manifest(t.Context(), reference.Reference{Domain: p.reg.Addr, Path: repo, Tag: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	return repo + "@" + d.String()
}

// The same policies give the same verdicts as Podman's library.
func TestVerdictsLikePodman(t *testing.T) {
	p := newPeers(t)
	p.skopeo(t, "copy", "--dest-tls-verify=false", "dir:"+p.dir, "docker://"+p.reg.Addr+"/a/b:v1")
	scoped := func(scopes ...string) string {
		text := `{"default":[{"type":"reject"}],"transports":{"docker":{`
		for i, s := range scopes {
			name, kind, _ := strings.Cut(s, "=")
			if i > 0 {
				text += ","
			}
			text += `"` + name + `":[{"type":"` + kind + `"}]`
		}
		return text + `}}}`
	}
	const yes, no = "=insecureAcceptAnything", "=reject"
	a := p.reg.Addr
	accepted, refused := p.compare(t, []string{"plain:v1", "a/b:v1", p.digest(t, "plain")}, []string{
		`{"default":[{"type":"reject"}]}`, silent,
		`{"default":[{"type":"insecureAcceptAnything"},{"type":"reject"}]}`,
		`{"default":[{"type":"insecureAcceptAnything"}],"transports":{"dir":{"":[{"type":"reject"}]}}}`,
		scoped(yes), scoped(yes, a+no), scoped(a + "/plain" + yes), scoped(a+"/plain:v1"+yes, a+"/plain"+no), scoped(a + "/" + strings.SplitN(p.digest(t, "plain"), "/", 2)[0] + yes),
		scoped(a + "/a" + yes), scoped(a+"/a"+no, a+yes), scoped("127.0.0.1" + yes), scoped("*.0.0.1" + yes), scoped("*.0.1"+yes, "*.1"+no), scoped("*.1" + yes), scoped("*" + yes), scoped("*.127.0.0.1" + yes),
		`{"default":[{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}]}`,
		`{"default":[{"type":"nonsense"}]}`,
	}, Verifier{})
	if accepted < 10 || refused < 10 {
		t.Errorf("the table shows little: %d accepted, %d refused", accepted, refused)
	}
}

// Debian's Podman and skopeo are built without sigstore, so that this table has
// the verdicts that containers-policy.json(5) asks for.
func TestSigstoreVerdicts(t *testing.T) {
	p := newPeers(t)
	key, pub := p.newCosign(t, "one")
	_, otherPub := p.newCosign(t, "two")
	a := p.reg.Addr
	client, err := registry.New(a)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for name, identity := range map[string]string{"signed:v1": a + "/signed:v1", "signed:v2": "", "other:v1": a + "/signed:v1", "bare:v1": a + "/bare"} {
		p.skopeo(t, "copy", "--dest-tls-verify=false", "dir:"+p.dir, "docker://"+a+"/"+name)
		if identity == "" {
			continue // another tag of what is signed
		}
		ref := mustParse(t, a+"/"+name)
		_, _, d, err := client.Manifest(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		s, err := key.SignCosign(d, identity)
		if err == nil {
			err = s.Publish(t.Context(), client, ref.Path, oci.Descriptor{MediaType: oci.TypeManifest, Digest: d})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	requirement := func(identity string) string {
		return `{"default":[{"type":"sigstoreSigned","keyPath":"` + pub + `"` + identity + `}]}`
	}
	names := []string{"plain:v1", "signed:v1", "signed:v2", "other:v1", "bare:v1", p.digest(t, "signed"), p.digest(t, "plain"), p.digest(t, "bare")}
	for policy, want := range map[string]string{ // y and n for each of the names
		requirement(""): "nynnnynn",
		requirement(`,"signedIdentity":{"type":"matchExact"}`):                                                                   "nynnnnnn",
		requirement(`,"signedIdentity":{"type":"matchRepoDigestOrExact"}`):                                                       "nynnnynn",
		requirement(`,"signedIdentity":{"type":"matchRepository"}`):                                                              "nyynyyny",
		requirement(`,"signedIdentity":{"type":"exactReference","dockerReference":"` + a + `/signed:v1"}`):                       "nyyynynn",
		requirement(`,"signedIdentity":{"type":"exactReference","dockerReference":"` + a + `/signed:v2"}`):                       "nnnnnnnn",
		requirement(`,"signedIdentity":{"type":"exactRepository","dockerRepository":"` + a + `/signed"}`):                        "nyyynynn",
		requirement(`,"signedIdentity":{"type":"remapIdentity","prefix":"` + a + `/other","signedPrefix":"` + a + `/signed"}`):   "nynynynn",
		requirement(`,"signedIdentity":{"type":"remapIdentity","prefix":"` + a + `","signedPrefix":"example.com"}`):              "nnnnnnnn",
		`{"default":[{"type":"sigstoreSigned","keyPath":"` + otherPub + `"}]}`:                                                   "nnnnnnnn",
		`{"default":[{"type":"sigstoreSigned","keyPath":"/nonexistent"}]}`:                                                       "nnnnnnnn",
		`{"default":[{"type":"sigstoreSigned","keyPaths":["` + otherPub + `","` + pub + `"]}]}`:                                  "nynnnynn",
		`{"default":[{"type":"sigstoreSigned","keyPath":"` + pub + `"},{"type":"sigstoreSigned","keyPath":"` + otherPub + `"}]}`: "nnnnnnnn",
	} {
		file, got := policyFile(t, policy), ""
		for _, name := range names {
			if p.ask(t, name, file, Verifier{}) == nil {
				got += "y"
			} else {
				got += "n"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", policy, got, want)
		}
	}
	// A place that says no is not asked.
	d := filepath.Join(p.home, ".config/containers/registries.d/off.yaml")
	if err := os.WriteFile(d, []byte("docker:\n  "+a+"/signed:\n    use-sigstore-attachments: false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.ask(t, "signed:v1", policyFile(t, requirement("")), Verifier{}); err == nil || !strings.Contains(err.Error(), "not signed") {
		t.Error(err)
	}
}

// The same of OpenPGP signatures below a lookaside.
func TestSimpleVerdictsLikePodman(t *testing.T) {
	v := needVerifier(t)
	p := newPeers(t)
	fingerprint, file := p.newGPG(t, "one")
	_, otherFile := p.newGPG(t, "two")
	p.skopeo(t, "copy", "--dest-tls-verify=false", "--sign-by", fingerprint, "dir:"+p.dir, "docker://"+p.reg.Addr+"/signed:v1")
	p.skopeo(t, "copy", "--dest-tls-verify=false", "dir:"+p.dir, "docker://"+p.reg.Addr+"/signed:v2")
	p.skopeo(t, "copy", "--dest-tls-verify=false", "--sign-by", fingerprint, "--sign-identity", p.reg.Addr+"/signed:v1", "dir:"+p.dir, "docker://"+p.reg.Addr+"/other:v1")
	requirement := func(keys, identity string) string {
		return `{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"` + keys + `"` + identity + `}]}`
	}
	yes, no := p.compare(t, []string{"plain:v1", "signed:v1", "signed:v2", "other:v1"}, []string{
		requirement(file, ""), requirement(otherFile, ""), requirement("/nonexistent", ""),
		requirement(file, `,"signedIdentity":{"type":"matchRepository"}`),
		requirement(file, `,"signedIdentity":{"type":"exactReference","dockerReference":"`+p.reg.Addr+`/signed:v1"}`),
		`{"default":[{"type":"signedBy","keyType":"X509Certificates","keyPath":"` + file + `"}]}`,
		`{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"` + file + `"},{"type":"signedBy","keyType":"GPGKeys","keyPath":"` + otherFile + `"}]}`,
	}, v)
	if yes < 4 || no < 4 {
		t.Errorf("the table shows little: %d accepted, %d refused", yes, no)
	}
}
