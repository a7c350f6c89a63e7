package main

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// --cap makes nothing inheritable that the container's programs don't inherit
// (CVE-2022-29162), and leaves the container's own sets alone.
func TestAddedCapabilities(t *testing.T) {
	old := &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL"}, Inheritable: []string{"CAP_CHOWN"}}
	got := withCapabilities(old, []string{"CAP_CHOWN", "CAP_SYS_ADMIN"})
	both := []string{"CAP_CHOWN", "CAP_SYS_ADMIN"}
	if !slices.Equal(got.Inheritable, []string{"CAP_CHOWN"}) || !slices.Equal(got.Ambient, []string{"CAP_CHOWN"}) ||
		!slices.Equal(got.Bounding, append([]string{"CAP_KILL"}, both...)) || !slices.Equal(got.Effective, both) || !slices.Equal(got.Permitted, both) {
		t.Errorf("sets %+v", got)
	}
	if len(old.Bounding) != 1 || len(old.Ambient) != 0 {
		t.Errorf("the container's became %+v", old)
	}
	if got := withCapabilities(nil, both); len(got.Inheritable) != 0 || len(got.Ambient) != 0 || !slices.Equal(got.Permitted, both) {
		t.Errorf("sets %+v", got)
	}
}
