package seccomp

import specs "github.com/opencontainers/runtime-spec/specs-go"

// Bases that are added to the table's numbers. x32 calls share their audit
// architecture with x86_64 and have a bit of their own.
const (
	x32Bit  = 0x40000000
	mipsO32 = 4000
	mipsN64 = 5000
	mipsN32 = 6000
)

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

// Bits of AUDIT_ARCH_ values, from linux/audit.h; the rest is the ELF machine.
const (
	audit64  = 0x80000000
	auditLE  = 0x40000000
	auditN32 = 0x20000000
)

// convention is one way of making system calls.
type convention struct {
	name   specs.Arch
	column uint8
	narrow bool   // arguments are 32 bits wide
	base   uint32 // added to the table's numbers
	audit  uint32 // AUDIT_ARCH_ value in struct seccomp_data
}

// conventions are those that the specification names. libseccomp takes the
// little-endian SuperH for the plain one.
var conventions = [...]convention{
	{specs.ArchX86_64, colX86_64, false, 0, 62 | audit64 | auditLE},
	{specs.ArchX86, colX86, true, 0, 3 | auditLE},
	{specs.ArchX32, colX32, true, x32Bit, 62 | audit64 | auditLE},
	{specs.ArchAARCH64, colARM64, false, 0, 183 | audit64 | auditLE},
	{specs.ArchARM, colARM, true, 0, 40 | auditLE},
	{specs.ArchRISCV64, colRISCV64, false, 0, 243 | audit64 | auditLE},
	{specs.ArchLOONGARCH64, colLoong64, false, 0, 258 | audit64 | auditLE},
	{specs.ArchPPC64LE, colPPC64, false, 0, 21 | audit64 | auditLE},
	{specs.ArchPPC64, colPPC64, false, 0, 21 | audit64},
	{specs.ArchPPC, colPPC, true, 0, 20},
	{specs.ArchS390X, colS390X, false, 0, 22 | audit64},
	{specs.ArchS390, colS390, true, 0, 22},
	{specs.ArchMIPS64, colMIPS64, false, mipsN64, 8 | audit64},
	{specs.ArchMIPS64N32, colMIPSN32, true, mipsN32, 8 | audit64 | auditN32},
	{specs.ArchMIPS, colMIPS, true, mipsO32, 8},
	{specs.ArchMIPSEL64, colMIPS64, false, mipsN64, 8 | audit64 | auditLE},
	{specs.ArchMIPSEL64N32, colMIPSN32, true, mipsN32, 8 | audit64 | auditLE | auditN32},
	{specs.ArchMIPSEL, colMIPS, true, mipsO32, 8 | auditLE},
	{specs.ArchPARISC64, colPARISC64, false, 0, 15 | audit64},
	{specs.ArchPARISC, colPARISC, true, 0, 15},
	{specs.ArchM68K, colM68K, true, 0, 4},
	{specs.ArchSH, colSH, true, 0, 42 | auditLE},
	{specs.ArchSHEB, colSH, true, 0, 42},
}

// bigEndian tells that the upper half of an argument comes first.
func (c *convention) bigEndian() bool { return c.audit&auditLE == 0 }

// conventionOf returns nil for what the specification does not name.
func conventionOf(name specs.Arch) *convention {
	for i := range conventions {
		if conventions[i].name == name {
			return &conventions[i]
		}
	}
	return nil
}

// family lists the conventions of a kernel, its own first. Kernels that Go
// does not build for have the names that uname(1) uses.
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
	case "riscv64":
		return []specs.Arch{specs.ArchRISCV64}
	case "loong64":
		return []specs.Arch{specs.ArchLOONGARCH64}
	case "ppc64le":
		return []specs.Arch{specs.ArchPPC64LE}
	case "ppc64":
		return []specs.Arch{specs.ArchPPC64, specs.ArchPPC}
	case "ppc":
		return []specs.Arch{specs.ArchPPC}
	case "s390x":
		return []specs.Arch{specs.ArchS390X, specs.ArchS390}
	case "s390":
		return []specs.Arch{specs.ArchS390}
	case "mips64":
		return []specs.Arch{specs.ArchMIPS64, specs.ArchMIPS, specs.ArchMIPS64N32}
	case "mips":
		return []specs.Arch{specs.ArchMIPS}
	case "mips64le":
		return []specs.Arch{specs.ArchMIPSEL64, specs.ArchMIPSEL, specs.ArchMIPSEL64N32}
	case "mipsle":
		return []specs.Arch{specs.ArchMIPSEL}
	case "parisc64":
		return []specs.Arch{specs.ArchPARISC64, specs.ArchPARISC}
	case "parisc":
		return []specs.Arch{specs.ArchPARISC}
	case "m68k":
		return []specs.Arch{specs.ArchM68K}
	case "sh":
		return []specs.Arch{specs.ArchSH}
	case "sheb":
		return []specs.Arch{specs.ArchSHEB}
	}
	return nil
}
