package oci

import (
	"strings"
	"testing"
)

func TestLevel(t *testing.T) {
	flags := "fpu sse2"
	for want := 1; want <= 4; want++ {
		if got := levelOf("processor\t: 0\nflags\t\t: " + flags + "\nbugs\t: x\n"); got != want {
			t.Errorf("%q is level %d, want %d", flags, got, want)
		}
		if want < 4 {
			flags += " " + levels[want-1]
		}
	}
	if got := levelOf(""); got != 1 {
		t.Errorf("nothing is level %d", got)
	}
	if p := Able(); !strings.HasPrefix(p.String(), Host().String()) || p.Fit(Host()) == 0 {
		t.Errorf("able to %s, which is not more than %s", p, Host())
	}
}

func TestSelect(t *testing.T) {
	x := &Index{}
	for _, p := range []Platform{{OS: "linux", Architecture: "amd64", Variant: "v3"}, {OS: "linux", Architecture: "amd64", Variant: "v2"}, {OS: "windows", Architecture: "amd64", OSVersion: "10.0.2"}, {OS: "linux", Architecture: "arm64", OSFeatures: []string{"x"}}} {
		x.Manifests = append(x.Manifests, Descriptor{Platform: &p})
	}
	for text, want := range map[string]string{
		"linux/amd64": "", "linux/amd64/v2": "linux/amd64/v2", "linux/amd64/v3": "linux/amd64/v3", "linux/amd64/v4": "linux/amd64/v3",
		"windows/amd64": "windows/amd64", "windows(10.0.2)/amd64": "windows/amd64", "windows(10.0.3)/amd64": "", "linux/arm64": "", "linux(1+x)/arm64": "linux/arm64",
	} {
		p, err := ParsePlatform(text)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if d, ok := x.Select(p); ok {
			got = d.Platform.String()
		}
		if got != want {
			t.Errorf("%s gets %q, want %q", text, got, want)
		}
	}
}
