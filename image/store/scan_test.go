package store

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"loper.run/image/oci"
)

// TestScanKnowsEveryField fails when a field is added that only the slow way
// can read, unless it is one that few records have.
func TestScanKnowsEveryField(t *testing.T) {
	d := []oci.Digest{digest("a"), digest("b")}
	img := Image{ID: d[0], Manifest: d[1], Blobs: d, Layers: d, Packed: d, Digests: []string{"x@y", "z"}, Kept: true, Signer: "somebody", Size: 12, Created: time.Unix(5, 6).UTC(), PulledAt: time.Unix(7, 8).UTC(),
		Platform: oci.Platform{Architecture: "arm64", OS: "linux", Variant: "v8"}}
	name := Name{Name: "a/b:c", Image: d[0], Others: d, Manifest: d[1]}
	for _, v := range []any{img, name} {
		value := reflect.ValueOf(v)
		for i := range value.NumField() {
			field := value.Type().Field(i).Name
			if rare := map[string]bool{"List": true, "Blobs": true, "Sources": true}[field] && value.Type() == reflect.TypeFor[Name](); value.Field(i).IsZero() != rare {
				t.Errorf("%T: is the field %s rare enough for encoding/json?", v, field)
			}
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		s := scanner{text: append(data, '\n')}
		var got any
		if _, ok := v.(Image); ok {
			var x Image
			s.image(&x)
			got = x
		} else {
			var x Name
			s.name(&x)
			got = x
		}
		if !s.done() || !reflect.DeepEqual(got, v) {
			t.Errorf("%s\nis read as %+v", data, got)
		}
	}
}

// FuzzScan compares with encoding/json.
func FuzzScan(f *testing.F) {
	for _, v := range []any{Image{ID: digest("x"), Digests: []string{"a"}, Size: 5}, Name{Name: "a", Image: digest("x"), Others: []oci.Digest{digest("y")}}} {
		data, _ := json.Marshal(v)
		f.Add(data)
	}
	f.Add([]byte(`{"size":01,"created":"2020-01-01T00:00:00Z","platform":{"os":"linux"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var fast, slow Image
		if s := (scanner{text: data}); func() bool { s.image(&fast); return s.done() }() {
			if err := json.Unmarshal(data, &slow); err != nil || !reflect.DeepEqual(fast, slow) {
				t.Errorf("%q: %+v, encoding/json says %+v, %v", data, fast, slow, err)
			}
		}
		var n, m Name
		if s := (scanner{text: data}); func() bool { s.name(&n); return s.done() }() {
			if err := json.Unmarshal(data, &m); err != nil || !reflect.DeepEqual(n, m) {
				t.Errorf("%q: %+v, encoding/json says %+v, %v", data, n, m, err)
			}
		}
	})
}
