package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"loper.run/image/reference"
	"loper.run/internal/atomicfile"
)

// IsShort reports whether a name leaves its registry out, so that an alias or a
// list of registries may say which one is meant.
func IsShort(name string) bool {
	first, _, path := strings.Cut(name, "/")
	if !path {
		first, _, _ = strings.Cut(first, "@")
		return !strings.HasPrefix(name, "sha256:") && first != ""
	}
	return first != "localhost" && !strings.ContainsAny(first, ".:") && strings.ToLower(first) == first
}

// Candidate is a full name that a short one may stand for.
type Candidate struct {
	Ref  reference.Reference
	From string // the file that says so; "" is the grammar's own default, Docker Hub
	What string // alias, search or default
}

// Candidates lists what a name may stand for, in the order to try it. A name
// with a registry stands for itself. A short one is an alias, or of each of the
// registries that are searched, or else of Docker Hub.
func (c *Config) Candidates(name string) ([]Candidate, error) {
	plain, err := reference.Parse(name)
	if err != nil || !IsShort(name) {
		return []Candidate{{Ref: plain, What: "default"}}, err
	}
	if a, ok := c.Aliases[repository(name)]; ok {
		ref, err := reference.Parse(a.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: alias of %s: %w", a.File, name, err)
		}
		ref.Tag, ref.Digest = plain.Tag, plain.Digest
		return []Candidate{{ref, a.File, "alias"}}, nil
	}
	if c.SearchFrom == "" || len(c.Search) == 0 {
		return []Candidate{{Ref: plain, What: "default"}}, nil
	}
	var all []Candidate
	for _, host := range c.Search {
		ref, err := reference.Parse(host + "/" + name)
		if err != nil {
			return nil, fmt.Errorf("%s: unqualified-search-registries: %w", c.SearchFrom, err)
		}
		all = append(all, Candidate{ref, c.SearchFrom, "search"})
	}
	return all, nil
}

// repository is a short name without tag and digest.
func repository(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

func checkAlias(short, full string) error {
	if ref, err := reference.Parse(short); err != nil || !IsShort(short) || ref.Tag != "" || !ref.Digest.IsZero() {
		return fmt.Errorf("%q is no short name without a tag", short)
	}
	if full == "" {
		return nil // takes an earlier one back
	}
	if ref, err := reference.Parse(full); err != nil || IsShort(full) || ref.Tag != "" || !ref.Digest.IsZero() {
		return fmt.Errorf("%s = %q: write the full name, with a registry and without a tag", short, full)
	}
	return nil
}

// aliasFile is where Podman keeps what its user chose for short names, and what
// Remember writes.
func aliasFile() string {
	if os.Geteuid() == 0 {
		return "/var/cache/containers/short-name-aliases.conf"
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "containers/short-name-aliases.conf")
}

// Remember writes what was chosen for a short name where Podman reads it too.
func Remember(short, full string) error {
	file := aliasFile()
	if file == "" {
		return errors.New("remember a short name: there is no directory for caches: set HOME")
	}
	c := &Config{Aliases: make(map[string]Alias)}
	if err := c.add(file, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	doc := struct {
		Aliases map[string]string `toml:"aliases"`
	}{make(map[string]string)}
	for name, a := range c.Aliases {
		doc.Aliases[name] = a.Name
	}
	doc.Aliases[repository(short)] = full
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(doc); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(file, b.Bytes(), 0o644, atomicfile.Volatile)
}
