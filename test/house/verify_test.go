package house_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"loper.run/test/env"
)

// verify is the program that is a module of its own.
const verify = "cmd/loper-verify"

// directOfVerify are the modules that loper-verify depends on itself, and why each is there.
var directOfVerify = map[string]string{
	"loper.run":                          "how a program gives up its rights, and what the tests stand on",
	"github.com/ProtonMail/go-crypto":    "OpenPGP: the standard library has none",
	"github.com/sigstore/sigstore-go":    "keyless signatures, checked by sigstore's own library",
	"github.com/sigstore/protobuf-specs": "the types of its bundles",
	"golang.org/x/sys":                   "system calls",

	// For the tests alone.
	"github.com/google/certificate-transparency-go": "a certificate log of the tests' own",
	"github.com/sigstore/sigstore":                  "keys for sigstore's library",
	"google.golang.org/protobuf":                    "bundles written as JSON",
}

func TestVerifyDependencies(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(env.Source(), verify, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	checkDirect(t, string(data), directOfVerify)
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "replace") && strings.TrimSpace(line) != "replace loper.run => ../.." {
			t.Errorf("%s/go.mod: %s", verify, line)
		}
	}
	checkTidy(t, filepath.Join(env.Source(), verify))
}

// What only loper-verify needs stays out of the other programs, and out of their module.
func TestVerifyStandsAlone(t *testing.T) {
	for line := range strings.Lines(goMod(t)) {
		if strings.Contains(line, "sigstore") || strings.Contains(line, "go-crypto") || strings.Contains(line, module+"/"+verify) {
			t.Errorf("go.mod: %s", line)
		}
	}
	for _, s := range allSources(t) {
		own, _ := imports(s)
		for _, path := range own {
			if within(path, verify) && !within(s.Dir, verify) {
				t.Errorf("%s imports %s", s.Path, path)
			}
			// The other way round it may use small things alone.
			if within(s.Dir, verify) && !within(path, verify, "internal") && !(within(path, "test/env") && s.Test) {
				t.Errorf("%s imports %s", s.Path, path)
			}
		}
	}
}

func TestVerifySize(t *testing.T) {
	dir := t.TempDir()
	if err := env.BuildVerify(dir); err != nil {
		t.Fatal(err)
	}
	checkProgram(t, filepath.Join(dir, "loper-verify"), 22<<20)
}
