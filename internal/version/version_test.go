package version

import "testing"

func TestString(t *testing.T) {
	if got := String(); got == "" {
		t.Error("a program built without the linker's flag has an empty version")
	}
	defer func(v string) { Version = v }(Version)
	Version = "v1.2.3"
	if got := String(); got != "v1.2.3" {
		t.Errorf("String() = %q, want the linker's v1.2.3", got)
	}
}
