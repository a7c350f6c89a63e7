package container

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// spec turns the record of a container into its config.json. It is a pure
// function; each part stands in the file of its name.
func (r *Record) spec(f *facts) (*specs.Spec, error) {
	sec, err := parseSecurity(r.Settings.SecurityOpt)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs", Readonly: r.Settings.ReadOnly},
		Linux:   &specs.Linux{},
	}
	if s.Process, err = r.process(f); err != nil {
		return nil, err
	}
	if err := r.security(s, f, sec); err != nil {
		return nil, err
	}
	if err := r.namespaces(s, f); err != nil {
		return nil, err
	}
	if s.Mounts, err = r.mounts(f); err != nil {
		return nil, err
	}
	if err := r.resources(s, f); err != nil {
		return nil, err
	}
	r.deviceNodes(s, f)
	if err := checkSpec(s); err != nil {
		return nil, err
	}
	return s, nil
}

// checkSpec refuses what only the whole shows.
func checkSpec(s *specs.Spec) error {
	seen := make(map[string]bool, len(s.Mounts))
	for _, m := range s.Mounts {
		if seen[m.Destination] {
			return fmt.Errorf("two mounts have the target %s", m.Destination)
		}
		seen[m.Destination] = true
	}
	return nil
}
