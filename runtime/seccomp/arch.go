package seccomp

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Columns of the system call table.
const (
	colX86_64 = iota
	colX86
	colX32
	colARM64
	colARM
	columns
)

// x32Bit is set in the numbers of x32 calls, which share their audit
// architecture with x86_64.
const x32Bit = 0x40000000

// x32's own calls have the numbers from x32Own up to x32End; the kernel adds
// no more to them.
const (
	x32Own = 512
	x32End = 548
)

// armPrivate is the first of 32-bit ARM's own calls (cacheflush, set_tls).
const armPrivate = 0xf0000

// Numbers below directSlots index an ABI's slots directly; ARM's private ones
// follow them.
const (
	directSlots  = 1024
	privateSlots = 16
)

// abi is one way of making system calls on a kernel.
type abi struct {
	name   specs.Arch
	column int
	audit  uint32 // AUDIT_ARCH_ value in struct seccomp_data
	narrow bool   // arguments are 32 bits wide
	// newest is the last number of the plain range that the profile names;
	// calls above it are newer than the profile.
	newest int32
	// slots holds for each number the index of its decision.
	slots [directSlots + privateSlots]uint16
}

// base is added to a table's number to make what the kernel sees.
func (a *abi) base() uint32 {
	if a.column == colX32 {
		return x32Bit
	}
	return 0
}

// slot returns where the decision for a number is kept.
func (a *abi) slot(nr int32) *uint16 {
	if nr >= armPrivate {
		nr += directSlots - armPrivate
	}
	return &a.slots[nr]
}

// see remembers that the profile names a number. ARM's private range and
// x32's own numbers lie above the range in which the kernel adds
// calls, so they do not count.
func (a *abi) see(nr int32) {
	if nr < armPrivate && (a.column != colX32 || nr < x32Own) {
		a.newest = max(a.newest, nr)
	}
}

func newABI(name specs.Arch) *abi {
	a := &abi{name: name, newest: -1}
	switch name {
	case specs.ArchX86_64:
		a.column, a.audit = colX86_64, 0xc000003e
	case specs.ArchX86:
		a.column, a.audit, a.narrow = colX86, 0x40000003, true
	case specs.ArchX32:
		a.column, a.audit, a.narrow = colX32, 0xc000003e, true
	case specs.ArchAARCH64:
		a.column, a.audit = colARM64, 0xc00000b7
	case specs.ArchARM:
		a.column, a.audit, a.narrow = colARM, 0x40000028, true
	}
	return a
}

// family lists the ABIs of a kernel, its own first.
func family(goarch string) []specs.Arch {
	switch goarch {
	case "amd64":
		return []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
	case "386":
		return []specs.Arch{specs.ArchX86}
	case "arm64":
		return []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
	case "arm":
		return []specs.Arch{specs.ArchARM}
	}
	return nil
}

// abis selects the ABIs to filter: the kernel's own and those listed that it
// can run. The result is in the family's order whatever the profile's.
func (p *profile) selectABIs(goarch string) error {
	known := family(goarch)
	if known == nil {
		return fmt.Errorf("linux.seccomp: no system call table for architecture %q", goarch)
	}
	var listed [3]bool
	listed[0] = true
next:
	for i, name := range p.spec.Architectures {
		if !validArch(name) {
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
			p.abis = append(p.abis, newABI(k))
		}
	}
	return nil
}

// validArch tells whether the specification lists an architecture.
func validArch(a specs.Arch) bool {
	switch a {
	case specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64,
		specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32,
		specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32,
		specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X,
		specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64, specs.ArchLOONGARCH64,
		specs.ArchM68K, specs.ArchSH, specs.ArchSHEB:
		return true
	}
	return false
}
