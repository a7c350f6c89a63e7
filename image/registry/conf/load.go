package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	systemFile = "/etc/containers/registries.conf"
	// maxFile bounds one file, in bytes.
	maxFile = 4 << 20
)

// Paths says where the files are.
type Paths struct {
	Main    string
	Must    bool     // Main has to be there
	Dirs    []string // whose *.conf follow, those of one directory in the order of their names
	Aliases string   // what was chosen for short names before
}

// DefaultPaths is where Podman looks. CONTAINERS_REGISTRIES_CONF, or
// REGISTRIES_CONFIG_PATH, names another main file; a user's own takes the place
// of the system's files.
func DefaultPaths() Paths {
	p := Paths{Main: systemFile, Dirs: []string{systemFile + ".d"}, Aliases: aliasFile()}
	own := ""
	if dir, err := os.UserConfigDir(); err == nil {
		own = filepath.Join(dir, "containers/registries.conf")
	}
	for _, name := range []string{"CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH"} {
		if file := os.Getenv(name); file != "" {
			p.Main, p.Must = file, true
			break
		}
	}
	if own == "" {
		return p
	}
	if _, err := os.Stat(own); err == nil && !p.Must {
		p.Main, p.Dirs = own, nil
	}
	p.Dirs = append(p.Dirs, own+".d")
	return p
}

// Load reads all files.
func Load(p Paths) (*Config, error) {
	c := &Config{Aliases: make(map[string]Alias)}
	err := c.add(p.Main, true)
	if err != nil && (p.Must || !errors.Is(err, fs.ErrNotExist)) {
		return nil, err
	}
	for _, dir := range p.Dirs {
		// Sorted by name, and what is no directory has no entries.
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("registries: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() || !strings.HasSuffix(e.Name(), ".conf") {
				continue
			}
			if err := c.add(filepath.Join(dir, e.Name()), false); err != nil {
				return nil, err
			}
		}
	}
	if p.Aliases != "" {
		if err := c.add(p.Aliases, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return c, nil
}

// add reads one more file, which wins over what was read before.
func (c *Config) add(file string, first bool) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("registries: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fmt.Errorf("registries: %w", err)
	}
	if len(data) > maxFile {
		return fmt.Errorf("registries: %s has more than %d bytes", file, maxFile)
	}
	more, err := decode(data, file, first)
	if err != nil {
		return fmt.Errorf("registries: %w", err)
	}
	c.merge(more)
	return nil
}

func (c *Config) merge(more *Config) {
	c.Files = append(c.Files, more.Files...)
	for _, r := range more.Registries {
		c.put(r)
	}
	if more.SearchFrom != "" {
		c.Search, c.SearchFrom = more.Search, more.SearchFrom
	}
	if more.HelpersFrom != "" {
		c.Helpers, c.HelpersFrom = more.Helpers, more.HelpersFrom
	}
	if more.Mode != "" {
		c.Mode = more.Mode
	}
	for short, a := range more.Aliases {
		if a.Name == "" {
			delete(c.Aliases, short)
		} else {
			c.Aliases[short] = a
		}
	}
}

// put adds a table in place of the one with the same prefix.
func (c *Config) put(r Registry) {
	for i := range c.Registries {
		if c.Registries[i].Prefix == r.Prefix {
			c.Registries[i] = r
			return
		}
	}
	c.Registries = append(c.Registries, r)
}
