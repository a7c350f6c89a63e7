package container_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mailru/easyjson/jlexer"
	"github.com/mailru/easyjson/jwriter"

	"loper.run/container"
	"loper.run/container/monitor"
	"loper.run/internal/quickjson"
	"loper.run/network"
	"loper.run/test/env"
)

// known are all types that have generated code, but config.json's.
var known = []value{new(container.Record), new(monitor.Config), new(network.Network), new(network.Sandbox), new(network.Member)}

type value interface {
	MarshalEasyJSON(*jwriter.Writer)
	UnmarshalEasyJSON(*jlexer.Lexer)
}

// What the generated code writes encoding/json reads, and the other way round: no field is missed that was added since.
func TestGeneratedCode(t *testing.T) {
	unexported := cmpopts.IgnoreUnexported(monitor.Config{})
	plain := cmp.Comparer(func(a, b interface{ MarshalText() ([]byte, error) }) bool { return reflect.DeepEqual(a, b) })
	for _, zero := range known {
		kind := reflect.TypeOf(zero).Elem()
		t.Run(kind.String(), func(t *testing.T) {
			for name, prepare := range map[string]func(any){"full": env.Fill, "empty": func(any) {}} {
				want, again, got := reflect.New(kind).Interface(), reflect.New(kind).Interface(), reflect.New(kind).Interface().(value)
				prepare(want)
				data, err := quickjson.Encode(want.(value))
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(data, again); err != nil {
					t.Fatalf("%s: %v: %s", name, err, data)
				}
				if diff := cmp.Diff(want, again, unexported, plain); diff != "" {
					t.Errorf("%s, written (-want +got):\n%s", name, diff)
				}
				if data, err = json.Marshal(want); err != nil {
					t.Fatal(err)
				}
				if err := quickjson.Decode(data, got); err != nil {
					t.Fatalf("%s: %v: %s", name, err, data)
				}
				if diff := cmp.Diff(want, any(got), unexported, plain); diff != "" {
					t.Errorf("%s, read (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestGeneratedCodeRefuses(t *testing.T) {
	for _, text := range []string{"", "\x00\x00", "{", `{"id":1}`, `{"id":"x"} x`, "[]"} {
		if err := quickjson.Decode([]byte(text), new(container.Record)); err == nil {
			t.Errorf("read %q", text)
		}
	}
}
