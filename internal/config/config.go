// Package config reads loper's configuration: what an administrator or a user
// settles once, in TOML. Every key has a default, so that no file has to be
// there. A file is read only by commands that ask for what stands in it.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/docker/go-units"
	"github.com/pelletier/go-toml/v2"
)

// Config is config.toml. The zero value is what holds without any file.
type Config struct {
	Image   Image   `toml:"image"`
	Network Network `toml:"network"`
}

// Network is the table [network]: what new networks are like.
type Network struct {
	// Pools are what IPv4 subnets are cut from.
	Pools []Pool `toml:"pools"`
	// Options are those of bridge networks that are not given as --opt.
	Options map[string]string `toml:"options"`
}

// Pool is a range of addresses, and the bits of the prefix of each subnet of it.
type Pool struct {
	Base netip.Prefix `toml:"base"`
	Size int          `toml:"size"`
}

// Image is the table [image]: how images are kept and which are accepted.
type Image struct {
	// RequireSignature refuses images that nobody is known to have signed.
	RequireSignature bool `toml:"require-signature"`
	// KeepStorage is how much the images may take on disk before what was used
	// longest ago goes; 0 means as much as there is.
	KeepStorage Size `toml:"keep-storage"`
	// Dedupe tells whether identical files of different layers are kept once.
	Dedupe Dedupe `toml:"dedupe"`
}

// Size is a number of bytes, written as a number or as in "20GB".
type Size uint64

// UnmarshalText reads a size as Docker's command line does: 1 kB has 1000
// bytes, 1 KiB has 1024.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := units.FromHumanSize(string(text))
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no size: write it as in \"20GB\"", text)
	}
	*s = Size(n)
	return nil
}

// Dedupe is how identical files are kept once; the zero value is not at all.
type Dedupe struct{ way string }

// Reflink tells that such files share their blocks, which few file systems can.
func (d Dedupe) Reflink() bool { return d.way == "reflink" }

// Hardlink tells that such files are one, so that a container sees a link count.
func (d Dedupe) Hardlink() bool { return d.way == "hardlink" }

// UnmarshalText accepts no, reflink and hardlink.
func (d *Dedupe) UnmarshalText(text []byte) error {
	switch way := string(text); way {
	case "no", "reflink", "hardlink":
		d.way = way
		return nil
	}
	return fmt.Errorf("%q is not \"no\", \"reflink\" or \"hardlink\"", text)
}

// Env names a file to be read in place of all others.
const Env = "LOPER_CONFIG"

// maxSize is how large a file may be, in bytes.
const maxSize = 1 << 20

// Files are the places that are looked at, the later ones winning.
func Files() []string {
	if path := os.Getenv(Env); path != "" {
		return []string{path}
	}
	files := []string{"/etc/loper/config.toml"}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if home, err := os.UserHomeDir(); !filepath.IsAbs(dir) && err == nil {
		dir = filepath.Join(home, ".config")
	}
	if filepath.IsAbs(dir) {
		files = append(files, filepath.Join(dir, "loper", "config.toml"))
	}
	return files
}

// Load reads the Files. One that is missing is no error, except where Env names
// it; a key that is not known is one, with the file and the line.
func Load() (Config, error) {
	var c Config
	for _, path := range Files() {
		err := c.read(path)
		if err != nil && !(errors.Is(err, os.ErrNotExist) && os.Getenv(Env) == "") {
			return Config{}, err
		}
	}
	return c, nil
}

// read takes over what stands in one file, and leaves the rest as it is.
func (c *Config) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if len(data) > maxSize {
		return fmt.Errorf("configuration: %s is larger than %d bytes", path, maxSize)
	}
	err = toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(c)
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(unknown.Errors) > 0 {
		first := &unknown.Errors[0]
		row, _ := first.Position()
		return fmt.Errorf("%s:%d: there is no key %q", path, row, dotted(first.Key()))
	}
	if wrong, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, _ := wrong.Position()
		return fmt.Errorf("%s:%d: %s%w", path, row, at(wrong.Key()), err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func at(key toml.Key) string {
	if len(key) == 0 {
		return ""
	}
	return dotted(key) + ": "
}

func dotted(key toml.Key) (name string) {
	for i, word := range key {
		if i > 0 {
			name += "."
		}
		name += word
	}
	return name
}
