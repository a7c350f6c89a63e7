package house_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"loper.run/test/env"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The table of config.json's fields has a row for each that Linux knows, no other and no empty cell, and the tests in it
// are there.
func TestSpecificationTable(t *testing.T) {
	const document = "docs/runtime-spec.md"
	data, err := os.ReadFile(filepath.Join(env.Source(), document))
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	fields(reflect.TypeOf(specs.Spec{}), "", missing)
	all := len(missing)
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			if cells[i] = strings.TrimSpace(cells[i]); cells[i] == "" {
				t.Errorf("%s: an empty cell in %s", document, line)
			}
		}
		if len(cells) < 5 {
			t.Errorf("%s: %d cells in %s", document, len(cells), line)
			continue
		}
		for _, field := range expand(strings.Trim(cells[0], "`")) {
			if !missing[field] {
				t.Errorf("%s: %s is no field, or has a row already", document, field)
			}
			delete(missing, field)
		}
		if !strings.Contains(cells[4], "`Test") && !strings.Contains(cells[4], "`Fuzz") {
			t.Errorf("%s: no test shows %s", document, cells[0])
		}
	}
	for field := range missing {
		t.Errorf("%s: no row for %s", document, field)
	}
	if all < 100 {
		t.Errorf("only %d fields were found", all)
	}
}

// fields adds the paths of a type's fields for Linux: "mounts[].options[]", "linux.rdma.*.hcaHandles".
func fields(t reflect.Type, path string, into map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer:
		fields(t.Elem(), path, into)
	case reflect.Slice:
		fields(t.Elem(), path+"[]", into)
	case reflect.Map:
		if t.Elem().Kind() == reflect.String {
			into[path] = true
			return
		}
		fields(t.Elem(), path+".*", into)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if on := f.Tag.Get("platform"); on != "" && !strings.Contains(on, "linux") {
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			at := strings.TrimPrefix(path+"."+name, ".")
			if name == "" {
				at = path
			}
			fields(f.Type, at, into)
		}
	default:
		into[path] = true
	}
}

// expand is a shell's: "a.{b,c}" is a.b and a.c.
func expand(text string) []string {
	before, rest, ok := strings.Cut(text, "{")
	inside, after, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		return []string{text}
	}
	var list []string
	for _, word := range strings.Split(inside, ",") {
		list = append(list, expand(before+strings.TrimSpace(word)+after)...)
	}
	return list
}
