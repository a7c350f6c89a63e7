package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// write makes the user's and only file, and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(Env, path)
	return path
}

func TestLoad(t *testing.T) {
	write(t, `
# a comment
[image]
require-signature = true
keep-storage = "20GB"
dedupe = "reflink"
[network]
pools = [{base = "10.89.0.0/16", size = 24}, {base = "192.0.2.0/24", size = 28}]
options = {mtu = "1400"}
`)
	c, err := Load()
	want := Config{
		Image: Image{RequireSignature: true, KeepStorage: 20e9, Dedupe: Dedupe{"reflink"}},
		Network: Network{
			Pools:   []Pool{{netip.MustParsePrefix("10.89.0.0/16"), 24}, {netip.MustParsePrefix("192.0.2.0/24"), 28}},
			Options: map[string]string{"mtu": "1400"},
		},
	}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("%+v, %v", c, err)
	}
	if !c.Image.Dedupe.Reflink() || c.Image.Dedupe.Hardlink() {
		t.Error("it is to be reflink")
	}
	write(t, "image.keep-storage = 1000")
	if c, err := Load(); err != nil || c.Image.KeepStorage != 1000 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"\n[image]\ndedup = \"reflink\"":            `:3: there is no key "image.dedup"`,
		"[images]\n":                                `:1: there is no key "images"`,
		"\n\n[image]\ndedupe = \"both\"":            `:4: image.dedupe: `,
		"[image]\nkeep-storage = \"much\"":          `:2: image.keep-storage: `,
		"[network]\npools = [{base = \"10\"}]":      `:2: `,
		"[image]\nkeep-storage = -5":                `:2: `,
		"[image]\nrequire-signature = \"yes\"":      `:2: `,
		"[image]\ndedupe = \"no\"\n]":               `:3: `,
		"[image]\ndedupe = \"no\"\ndedupe = \"no\"": `:3: `,
	} {
		path := write(t, text)
		if _, err := Load(); err == nil || !strings.HasPrefix(err.Error(), path+want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	path := write(t, strings.Repeat("#", maxSize+1))
	if _, err := Load(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a huge file: %v", err)
	}
}

func TestFiles(t *testing.T) {
	home := t.TempDir()
	t.Setenv(Env, "")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", home)
	if f := Files(); len(f) != 2 || f[0] != "/etc/loper/config.toml" || f[1] != filepath.Join(home, ".config/loper/config.toml") {
		t.Errorf("%q", f)
	}
	t.Setenv("XDG_CONFIG_HOME", "/x")
	if f := Files(); f[1] != "/x/loper/config.toml" {
		t.Errorf("%q", f)
	}
	if _, err := Load(); err != nil {
		t.Errorf("without files: %v", err)
	}
	t.Setenv(Env, filepath.Join(home, "missing"))
	if _, err := Load(); err == nil {
		t.Error("the file that was named is missing, and nobody says so")
	}
}

// TestLaterFilesWin checks that a file changes only what it names.
func TestLaterFilesWin(t *testing.T) {
	var c Config
	first := write(t, "[image]\nrequire-signature = true\nkeep-storage = \"1GB\"")
	second := write(t, "[image]\nkeep-storage = \"2GB\"")
	for _, path := range []string{first, second} {
		if err := c.read(path); err != nil {
			t.Fatal(err)
		}
	}
	if !c.Image.RequireSignature || c.Image.KeepStorage != 2e9 {
		t.Errorf("%+v", c)
	}
}
