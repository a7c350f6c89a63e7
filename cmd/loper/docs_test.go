package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

//go:generate go test -run TestDocs . -update

// TestDocs compares the manual pages and completion scripts below docs with
// what the commands say now; with -update it writes them. The generator lives
// in a test so that its libraries are linked into no program.
func TestDocs(t *testing.T) {
	const docs = "../../docs"
	want := map[string][]byte{}
	root := wholeCommand()
	manual(t, root, want)
	for shell, generate := range map[string]func(*bytes.Buffer) error{
		"bash": func(b *bytes.Buffer) error { return root.GenBashCompletionV2(b, true) },
		"zsh":  func(b *bytes.Buffer) error { return root.GenZshCompletion(b) },
		"fish": func(b *bytes.Buffer) error { return root.GenFishCompletion(b, true) },
	} {
		var b bytes.Buffer
		if err := generate(&b); err != nil {
			t.Fatal(err)
		}
		want[filepath.Join("completion", "loper."+shell)] = b.Bytes()
	}
	if *update {
		write(t, docs, want)
	}
	for name, text := range want {
		have, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Errorf("%v: run go generate ./cmd/loper", err)
		} else if !bytes.Equal(have, text) {
			t.Errorf("%s is not what the commands say: run go generate ./cmd/loper", name)
		}
	}
	for _, dir := range []string{"man", "completion"} {
		entries, _ := os.ReadDir(filepath.Join(docs, dir))
		for _, e := range entries {
			if name := filepath.Join(dir, e.Name()); strings.HasPrefix(e.Name(), "loper") && want[name] == nil {
				t.Errorf("docs/%s is of no command: remove it", name)
			}
		}
	}
}

// wholeCommand is the program with all its commands.
func wholeCommand() *cobra.Command {
	c := &cli{}
	root := c.command(nil)
	root.DisableAutoGenTag = true
	return root
}

// manual puts a manual page of each command into pages.
func manual(t *testing.T, root *cobra.Command, pages map[string][]byte) {
	dir := t.TempDir()
	date := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	header := &doc.GenManHeader{Title: "LOPER", Section: "1", Source: "Loper", Manual: "Loper's commands", Date: &date}
	if err := doc.GenManTree(root, header, dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		pages[filepath.Join("man", e.Name())] = text
	}
}

func write(t *testing.T, docs string, files map[string][]byte) {
	for name, text := range files {
		path := filepath.Join(docs, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
