package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Credential is what logs in at a registry. The zero value is anonymous.
type Credential struct {
	Username, Password string
	IdentityToken      string // exchanged for tokens by OAuth 2
	RegistryToken      string // sent as it is
}

// authFile is the part of Docker's config.json and of Podman's auth.json that
// tells credentials.
type authFile struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	} `json:"auths"`
	CredHelpers map[string]string `json:"credHelpers"`
	CredsStore  string            `json:"credsStore"`
}

// AuthFiles lists where credentials may be, the first of them winning: Podman's
// files, then Docker's. REGISTRY_AUTH_FILE stands for all of them.
func AuthFiles() []string {
	if f := os.Getenv("REGISTRY_AUTH_FILE"); f != "" {
		return []string{f}
	}
	var files []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, "containers/auth.json"))
	} else {
		files = append(files, fmt.Sprintf("/run/containers/%d/auth.json", os.Getuid()))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "containers/auth.json"))
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		files = append(files, filepath.Join(dir, "config.json"))
	} else if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".docker/config.json"))
	}
	return files
}

// FileCredentials looks for the credentials of domain/path in AuthFiles. Finding
// none is no error.
func FileCredentials(domain, path string) (Credential, error) {
	for _, file := range AuthFiles() {
		cred, found, err := fromFile(file, domain, path)
		if err != nil {
			return Credential{}, fmt.Errorf("credentials for %s: %w", domain, err)
		}
		if found {
			return cred, nil
		}
	}
	return Credential{}, nil
}

func fromFile(file, domain, path string) (Credential, bool, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return Credential{}, false, nil
	}
	if err != nil {
		return Credential{}, false, err
	}
	defer f.Close()
	var conf authFile
	if err := json.NewDecoder(io.LimitReader(f, 4<<20)).Decode(&conf); err != nil && err != io.EOF {
		return Credential{}, false, fmt.Errorf("decode %s: %w", file, err)
	}
	keys := lookupKeys(domain, path)
	for _, key := range keys {
		for name, helper := range conf.CredHelpers {
			if hostOf(name) == key {
				cred, err := fromHelper(helper, name)
				return cred, cred != Credential{}, err
			}
		}
	}
	for _, key := range keys {
		for name, a := range conf.Auths {
			if hostOf(name) != key {
				continue
			}
			cred := Credential{a.Username, a.Password, a.IdentityToken, a.RegistryToken}
			if a.Auth != "" {
				user, password, err := decodeAuth(a.Auth)
				if err != nil {
					return Credential{}, false, fmt.Errorf("%s: auths[%q]: %w", file, name, err)
				}
				cred.Username, cred.Password = user, password
			}
			if cred != (Credential{}) {
				return cred, true, nil
			}
		}
	}
	if conf.CredsStore != "" {
		server := domain
		if domain == "docker.io" {
			server = "https://index.docker.io/v1/"
		}
		cred, err := fromHelper(conf.CredsStore, server)
		return cred, cred != Credential{}, err
	}
	return Credential{}, false, nil
}

// lookupKeys lists the names that may hold credentials for domain/path, the
// most specific first.
func lookupKeys(domain, path string) []string {
	var keys []string
	for p := domain + "/" + path; p != domain; p = p[:strings.LastIndexByte(p, '/')] {
		keys = append(keys, p)
	}
	keys = append(keys, domain)
	if domain == "docker.io" {
		keys = append(keys, "index.docker.io", "registry-1.docker.io")
	}
	return keys
}

// hostOf strips the forms that config.json has had over time, such as
// https://index.docker.io/v1/, down to what lookupKeys makes.
func hostOf(name string) string {
	bare := strings.TrimPrefix(strings.TrimPrefix(name, "https://"), "http://")
	if bare != name {
		bare, _, _ = strings.Cut(bare, "/")
	}
	return strings.TrimSuffix(bare, "/")
}

func decodeAuth(s string) (user, password string, err error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", "", errors.New("auth is not base64")
	}
	user, password, found := strings.Cut(strings.TrimRight(string(raw), "\x00"), ":")
	if !found {
		return "", "", errors.New("auth is not user:password")
	}
	return user, password, nil
}

// fromHelper asks docker-credential-NAME, which keeps secrets in a keyring.
func fromHelper(name, server string) (Credential, error) {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || name == "" {
		return Credential{}, fmt.Errorf("%.60q is no name of a credential helper", name)
	}
	program, err := exec.LookPath("docker-credential-" + name)
	if err != nil {
		return Credential{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin = strings.NewReader(server)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(out.String() + " " + errOut.String())
		if strings.Contains(text, "not found") {
			return Credential{}, nil
		}
		return Credential{}, fmt.Errorf("%s: %w: %.200s", filepath.Base(program), err, clean(text))
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return Credential{}, fmt.Errorf("%s: decode its answer: %w", filepath.Base(program), err)
	}
	if answer.Username == "<token>" {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}
