package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"loper.run/image/oci"
	"loper.run/image/trust"
)

// checked is a store with an image of two layers below an index, and where what
// of it lies.
type checked struct {
	*Store
	f      *fake
	img    *Image
	layers []testLayer
	index  oci.Descriptor
}

func newChecked(t *testing.T) *checked {
	f, s := newFake(t), open(t)
	c := &checked{Store: s, f: f, layers: []testLayer{gz(t, "a", "content of a"), zst(t, "b", "content of b")}}
	m := f.image(t, "", oci.Host(), c.layers...)
	platform := oci.Host()
	m.Platform = &platform
	c.index = f.manifest(t, "latest", oci.TypeIndex, object{"schemaVersion": 2, "mediaType": oci.TypeIndex, "manifests": []oci.Descriptor{m}})
	var err error
	if c.img, err = s.Pull(context.Background(), f.name(), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *checked) at(kind string, d oci.Digest, names ...string) string {
	return filepath.Join(append([]string{c.files.Root(), kind, "sha256", d.Hex()}, names...)...)
}

func (c *checked) packed(i int) oci.Digest { return oci.FromBytes(c.layers[i].packed) }

// problems runs a check and returns what it tells.
func (c *checked) problems(t *testing.T, o Check) (list []Problem) {
	t.Helper()
	o.Report = func(p Problem) { list = append(list, p) }
	if err := c.Check(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	return list
}

// keepTime changes a file and gives it its old time again, as a bad disk does.
func keepTime(path string, change func() error) error {
	st, err := os.Stat(path)
	if err == nil {
		err = change()
	}
	if err == nil {
		err = os.Chtimes(path, time.Time{}, st.ModTime())
	}
	return err
}

// TestCheckAndRepair damages one thing at a time, and wants it found by a check
// that is thorough enough, and by no other; and repaired by what was damaged
// only.
func TestCheckAndRepair(t *testing.T) {
	overwrite := func(path, body string) error { return os.WriteFile(path, []byte(body), 0o600) }
	for name, damage := range map[string]struct {
		do    func(c *checked) error
		depth Depth
		kinds []string
		what  string
		fetch func(c *checked) []string
	}{
		"configuration": {func(c *checked) error { return overwrite(c.at("blob", c.img.ID), "{}") }, Quick, []string{"blob"}, "damaged",
			func(c *checked) []string { return []string{"blobs/" + c.img.ID.String()} }},
		"no configuration": {func(c *checked) error { return os.Remove(c.at("blob", c.img.ID)) }, Quick, []string{"blob"}, "configuration is missing",
			func(c *checked) []string { return []string{"blobs/" + c.img.ID.String()} }},
		"manifest": {func(c *checked) error { return os.Truncate(c.at("blob", c.img.Manifest), 0) }, Quick, []string{"blob"}, "manifest is damaged",
			func(c *checked) []string { return []string{"manifests/" + c.img.Manifest.String()} }},
		"index": {func(c *checked) error { return os.Truncate(c.at("blob", c.index.Digest), 7) }, Quick, []string{"blob"}, "document is damaged",
			func(c *checked) []string { return []string{"manifests/" + c.index.Digest.String()} }},
		"packed layer cut": {func(c *checked) error { return os.Truncate(c.at("blob", c.packed(0)), 9) }, Quick, []string{"blob"}, "it has 9 bytes",
			func(c *checked) []string { return []string{"blobs/" + c.packed(0).String()} }},
		"packed layer": {func(c *checked) error {
			return overwrite(c.at("blob", c.packed(0)), strings.Repeat("x", len(c.layers[0].packed)))
		}, Quick, []string{"blob"}, "packed layer is damaged",
			func(c *checked) []string { return []string{"blobs/" + c.packed(0).String()} }},
		"record":       {func(c *checked) error { return os.Truncate(c.at("image", c.img.ID, "image.json"), 5) }, Quick, []string{"image"}, "damaged", nil},
		"record empty": {func(c *checked) error { return os.Truncate(c.at("image", c.img.ID, "image.json"), 0) }, Quick, []string{"image"}, "damaged", nil},
		"record and configuration": {func(c *checked) error {
			return errors.Join(os.Truncate(c.at("image", c.img.ID, "image.json"), 5), os.Remove(c.at("blob", c.img.ID)))
		}, Quick, []string{"image"}, "damaged", func(c *checked) []string { return []string{"blobs/" + c.img.ID.String()} }},
		"no record": {func(c *checked) error { return os.RemoveAll(c.at("image", c.img.ID)) }, Quick, []string{"name", "name"}, "is of an image that is missing", nil},
		"name": {func(c *checked) error {
			files, _ := filepath.Glob(filepath.Join(c.files.Root(), "name", "*latest"))
			return os.Truncate(files[0], 3)
		}, Quick, []string{"name"}, "damaged", func(c *checked) []string { return []string{"manifests/latest"} }},
		"no layer":         {func(c *checked) error { return os.RemoveAll(c.at("layer", c.img.DiffIDs[0])) }, Quick, []string{"layer"}, "missing", nil},
		"half a layer":     {func(c *checked) error { return os.RemoveAll(c.img.Layers[1]) }, Quick, []string{"layer"}, "missing", nil},
		"empty file":       {func(c *checked) error { return os.Truncate(c.img.Layers[0]+"/a", 0) }, Usual, []string{"layer"}, `"a" size 0, recorded 12`, nil},
		"added file":       {func(c *checked) error { return overwrite(c.img.Layers[0]+"/x", "") }, Usual, []string{"layer"}, `"x" not recorded`, nil},
		"lost file":        {func(c *checked) error { return os.Remove(c.img.Layers[0] + "/a") }, Usual, []string{"layer"}, `"a" missing`, nil},
		"mode":             {func(c *checked) error { return os.Chmod(c.img.Layers[1]+"/b", 0o4755) }, Usual, []string{"layer"}, `"b" mode`, nil},
		"no tree's record": {func(c *checked) error { return os.Remove(c.at("layer", c.img.DiffIDs[0], "tree.gz")) }, Usual, []string{"layer"}, "it is gone", nil},
		"tree's record":    {func(c *checked) error { return os.Truncate(c.at("layer", c.img.DiffIDs[0], "tree.gz"), 20) }, Usual, []string{"layer"}, "not known", nil},
		"rotten file": {func(c *checked) error {
			path := c.img.Layers[1] + "/b"
			return keepTime(path, func() error { return overwrite(path, "CONTENT of b") })
		}, Deep, []string{"layer"}, `"b" contents differ`, nil},
		"layer and its blob": {func(c *checked) error {
			return errors.Join(os.Remove(c.at("blob", c.packed(0))), os.Remove(c.img.Layers[0]+"/a"))
		}, Usual, []string{"layer"}, "missing", func(c *checked) []string { return []string{"blobs/" + c.packed(0).String()} }},
		"everything": {func(c *checked) error {
			return errors.Join(os.Truncate(c.at("blob", c.img.ID), 1), os.Truncate(c.at("blob", c.img.Manifest), 1), os.Truncate(c.at("blob", c.packed(1)), 1), os.Remove(c.img.Layers[1]+"/b"))
		}, Quick, nil, "", func(c *checked) []string {
			return []string{"blobs/" + c.img.ID.String(), "manifests/" + c.img.Manifest.String(), "blobs/" + c.packed(1).String()}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChecked(t)
			if list := c.problems(t, Check{Depth: Deep}); len(list) > 0 {
				t.Fatalf("of a whole store: %+v", list)
			}
			if err := damage.do(c); err != nil {
				t.Fatal(err)
			}
			for depth := Quick; depth <= Deep; depth++ {
				list := c.problems(t, Check{Depth: depth, Age: time.Hour})
				if depth < damage.depth {
					if len(list) > 0 {
						t.Errorf("depth %d finds %+v", depth, list)
					}
					continue
				}
				var kinds, texts []string
				for _, p := range list {
					kinds, texts = append(kinds, p.Kind), append(texts, p.What)
					if p.Harmless || p.Repaired {
						t.Errorf("%+v", p)
					}
				}
				if damage.kinds == nil && len(list) > 2 {
					continue
				}
				if !slices.Equal(kinds, damage.kinds) || !strings.Contains(strings.Join(texts, "\n"), damage.what) {
					t.Errorf("depth %d: %+v, want %v with %q", depth, list, damage.kinds, damage.what)
				}
			}
			clear(c.f.hits)
			for _, p := range c.problems(t, Check{Depth: max(damage.depth, Usual), Repair: true}) {
				if !p.Repaired {
					t.Errorf("not repaired: %+v", p)
				}
			}
			var fetched, want []string
			for path := range c.f.hits {
				if path != "/v2/" && !strings.HasPrefix(path, "manifests/sha256-") && !strings.HasPrefix(path, "referrers/") { // where signatures may be
					fetched = append(fetched, path)
				}
			}
			if damage.fetch != nil {
				want = damage.fetch(c)
			}
			sort.Strings(fetched)
			sort.Strings(want)
			if !slices.Equal(fetched, want) {
				t.Errorf("fetched %q, want %q", fetched, want)
			}
			if list := c.problems(t, Check{Depth: Deep}); len(list) > 0 {
				t.Errorf("after the repair: %+v", list)
			}
			img, err := c.Resolve(c.f.name())
			if err != nil || read(t, img, "a") != "content of a" || read(t, img, "b") != "content of b" {
				t.Errorf("after the repair: %+v, %v", img, err)
			}
		})
	}
}

// TestRepairLeavesRunningContainersAlone checks that a layer in use stays.
func TestRepairLeavesRunningContainersAlone(t *testing.T) {
	c := newChecked(t)
	if err := os.Truncate(c.img.Layers[0]+"/a", 0); err != nil {
		t.Fatal(err)
	}
	var asked []string
	released := 0
	hold := func(dirs []string) (func(), []string, error) {
		asked = dirs
		return func() { released++ }, []string{"runner"}, nil
	}
	list := c.problems(t, Check{Repair: true, Hold: hold})
	if len(list) != 1 || list[0].Repaired || !strings.Contains(list[0].Repair, "stop runner first") || !slices.Equal(asked, c.img.Layers[:1]) || released != 1 {
		t.Errorf("%+v, asked for %q, released %d times", list, asked, released)
	}
}

// TestRepairWithoutRegistry repairs what can be from what is there, and says of
// the rest what to do.
func TestRepairWithoutRegistry(t *testing.T) {
	c := newChecked(t)
	c.f.Close()
	if err := errors.Join(os.Truncate(c.img.Layers[0]+"/a", 0), os.Truncate(c.at("blob", c.index.Digest), 0)); err != nil {
		t.Fatal(err)
	}
	list := c.problems(t, Check{Repair: true})
	if len(list) != 2 || list[0].Repaired || list[0].Repair == "" || !list[1].Repaired {
		t.Errorf("%+v", list)
	}
}

// TestCheckTellsLeftovers finds what a killed command left, and what nobody
// needs, and removes both.
func TestCheckTellsLeftovers(t *testing.T) {
	c := newChecked(t)
	loose := []byte("nobody's")
	if err := c.files.PutBlob(oci.FromBytes(loose), loose); err != nil {
		t.Fatal(err)
	}
	if list := c.problems(t, Check{Age: time.Hour}); len(list) != 0 {
		t.Errorf("young: %+v", list)
	}
	want := "blob/sha256/" + oci.FromBytes(loose).Hex()
	list := c.problems(t, Check{Repair: true})
	if fmt.Sprint(len(list)) != "1" || list[0].Name != want || !list[0].Harmless || !list[0].Repaired {
		t.Errorf("%+v", list)
	}
	if list := c.problems(t, Check{}); len(list) != 0 {
		t.Errorf("after the repair: %+v", list)
	}
}

// What was decided about signatures is needed to run an image: a check finds
// that it can't be read, and a repair asks again.
func TestCheckFindsADamagedVerdict(t *testing.T) {
	c := newChecked(t)
	path := c.at("image", c.img.ID, "verdicts.json")
	for _, content := range []string{"", "{", "[] more"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		err := c.Allow(t.Context(), c.img, trust.Options{})
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("%q: a run says %v", content, err)
		}
		if found := c.problems(t, Check{}); len(found) != 1 || found[0].Repaired || !strings.HasPrefix(found[0].What, "verdict about its signatures is damaged") {
			t.Fatalf("%q: a check tells %+v", content, found)
		}
		if found := c.problems(t, Check{Repair: true}); len(found) != 1 || !found[0].Repaired {
			t.Fatalf("%q: a repair tells %+v", content, found)
		}
		if found := c.problems(t, Check{}); len(found) != 0 {
			t.Fatalf("%q: after the repair there is %+v", content, found)
		}
		if err := c.Allow(t.Context(), c.img, trust.Options{}); err != nil {
			t.Fatalf("%q: after the repair: %v", content, err)
		}
	}
}
