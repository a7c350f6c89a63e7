package gpg

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Keyrings of distributions are read as gpg reads them.
func TestKeyrings(t *testing.T) {
	files, _ := filepath.Glob("/usr/share/keyrings/*.gpg")
	if len(files) == 0 {
		t.Skip("needs keyrings in /usr/share/keyrings")
	}
	h := newHome(t)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		primary := false
		for line := range strings.Lines(string(h.gpg(data, "--trust-model", "pgp", "--with-colons", "--show-keys"))) {
			switch fields := strings.Split(line, ":"); fields[0] {
			case "pub":
				primary = true
			case "fpr":
				if primary {
					want = append(want, fields[9])
				}
				primary = false
			}
		}
		keys, err := readKeys([][]byte{data})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var got []string
		for _, k := range keys {
			got = append(got, fingerprint(k.PrimaryKey))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d keys, %s; gpg has %d, %s", file, len(got), got, len(want), want)
		}
	}
}

// A subkey that was revoked signs no more, also not what it signed before; the key's others do.
func TestRevokedSubkey(t *testing.T) {
	h := newHome(t)
	key := h.generate("Susi <susi@example.com>", "ed25519", "cert", "never")
	h.gpg(nil, "--quick-add-key", key, "ed25519", "sign", "never")
	before := h.sign(key, text)
	if _, err := Verify([][]byte{h.export(key)}, before, time.Now()); err != nil {
		t.Fatal(err)
	}
	h.gpg([]byte("key 1\nrevkey\ny\n1\nstolen\n\ny\nsave\n"), "--command-fd", "0", "--status-fd", "2", "--no-batch", "--edit-key", key)
	h.gpg(nil, "--quick-add-key", key, "ed25519", "sign", "never")
	all := h.export(key)
	_, err := Verify([][]byte{all}, before, time.Now())
	if err == nil || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("signed by the subkey that is revoked: %v", err)
	}
	if gpgTakes(t, all, before) {
		t.Error("gpg takes it")
	}
	after := h.sign(key, text)
	signed, err := Verify([][]byte{all}, after, time.Now())
	if err != nil || signed.Fingerprint != key || !bytes.Equal(signed.Payload, text) {
		t.Errorf("by the new subkey: %v", err)
	}
}
