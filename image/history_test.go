package image

import (
	"errors"
	"testing"

	"loper.run/image/oci"
	"loper.run/image/store"
)

// History and layers need not agree: what nobody accounts for is shown all the same.
func TestSteps(t *testing.T) {
	s := open(t)
	for _, c := range []struct {
		name    string
		layers  int
		history []oci.History
		want    []string // CreatedBy of each step, * with a layer, the newest first
	}{
		{"each step a layer", 2, []oci.History{{CreatedBy: "a"}, {CreatedBy: "b"}}, []string{"b*", "a*"}},
		{"a step without", 1, []oci.History{{CreatedBy: "a"}, {CreatedBy: "env", EmptyLayer: true}}, []string{"env", "a*"}},
		{"no history", 2, nil, []string{"*", "*"}},
		{"too much of it", 1, []oci.History{{CreatedBy: "a"}, {CreatedBy: "b"}}, []string{"b", "a*"}},
	} {
		img := &Image{History: c.history}
		for i := range c.layers {
			d := oci.FromBytes([]byte{byte(i)})
			img.DiffIDs = append(img.DiffIDs, d)
			staging, err := s.files.BeginLayer(t.Context(), d)
			if errors.Is(err, store.ErrPresent) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := staging.Commit(100, 1); err != nil {
				t.Fatal(err)
			}
		}
		steps, err := s.Steps(img)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, step := range steps {
			text := step.CreatedBy
			if !step.Layer.IsZero() {
				text += "*"
				if step.Size != 100 {
					t.Errorf("%s: size %d", c.name, step.Size)
				}
			}
			got = append(got, text)
		}
		if len(got) != len(c.want) {
			t.Fatalf("%s: %q, want %q", c.name, got, c.want)
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
	}
}
