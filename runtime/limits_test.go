package runtime

import (
	"os"
	"strings"
	"testing"

	"loper.run/runtime/seccomp"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What the start of a container takes is charged to its own group, from the
// moment it joins: a limit of 1 MiB has room for that and for a small program.
func TestStartsInOneMebibyte(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *specs.Spec){
		"plain": func(*testing.T, *specs.Spec) {},
		"seccomp": func(_ *testing.T, s *specs.Spec) {
			s.Linux.Seccomp = seccomp.Default(s.Process.Capabilities.Bounding)
		},
		"user namespace": func(t *testing.T, s *specs.Spec) {
			must(t, os.Chown(s.Root.Path, 100000, 100000))
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			o := bundle(t, "true")
			limit := int64(1 << 20)
			o.Spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
			change(t, o.Spec)
			o.Config = encode(t, o.Spec)
			c, err := Create(o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Delete(true)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the container ends", func() bool {
				s, err := c.State()
				return err == nil && s.Status == specs.StateStopped
			})
		})
	}
}
