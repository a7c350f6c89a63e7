package registry

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Credential is what logs in at a registry. The zero value is anonymous.
type Credential struct {
	Username, Password string
	IdentityToken      string // exchanged for tokens by OAuth 2
	RegistryToken      string // sent as it is
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

// FileCredentials looks for the credentials of domain/path in AuthFiles and by the
// helpers that they name. Finding none is no error.
func FileCredentials(domain, path string) (Credential, error) {
	return CredentialsFrom("", domain, path)
}

// CredentialsFrom is FileCredentials for one file in place of AuthFiles; "" is
// none.
func CredentialsFrom(authfile, domain, path string) (Credential, error) {
	places, err := places(authfile, domain, path)
	if err != nil {
		return Credential{}, fmt.Errorf("credentials for %s: %w", domain, err)
	}
	for _, p := range places {
		cred := p.cred
		if p.Helper != "" {
			if cred, err = fromHelper(p.Helper, p.Server); err != nil {
				return Credential{}, fmt.Errorf("credentials for %s: %w", domain, err)
			}
		}
		if cred != (Credential{}) {
			return cred, nil
		}
	}
	return Credential{}, nil
}

// lookupKeys lists the names that may hold credentials for domain/path, the
// most specific first.
func lookupKeys(domain, path string) []string {
	var keys []string
	if path != "" {
		for p := domain + "/" + path; p != domain; p = p[:strings.LastIndexByte(p, '/')] {
			keys = append(keys, p)
		}
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
