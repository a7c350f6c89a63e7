package seccomp

import "fmt"

// abi is a convention that a profile filters, and what the profile decides for
// its calls.
type abi struct {
	*convention
	// newest is the last number of the plain range that the profile names;
	// calls above it are newer than the profile.
	newest int32
	// slots holds for each number the index of its decision.
	slots [directSlots + privateSlots]uint16
}

// see remembers that the profile names a call. ARM's private range and x32's
// own numbers lie above the range in which the kernel adds calls, so they do
// not count.
func (a *abi) see(slot uint16) {
	if slot < directSlots && (a.column != colX32 || slot < x32Own) {
		a.newest = max(a.newest, int32(slot))
	}
}

// selectABIs selects what to filter: the kernel's own convention and those
// listed that it can run, in the family's order whatever the profile's.
func (p *profile) selectABIs(goarch string) error {
	known := family(goarch)
	if known == nil {
		return fmt.Errorf("linux.seccomp: no system call table for architecture %q", goarch)
	}
	var listed [3]bool
	listed[0] = true
next:
	for i, name := range p.spec.Architectures {
		if conventionOf(name) == nil {
			return fmt.Errorf("linux.seccomp.architectures[%d]: unknown architecture %q", i, name)
		}
		for j, k := range known {
			if k == name {
				listed[j] = true
				continue next
			}
		}
		p.warn("linux.seccomp.architectures[%d]: %s ignored: it cannot run on %s", i, name, goarch)
	}
	for j, k := range known {
		if listed[j] {
			p.abis = append(p.abis, &abi{convention: conventionOf(k), newest: -1})
		}
	}
	return nil
}
