package systemd

import (
	"math"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	for _, c := range []struct {
		path, id    string
		user        bool
		unit, slice string
	}{
		{"", "c1", false, "lope-c1.scope", "system.slice"},
		{"", "c1", true, "lope-c1.scope", "user.slice"},
		{"", "a+b", false, `lope-a\x2bb.scope`, "system.slice"},
		{"machine.slice:libpod:0123", "x", false, "libpod-0123.scope", "machine.slice"},
		{":docker:0123", "x", false, "docker-0123.scope", "system.slice"},
		{":docker:0123", "x", true, "docker-0123.scope", "user.slice"},
		{"kubepods-besteffort-pod1.slice:crio:c", "x", false, "crio-c.scope", "kubepods-besteffort-pod1.slice"},
		{"-.slice::c", "x", false, "c.scope", "-.slice"},
	} {
		got, err := ParsePath(c.path, c.id, c.user)
		if err != nil || got.Unit != c.unit || got.Slice != c.slice {
			t.Errorf("ParsePath(%q, %q, %v) = %+v, %v, want %s in %s", c.path, c.id, c.user, got, err, c.unit, c.slice)
		}
	}
	for _, path := range []string{"/a/b", "a:b", "a.slice:b:c:d", "a:b:c", "../a.slice:b:c", "a.slice:b:../../c", "a.slice:b:c/d", "a.slice:b:",
		"a--b.slice:x:y", "-a.slice:x:y", "a-.slice:x:y", ".slice:x:y", "a.slice:x:y.slice", "a.slice:x:y z", "a.slice:x:y\n", "a.slice::.",
		"a.slice:x:" + strings.Repeat("y", 300), "a/b.slice:x:y"} {
		if got, err := ParsePath(path, "id", false); err == nil {
			t.Errorf("ParsePath(%q) = %+v, want an error", path, got)
		}
	}
}

func TestExpandSlice(t *testing.T) {
	for slice, want := range map[string]string{
		"system.slice": "/system.slice", "-.slice": "/", "a-b.slice": "/a.slice/a-b.slice",
		"test-a-b.slice": "/test.slice/test-a.slice/test-a-b.slice",
	} {
		if got, err := ExpandSlice(slice); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", slice, got, err, want)
		}
	}
}

func TestFromAnnotations(t *testing.T) {
	got, err := FromAnnotations(map[string]string{
		"org.systemd.property.TimeoutStopUSec": "uint64 123456",
		"org.systemd.property.TimeoutStartSec": "1.5",
		"org.systemd.property.CollectMode":     "'inactive-or-failed'",
		"org.systemd.property.Before":          "['a.service', 'b.service']",
		"org.systemd.property.SendSIGHUP":      "true",
		"org.systemd.property.RuntimeMaxSec":   "uint64 18446744073709551615",
		"org.systemd.property.":                "1",
		"other":                                "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"TimeoutStopUSec": uint64(123456), "TimeoutStartUSec": uint64(1_500_000), "CollectMode": "inactive-or-failed",
		"SendSIGHUP": true, "RuntimeMaxUSec": uint64(math.MaxUint64)}
	for _, p := range got {
		if p.Name == "Before" {
			if p.Value.String() != `["a.service", "b.service"]` {
				t.Errorf("Before = %v", p.Value)
			}
			continue
		}
		if w, ok := want[p.Name]; !ok || w != p.Value.Value() {
			t.Errorf("%s = %v, want %v", p.Name, p.Value, w)
		}
		delete(want, p.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	for key, value := range map[string]string{
		"DeviceAllow": "[('/dev/sda', 'rw')]", "DevicePolicy": "'auto'", "PIDs": "[uint32 1]", "Slice": "'-.slice'", "Delegate": "false",
		"TimeoutStopSec": "'x'", "RuntimeMaxSec": "-1", "CollectMode": "'", "a/b": "1", "X": "1", "IOAccounting": "uint64 99999999999999999999",
	} {
		if got, err := FromAnnotations(map[string]string{"org.systemd.property." + key: value}); err == nil {
			t.Errorf("%s=%s: %v, want an error", key, value, got)
		}
	}
}

// The text comes from whoever wrote the annotations.
func FuzzFromAnnotations(f *testing.F) {
	f.Add("TimeoutStopSec", "uint64 5")
	f.Add("Before", "['a']")
	f.Add("Things", "[('/dev/sda', {'a': <1>})]")
	f.Fuzz(func(t *testing.T, name, value string) {
		got, err := FromAnnotations(map[string]string{"org.systemd.property." + name: value})
		if err == nil && name != "" && len(got) != 1 {
			t.Errorf("%d properties of one annotation", len(got))
		}
	})
}
