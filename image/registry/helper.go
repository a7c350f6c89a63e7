package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// fromHelper asks docker-credential-NAME, which keeps secrets in a keyring.
func fromHelper(name, server string) (Credential, error) {
	out, found, err := runHelper(name, "get", server)
	if err != nil || !found {
		return Credential{}, err
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return Credential{}, fmt.Errorf("docker-credential-%s: decode its answer: %w", name, err)
	}
	if answer.Username == tokenUser {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

// tokenUser is the name by which helpers keep a token in place of a password.
const tokenUser = "<token>"

// toHelper gives a helper credentials to keep.
func toHelper(name, server string, cred Credential) error {
	entry := struct{ ServerURL, Username, Secret string }{server, cred.Username, cred.Password}
	if cred.IdentityToken != "" {
		entry.Username, entry.Secret = tokenUser, cred.IdentityToken
	}
	in, err := json.Marshal(entry)
	if err == nil {
		_, _, err = runHelper(name, "store", string(in))
	}
	return err
}

// eraseHelper makes a helper forget; it reports whether there was anything.
func eraseHelper(name, server string) (bool, error) {
	_, found, err := runHelper(name, "erase", server)
	return found, err
}

// runHelper starts a helper with one of its words. found is false when it says
// that it has no such credentials.
func runHelper(name, word, input string) (out []byte, found bool, err error) {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || name == "" {
		return nil, false, fmt.Errorf("%.60q is no name of a credential helper", name)
	}
	program, err := exec.LookPath("docker-credential-" + name)
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, word)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(stdout.String() + " " + stderr.String())
		if strings.Contains(text, "not found") {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("%s %s: %w: %.200s", filepath.Base(program), word, err, clean(text))
	}
	return stdout.Bytes(), true, nil
}
