package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The standard error of create is the container's: with a log, nothing but the container's words is written there.
func TestWarningsAreNotTheContainersWords(t *testing.T) {
	b := newBox(t)
	b.spec.Process.Capabilities.Bounding = append(b.spec.Process.Capabilities.Bounding, "CAP_OF_TOMORROW")
	b.program("sh", "-c", "echo word >&2")
	const text = `unknown capability "CAP_OF_TOMORROW" is left out`
	if r := b.lope("run", "c"); r.code != 0 || !strings.Contains(r.err, "lope: warning: ") || !strings.Contains(r.err, text) {
		t.Errorf("without a log: %+v", r)
	}
	log := filepath.Join(t.TempDir(), "log")
	if r := b.lope("--log", log, "--log-format", "json", "run", "c"); r.code != 0 || r.err != "word\n" {
		t.Errorf("with a log: %+v", r)
	}
	data, err := os.ReadFile(log)
	b.must(err)
	if !strings.Contains(string(data), `"level":"warning"`) || !strings.Contains(string(data), "CAP_OF_TOMORROW") {
		t.Errorf("the log holds %s", data)
	}
}
