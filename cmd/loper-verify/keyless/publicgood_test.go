package keyless

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/bundle"
)

// A real attestation (of the npm package sigstore 2.0.0) by the real root: certificate logs, the log's proof, a workflow
// as signer.
func TestPublicGood(t *testing.T) {
	root := Root{TrustedRoot: ofLibrary(t, "trusted-roots/public-good.json")}
	text := ofLibrary(t, "bundles/sigstore.js@2.0.0-provenance.sigstore.json")
	real := new(bundle.Bundle)
	if err := real.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	var statement struct {
		Subject []struct{ Digest map[string]string }
	}
	if err := json.Unmarshal(real.GetDsseEnvelope().GetPayload(), &statement); err != nil || len(statement.Subject) != 1 {
		t.Fatal(err)
	}
	of := "sha512:" + statement.Subject[0].Digest["sha512"]
	s := Signature{Bundle: text}
	workflow := "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
	want := Identity{Issuer: "https://token.actions.githubusercontent.com", SAN: workflow, SANRegexp: `https://github\.com/sigstore/sigstore-js/.*`}
	got, err := Verify(root, s, of, want)
	if err != nil {
		t.Fatal(err)
	}
	if got.SAN != workflow || got.PredicateType != "https://slsa.dev/provenance/v1" || got.Time.Year() != 2023 {
		t.Errorf("%s signed %s at %s", got.SAN, got.PredicateType, got.Time)
	}
	refused(t, "another repository's workflow", root, s, of, Identity{SANRegexp: `https://github\.com/sigstore/sigstore/.*`}, "which is not like")
	refused(t, "another package", root, s, "sha512:"+strings.Repeat("00", 64), want, "does not match")
	refused(t, "the same bytes as another digest", root, s, "sha256:"+hex.EncodeToString(make([]byte, 32)), want, "")
	refused(t, "a deployment of the tests", newWorld(t).root(t, logAndCT), s, of, want, "not enough verified log entries")
}

// ofLibrary is a file that comes with sigstore's library for its own tests.
func ofLibrary(t *testing.T, name string) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		t.Skipf("needs the go command: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "pkg/testing/data", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
