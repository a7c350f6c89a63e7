package trust

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
)

// script is a loper-verify of a test's own.
func script(t *testing.T, text string) Verifier {
	t.Helper()
	env.Need(t, "sh")
	path := filepath.Join(t.TempDir(), "loper-verify")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return Verifier{Program: path}
}

// The program has no network, no environment and no rights.
func TestVerifierIsConfined(t *testing.T) {
	t.Setenv("LOPER_TEST_SECRET", "secret")
	outside, err := os.ReadFile("/proc/net/dev")
	if err != nil || strings.Count(string(outside), ":") < 1 {
		t.Skip("needs /proc/net/dev")
	}
	v := script(t, `
PATH=/usr/bin:/bin
up=$(ls /sys/class/net 2>/dev/null >/dev/null; cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' | tr '\n' ' ')
ns=$(readlink /proc/self/ns/user /proc/self/ns/net | tr '\n' ' ')
caps=$(grep CapEff /proc/self/status | cut -f2)
printf '{"ok":true,"fingerprint":"%s","signer":"%s|%s|%s|%s|%s"}' "$(id -u)" "$up" "$ns" "$caps" "$(env | cut -d= -f1 | sort | tr '\n' ' ')" "$(cat >/dev/null)"
`)
	a, err := v.ask(t.Context(), question{})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(a.Signer, "|")
	if a.Fingerprint != "65534" {
		t.Errorf("it runs as %s", a.Fingerprint)
	}
	if n := strings.TrimSpace(parts[0]); n != "lo" {
		t.Errorf("it has the network %q", n)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil || strings.Contains(parts[1], own) {
		t.Errorf("it is in our network namespace: %s, %v", parts[1], err)
	}
	if own, err = os.Readlink("/proc/self/ns/user"); err != nil || strings.Contains(parts[1], own) {
		t.Errorf("it is in our user namespace: %s, %v", parts[1], err)
	}
	if strings.Trim(parts[2], "0") != "" {
		t.Errorf("it has the capabilities %s", parts[2])
	}
	if strings.Contains(parts[3], "LOPER_TEST_SECRET") || strings.Contains(parts[3], "HOME") {
		t.Errorf("it has the environment %q", parts[3])
	}
}

// What the program says is bounded and believed only when it is an answer.
func TestVerifierAnswers(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"no":        {`printf '%s' '{"ok":false,"error":"the signature is bad\nand more"}'`, "the signature is bad and more"},
		"nothing":   {`exit 0`, "its answer"},
		"failure":   {`echo broken >&2; exit 3`, "broken"},
		"garbage":   {`echo hello`, "its answer"},
		"endless":   {`yes '{"ok":true,'`, "larger than"},
		"false":     {`echo '{"OK":false}'`, ""},
		"not there": {"", "loper-verify"},
	} {
		t.Run(name, func(t *testing.T) {
			v := script(t, c.script)
			if name == "not there" {
				v.Program += "-not"
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if a, err := v.ask(ctx, question{Kind: "gpg"}); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	v := script(t, "sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := v.ask(ctx, question{}); err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("one that hangs: %v after %v", err, time.Since(begin))
	}
}
