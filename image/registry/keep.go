package registry

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"loper.run/image/registry/conf"
	"loper.run/internal/atomicfile"
)

// Keep writes the credentials of a registry, host[:port][/path], to where they
// are read first, and returns that place in words; plain tells that they are
// readable in a file. authfile is one to use in any case; "" leaves the choice:
// where the registry has an entry already, else Docker's config.json when
// DOCKER_CONFIG is set or it has a helper for all, else Podman's auth.json.
func Keep(name string, cred Credential, authfile string) (where string, plain bool, err error) {
	if authfile == "" {
		config, err := conf.Load(conf.DefaultPaths())
		if err != nil {
			return "", false, err
		}
		if len(config.Helpers) > 0 && config.Helpers[0] != filesWord {
			p := place{File: config.HelpersFrom, Helper: config.Helpers[0], Server: name}
			return p.String(), false, toHelper(p.Helper, p.Server, cred)
		}
		if authfile, err = keepIn(name); err != nil {
			return "", false, err
		}
	}
	file, err := openKeys(authfile)
	if err != nil {
		return "", false, err
	}
	if helper, server := file.helper(name); helper != "" {
		p := place{File: authfile, Helper: helper, Server: server}
		if err := toHelper(helper, server, cred); err != nil {
			return "", false, err
		}
		file.remove(name)
		file.set(file.key(name), authEntry{}) // docker marks what a helper has
		return p.String(), false, file.save()
	}
	entry := authEntry{IdentityToken: cred.IdentityToken}
	entry.Auth = base64.StdEncoding.EncodeToString([]byte(cred.Username + ":" + cred.Password))
	file.remove(name)
	file.set(file.key(name), entry)
	return authfile, true, file.save()
}

// keepIn chooses the file for the credentials of a registry.
func keepIn(name string) (string, error) {
	files := AuthFiles()
	for _, f := range files {
		file, err := openKeys(f)
		if err != nil {
			return "", err
		}
		if len(file.entries(name)) > 0 || len(named(file.known.CredHelpers, name)) > 0 {
			return f, nil
		}
	}
	docker := files[len(files)-1]
	conf, _, err := readAuthFile(docker)
	if err != nil {
		return "", err
	}
	if os.Getenv("REGISTRY_AUTH_FILE") == "" && (os.Getenv("DOCKER_CONFIG") != "" || conf.CredsStore != "") {
		return docker, nil
	}
	return files[0], nil
}

// Forget removes the credentials of a registry from all files, or from one, and
// from the helpers that these name. It reports whether there were any.
func Forget(name, authfile string) (found bool, err error) {
	return forget(authfile, func(f *keyFile) ([]string, error) { return []string{name}, nil })
}

// ForgetAll removes the credentials of every registry that the files have an
// entry or a helper for.
func ForgetAll(authfile string) (found bool, err error) {
	return forget(authfile, func(f *keyFile) (names []string, err error) {
		for name := range f.known.Auths {
			names = append(names, hostOf(name))
		}
		for name := range f.known.CredHelpers {
			names = append(names, hostOf(name))
		}
		return names, nil
	})
}

func forget(authfile string, which func(*keyFile) ([]string, error)) (found bool, err error) {
	files := AuthFiles()
	if authfile != "" {
		files = []string{authfile}
	}
	for _, path := range files {
		f, err := openKeys(path)
		if err != nil {
			return found, err
		}
		names, err := which(f)
		if err != nil {
			return found, err
		}
		changed := false
		for _, name := range names {
			removed := f.remove(name)
			changed = changed || removed
			if helper, server := f.helper(name); helper != "" {
				erased, err := eraseHelper(helper, server)
				if err != nil {
					return found, err
				}
				removed = removed || erased
			}
			found = found || removed
		}
		if changed {
			if err := f.save(); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// keyFile is a file with credentials to be changed. What it has besides stays
// as it is.
type keyFile struct {
	path  string
	known authFile
	all   map[string]json.RawMessage
	auths map[string]json.RawMessage
}

func openKeys(path string) (*keyFile, error) {
	// A link, as people have for files under version control, is followed
	// rather than replaced.
	if to, err := os.Readlink(path); err == nil {
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	known, raw, err := readAuthFile(path)
	if err != nil {
		return nil, err
	}
	f := &keyFile{path: path, known: known, all: make(map[string]json.RawMessage), auths: make(map[string]json.RawMessage)}
	if raw == nil {
		return f, nil
	}
	if err := json.Unmarshal(raw, &f.all); err != nil {
		return nil, fmt.Errorf("decode %s: %w", path, err)
	}
	if auths := f.all["auths"]; auths != nil {
		err = json.Unmarshal(auths, &f.auths)
	}
	if f.auths == nil {
		f.auths = make(map[string]json.RawMessage) // it was null
	}
	return f, err
}

// key is the name of a registry's entry: Docker's own for Docker Hub in
// Docker's file.
func (f *keyFile) key(name string) string {
	if filepath.Base(f.path) == "config.json" {
		return serverName(name)
	}
	return name
}

// helper returns who keeps the secrets of a registry, and by which name.
func (f *keyFile) helper(name string) (helper, server string) {
	for _, n := range named(f.known.CredHelpers, name) {
		return f.known.CredHelpers[n], n
	}
	if f.known.CredsStore != "" {
		return f.known.CredsStore, serverName(name)
	}
	return "", ""
}

// entries lists the keys that mean the registry.
func (f *keyFile) entries(name string) []string {
	keys := named(f.auths, name)
	if name == "docker.io" {
		keys = append(keys, named(f.auths, "index.docker.io")...)
		keys = append(keys, named(f.auths, hubHost)...)
	}
	return keys
}

func (f *keyFile) remove(name string) bool {
	keys := f.entries(name)
	for _, k := range keys {
		delete(f.auths, k)
	}
	return len(keys) > 0
}

func (f *keyFile) set(key string, entry authEntry) {
	f.auths[key], _ = json.Marshal(entry) // strings only
}

// save replaces the file. It stays its owner's when root writes for somebody.
func (f *keyFile) save() error {
	var err error
	if f.all["auths"], err = json.Marshal(f.auths); err != nil {
		return err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(f.all); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	before, statErr := os.Stat(f.path)
	if err := atomicfile.Write(f.path, b.Bytes(), 0o600, atomicfile.Durable); err != nil {
		return fmt.Errorf("keep credentials: %w", err)
	}
	if statErr != nil {
		return nil
	}
	if st, ok := before.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && st.Uid != 0 {
		return os.Chown(f.path, int(st.Uid), int(st.Gid))
	}
	return nil
}

// Server is the registry that people mean by an argument of login: what they
// write of an address besides the host is left out.
func Server(arg string) (string, error) {
	if arg == "" {
		return "docker.io", nil
	}
	bare := strings.TrimPrefix(strings.TrimPrefix(arg, "https://"), "http://")
	bare = strings.TrimRight(bare, "/")
	for _, version := range []string{"/v1", "/v2"} {
		bare = strings.TrimSuffix(bare, version)
	}
	if bare == "index.docker.io" || bare == hubHost {
		bare = "docker.io"
	}
	if bare == "" || strings.ContainsAny(bare, "@? #") || strings.ContainsFunc(bare, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%.200q is no registry: write host[:port]", arg)
	}
	return bare, nil
}
