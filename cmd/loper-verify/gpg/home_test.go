package gpg

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// home is a directory of gpg's own, with keys and the agent that gpg starts.
type home struct {
	t   *testing.T
	dir string
}

func newHome(t *testing.T) *home {
	t.Helper()
	for _, program := range []string{"gpg", "gpgv", "gpgconf"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs the program %s", program)
		}
	}
	dir, err := os.MkdirTemp("", "gpg") // short: the agent's socket is in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("gpgconf", "--homedir", dir, "--kill", "all").CombinedOutput(); err != nil {
			t.Errorf("gpgconf --kill all: %v: %s", err, out)
		}
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // the agent removes its sockets too
			os.RemoveAll(dir)
		}
	})
	return &home{t, dir}
}

// gpg runs gpg, and returns what it writes to stdout.
func (h *home) gpg(stdin []byte, args ...string) []byte {
	h.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", h.dir, "--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always", "--yes"}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("gpg %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out
}

// generate makes a key, good for ever unless it says otherwise, and returns its fingerprint.
func (h *home) generate(name, algorithm, usage, expires string, options ...string) string {
	h.t.Helper()
	h.gpg(nil, append(options, "--quick-generate-key", name, algorithm, usage, expires)...)
	return h.fingerprint(name)
}

func (h *home) fingerprint(name string) string {
	h.t.Helper()
	for line := range strings.Lines(string(h.gpg(nil, "--with-colons", "--list-keys", "="+name))) {
		if rest, ok := strings.CutPrefix(line, "fpr:"); ok {
			return strings.Trim(rest, ":\n")
		}
	}
	h.t.Fatalf("gpg has no key of %s", name)
	return ""
}

func (h *home) export(names ...string) []byte {
	h.t.Helper()
	return h.gpg(nil, append([]string{"--export"}, names...)...)
}

func (h *home) sign(name string, text []byte, options ...string) []byte {
	h.t.Helper()
	return h.gpg(text, append(options, "--local-user", name, "--output", "-", "--sign")...)
}

// gpgTakes says whether gpg takes the message as one good signature by a good key of the keyring, as gpgme's users do.
func gpgTakes(t *testing.T, keyring, message []byte) bool {
	t.Helper()
	h := newHome(t)
	h.gpg(keyring, "--import")
	file := filepath.Join(h.dir, "message")
	if err := os.WriteFile(file, message, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("gpg", "--homedir", h.dir, "--batch", "--no-tty", "--trust-model", "always", "--status-fd", "1", "--output", filepath.Join(h.dir, "text"), "--decrypt", file).Output()
	status := string(out)
	return err == nil && strings.Count(status, "[GNUPG:] GOODSIG ") == 1 && strings.Count(status, "[GNUPG:] NEWSIG") == 1
}
