package naming

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "A-1_b.c": true, strings.Repeat("a", Max): true, "0": true, "Tidy_otter-1.x": true,
		"": false, strings.Repeat("a", Max+1): false, ".": false, "..": false, "-a": false, "_a": false, "a/b": false, "a b": false, "é": false, "a\n": false,
	} {
		if err := Check("name", name); (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "invalid name ") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
