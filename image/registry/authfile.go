package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"loper.run/image/registry/conf"
)

// maxAuthFile bounds a file with credentials, in bytes.
const maxAuthFile = 4 << 20

// authFile is the part of Docker's config.json and of Podman's auth.json that
// tells credentials.
type authFile struct {
	Auths       map[string]authEntry `json:"auths"`
	CredHelpers map[string]string    `json:"credHelpers"`
	CredsStore  string               `json:"credsStore"`
}

type authEntry struct {
	Auth          string `json:"auth,omitempty"`
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

func (a authEntry) credential() (Credential, error) {
	cred := Credential{a.Username, a.Password, a.IdentityToken, a.RegistryToken}
	if a.Auth != "" {
		user, password, err := decodeAuth(a.Auth)
		if err != nil {
			return Credential{}, err
		}
		cred.Username, cred.Password = user, password
	}
	return cred, nil
}

// readAuthFile reads a file with credentials; one that is missing, or not for us
// to read, has none.
func readAuthFile(file string) (conf authFile, raw []byte, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return conf, nil, nil
	}
	if err != nil {
		return conf, nil, err
	}
	defer f.Close()
	raw, err = io.ReadAll(io.LimitReader(f, maxAuthFile+1))
	if err != nil || len(raw) == 0 {
		return conf, nil, err
	}
	if len(raw) > maxAuthFile {
		return conf, nil, fmt.Errorf("%s has more than %d bytes", file, maxAuthFile)
	}
	if err := json.Unmarshal(raw, &conf); err != nil {
		return conf, nil, fmt.Errorf("decode %s: %w", file, err)
	}
	return conf, raw, nil
}

// place is where credentials for a repository are, or may be: an entry of a
// file, or a helper that has to be asked.
type place struct {
	File   string // that says so
	Key    string // of the entry in auths; "" with a helper
	Helper string
	Server string // what the helper is asked for
	cred   Credential
}

// String says where, without what is there.
func (p place) String() string {
	switch {
	case p.Helper != "":
		return fmt.Sprintf("docker-credential-%s (%s)", p.Helper, p.File)
	case p.File != "":
		return fmt.Sprintf("%s (%s)", p.File, p.Key)
	}
	return ""
}

// filesWord stands for the files among the helpers of registries.conf.
const filesWord = "containers-auth.json"

// places lists where to look for credentials, the first that has some winning.
// authfile takes the place of AuthFiles.
func places(authfile, domain, path string) ([]place, error) {
	files := AuthFiles()
	if authfile != "" {
		files = []string{authfile}
	}
	config, err := conf.Load(conf.DefaultPaths())
	if err != nil {
		return nil, err
	}
	helpers := config.Helpers
	if len(helpers) == 0 {
		helpers = []string{filesWord}
	}
	var all []place
	for _, h := range helpers {
		if h != filesWord {
			all = append(all, place{File: config.HelpersFrom, Helper: h, Server: domain})
			continue
		}
		for _, file := range files {
			more, err := placesIn(file, domain, path)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	return all, nil
}

// placesIn lists what one file says: helpers for the registry, entries, and
// the helper for all.
func placesIn(file, domain, path string) ([]place, error) {
	conf, _, err := readAuthFile(file)
	if err != nil {
		return nil, err
	}
	var all []place
	keys := lookupKeys(domain, path)
	for _, key := range keys {
		for _, name := range named(conf.CredHelpers, key) {
			all = append(all, place{File: file, Helper: conf.CredHelpers[name], Server: name})
		}
	}
	for _, key := range keys {
		for _, name := range named(conf.Auths, key) {
			cred, err := conf.Auths[name].credential()
			if err != nil {
				return nil, fmt.Errorf("%s: auths[%q]: %w", file, name, err)
			}
			if cred != (Credential{}) {
				all = append(all, place{File: file, Key: name, cred: cred})
			}
		}
	}
	if conf.CredsStore != "" {
		all = append(all, place{File: file, Helper: conf.CredsStore, Server: serverName(domain)})
	}
	return all, nil
}

// named lists the keys of a map that mean the same registry, sorted.
func named[T any](m map[string]T, key string) []string {
	var all []string
	for name := range m {
		if hostOf(name) == key {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// serverName is what Docker calls a registry in config.json.
func serverName(domain string) string {
	if domain == "docker.io" {
		return "https://index.docker.io/v1/"
	}
	return domain
}
