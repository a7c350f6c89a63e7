package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A layer that lost a file is found, is left alone while a container runs on it, and is repaired from its packed blob.
func TestSystemCheck(t *testing.T) {
	everyone(t, func(t *testing.T, e *engine) {
		base, _ := e.populate()
		for _, how := range []string{"--quick", "--deep", "--max=1h"} {
			if out := e.must("system", "check", how); strings.Contains(out, "damaged") || strings.Contains(out, "layer ") {
				t.Errorf("of a whole store: %s", out)
			}
		}
		found, _ := filepath.Glob(filepath.Join(e.root, "image/layer/sha256/*/diff/etc/passwd"))
		if len(found) != 1 {
			t.Fatalf("%q", found)
		}
		if err := os.Truncate(found[0], 0); err != nil {
			t.Fatal(err)
		}
		if out := e.must("system", "check", "--quick"); strings.Contains(out, "layer ") {
			t.Error(out)
		}
		r := e.run("system", "check")
		if r.code != 1 || !strings.Contains(r.stdout, `"etc/passwd" size 0, recorded `) || !strings.Contains(r.stdout, base) || !strings.Contains(r.stdout, "containers made of it: ") || !strings.Contains(r.stderr, "damage detected") {
			t.Errorf("%v", r)
		}
		r = e.run("system", "check", "--repair", "--format", "json")
		var report struct {
			Damage   int
			Problems []struct{ Kind, Repair string }
		}
		if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 1 || report.Damage != 1 {
			t.Fatalf("%v: %v", err, r)
		}
		for _, p := range report.Problems {
			if p.Kind == "layer" && !strings.Contains(p.Repair, "stop up first") {
				t.Errorf("%+v", p)
			}
		}
		expect(t, "the container that runs", e.must("exec", "up", "echo", "alive"), "alive")
		e.must("rm", "-f", "up")
		if out := e.must("system", "check", "--repair"); !strings.Contains(out, "repaired: unpacked again: its packed blob") {
			t.Error(out)
		}
		expect(t, "after the repair", e.must("system", "check", "--deep"), "")
		expect(t, "a container of it", e.must("run", "--rm", base, "head", "-c", "4", "/etc/passwd"), "root")
		e.mustFail(1, []string{"exclude each other"}, "system", "check", "--quick", "--deep")
	})
}
