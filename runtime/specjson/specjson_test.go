package specjson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"loper.run/test/env"
)

// full is a config.json in which nothing is missing.
func full(t testing.TB) *specs.Spec {
	t.Helper()
	var c config
	env.Fill(&c)
	return &specs.Spec{
		Version: c.Version, Process: c.Process, Root: c.Root, Hostname: c.Hostname, Domainname: c.Domainname,
		Mounts: c.Mounts, Hooks: c.Hooks, Annotations: c.Annotations, Linux: c.Linux,
	}
}

func TestEveryFieldGoesBothWays(t *testing.T) {
	want := full(t)
	standard, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(standard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	ours, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var again specs.Spec
	if err := json.Unmarshal(ours, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &again); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
}

// The fields of the specification that config leaves out are those of other
// systems, and no new ones.
func TestLeavesOutOtherSystems(t *testing.T) {
	have := reflect.TypeFor[config]()
	var missing []string
	for f := range reflect.TypeFor[specs.Spec]().Fields() {
		if _, ok := have.FieldByName(f.Name); !ok {
			missing = append(missing, f.Name)
		}
	}
	if diff := cmp.Diff([]string{"Solaris", "Windows", "VM", "ZOS", "FreeBSD"}, missing); diff != "" {
		t.Error(diff)
	}
}

// What encoding/json reads, we read the same; we never panic.
func FuzzDecode(f *testing.F) {
	data, err := json.Marshal(full(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"ociVersion":"1.0","process":{"user":{"uid":1}},"linux":null,"windows":{"x":[1]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Decode(data)
		var want specs.Spec
		if err != nil || json.Unmarshal(data, &want) != nil {
			return
		}
		want.Solaris, want.Windows, want.VM, want.ZOS, want.FreeBSD = nil, nil, nil, nil, nil
		a, _ := json.Marshal(&want)
		b, _ := json.Marshal(got)
		if !bytes.Equal(a, b) && !odd(data) {
			t.Errorf("encoding/json read %s, we %s", a, b)
		}
	})
}

// odd tells of two liberties of encoding/json: it takes keys in any case, and
// merges a key that comes twice into what the first one left.
func odd(data []byte) bool {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return true
	}
	again, _ := json.Marshal(v)
	var compact bytes.Buffer
	json.Compact(&compact, data)
	return len(again) != compact.Len() || !bytes.Equal(bytes.ToLower(again), again) && bytes.Contains(data, []byte(`"`))
}

func BenchmarkDecode(b *testing.B) {
	data, err := json.Marshal(full(b))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
