package env

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Registry is Debian's docker-registry, on a loopback port and a directory of its own.
type Registry struct {
	Addr string // host:port
	User string // of basic authentication, empty without
	Pass string

	scheme string // "" is http
	client *http.Client

	cmd   *exec.Cmd
	stdin io.Closer
}

// passwordHash is the bcrypt hash of "secret", which the registry asks of user "tester" when it has authentication.
const passwordHash = "$2y$04$GG2Q1eXNmfG90gKtJ6.IJ.GeOfQdiyDzw7oBsJESkAsToj2F.UGBy"

// RegistryOptions says what a registry asks of its clients.
type RegistryOptions struct {
	Basic        bool       // user tester with password secret
	Tokens       *Tokens    // a token of that server
	Authority    *Authority // HTTPS, with a certificate of it
	Certificates bool       // the client's certificate, of the same authority
}

// StartRegistry starts a registry that keeps its blobs below dir; auth asks for user tester with password secret.
func StartRegistry(dir string, auth bool) (*Registry, error) {
	return startRegistry(dir, RegistryOptions{Basic: auth}, "", http.DefaultClient)
}

// NewRegistry starts a registry that ends with the test.
func NewRegistry(t testing.TB, o RegistryOptions) *Registry {
	t.Helper()
	Need(t, "docker-registry")
	dir, client, config := t.TempDir(), http.DefaultClient, ""
	if o.Authority != nil {
		cert, key := o.Authority.Issue(t)
		for name, body := range map[string][]byte{"cert.pem": cert, "key.pem": key, "ca.pem": o.Authority.PEM} {
			if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		config = fmt.Sprintf("  tls:\n    certificate: %[1]s/cert.pem\n    key: %[1]s/key.pem\n", dir)
		if o.Certificates {
			config += fmt.Sprintf("    clientcas: [%s/ca.pem]\n", dir)
		}
		client = o.Authority.Client(t)
	}
	if o.Tokens != nil {
		bundle := filepath.Join(dir, "bundle.pem")
		if err := os.WriteFile(bundle, o.Tokens.ca.PEM, 0o600); err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("auth:\n  token: {realm: '%s', service: '%s', issuer: '%s', rootcertbundle: %s}\n", o.Tokens.Realm(), o.Tokens.Service, o.Tokens.Issuer, bundle)
	}
	r, err := startRegistry(dir, o, config, client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

// startRegistry starts one; more is the rest of its configuration, which begins within http.
func startRegistry(dir string, o RegistryOptions, more string, client *http.Client) (*Registry, error) {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, fmt.Errorf("needs the program docker-registry")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	r := &Registry{Addr: addr, client: client, scheme: "http"}
	if o.Authority != nil {
		r.scheme = "https"
	}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %s}\n  delete: {enabled: true}\nhttp:\n  addr: %s\n", filepath.Join(dir, "data"), addr) + more
	if o.Basic {
		r.User, r.Pass = "tester", "secret"
		htpasswd := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(htpasswd, []byte("tester:"+passwordHash+"\n"), 0o600); err != nil {
			return nil, err
		}
		config += fmt.Sprintf("auth:\n  htpasswd: {realm: tests, path: %s}\n", htpasswd)
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// The shell holds the other end of our pipe: however we end, the registry ends too.
	r.cmd = exec.Command("sh", "-c", `"$0" serve "$1" </dev/null & read _; kill -9 $!; wait`, program, file)
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r.cmd.Stdout, r.cmd.Stderr = log, log
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "REGISTRY_") { // Podman's variables look like settings of the registry
			r.cmd.Env = append(r.cmd.Env, v)
		}
	}
	r.cmd.Env = append(r.cmd.Env, "OTEL_TRACES_EXPORTER=none")
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	for range 200 {
		if res, err := client.Get(r.scheme + "://" + addr + "/v2/"); err == nil {
			res.Body.Close()
			return r, nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	r.Stop()
	said, _ := os.ReadFile(log.Name())
	return nil, fmt.Errorf("docker-registry did not answer on %s: %s", addr, said)
}

// Stop ends the registry.
func (r *Registry) Stop() {
	r.stdin.Close()
	r.cmd.Wait()
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Push stores an image as name ("busybox:latest") and returns the reference to pull it by.
func (r *Registry) Push(img *Image, name string) (string, error) {
	repo, tag, ok := strings.Cut(name, ":")
	if !ok {
		tag = "latest"
	}
	for _, b := range img.Blobs() {
		if err := r.putBlob(repo, b); err != nil {
			return "", err
		}
	}
	return r.Addr + "/" + repo + ":" + tag, r.PutManifest(repo, tag, img.Manifest)
}

// PushIndex stores the images of all platforms and an index of them.
func (r *Registry) PushIndex(name string, platforms ...Platform) (string, error) {
	repo, tag, _ := strings.Cut(name, ":")
	for _, p := range platforms {
		if _, err := r.Push(p.Image, repo+":"+p.OS+"-"+p.Arch); err != nil {
			return "", err
		}
	}
	return r.Addr + "/" + name, r.PutManifest(repo, tag, Index(platforms...))
}

// PutManifest stores a manifest by tag or digest.
func (r *Registry) PutManifest(repo, tag string, m Blob) error {
	res, err := r.do("PUT", "/v2/"+repo+"/manifests/"+tag, m.MediaType, m.Data)
	if err != nil {
		return err
	}
	return expect(res, http.StatusCreated)
}

func (r *Registry) putBlob(repo string, b Blob) error {
	res, err := r.do("HEAD", "/v2/"+repo+"/blobs/"+b.Digest(), "", nil)
	if err != nil {
		return err
	}
	if res.Body.Close(); res.StatusCode == http.StatusOK {
		return nil
	}
	if res, err = r.do("POST", "/v2/"+repo+"/blobs/uploads/", "", nil); err != nil {
		return err
	}
	if err := expect(res, http.StatusAccepted); err != nil {
		return err
	}
	location, err := res.Location()
	if err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", b.Digest())
	location.RawQuery = query.Encode()
	if res, err = r.do("PUT", location.RequestURI(), "application/octet-stream", b.Data); err != nil {
		return err
	}
	return expect(res, http.StatusCreated)
}

func (r *Registry) do(method, path, mediaType string, body []byte) (*http.Response, error) {
	scheme, client := r.scheme, r.client
	if client == nil {
		scheme, client = "http", http.DefaultClient
	}
	req, err := http.NewRequest(method, scheme+"://"+r.Addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	if r.User != "" {
		req.SetBasicAuth(r.User, r.Pass)
	}
	return client.Do(req)
}

func expect(res *http.Response, status int) error {
	defer res.Body.Close()
	if res.StatusCode == status {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	return fmt.Errorf("%s %s: %s: %s", res.Request.Method, res.Request.URL.Path, res.Status, said)
}
