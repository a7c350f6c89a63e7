package runtime

import (
	"strings"
	"testing"
)

// FuzzParts: a part of a config.json is a part, or gives an error of one line
// that names the file.
func FuzzParts(f *testing.F) {
	for _, text := range []string{
		`{"args": ["sh"], "cwd": "/", "user": {"uid": 1}}`, `{"memory": {"limit": 5}, "pids": {"limit": -1}}`, `[{"destination": "/a", "options": ["ro"]}]`,
		`{"mounts": []}`, `{}}, "hooks": {"poststop": []`, `null`, ``, `[`, "\x00",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, around := range [][2]string{{`{"process":`, `}`}, {`{"linux":{"resources":`, `}}`}, {`{"mounts":`, `}`}} {
			spec, err := parsePart("file", data, around[0], around[1])
			switch {
			case err != nil:
				if !strings.HasPrefix(err.Error(), "file: ") || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %q", err)
				}
			case around[0] != `{"mounts":` && (spec.Hooks != nil || spec.Root != nil || spec.Mounts != nil):
				t.Errorf("%q became more than a part: %+v", data, spec)
			}
		}
	})
}
