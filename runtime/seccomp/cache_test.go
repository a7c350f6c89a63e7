package seccomp

import "testing"

// cached tells whether the kernel sees from the program alone that it allows a
// call whatever its arguments. It notes such calls in a bitmap when it loads
// the filter and does not run it for them. This follows what seccomp.c's
// emulator can: the number and the architecture, comparisons, masks.
func cached(program []Insn, arch, nr uint32) bool {
	a := uint32(0)
	for pc := 0; pc < len(program); pc++ {
		in := program[pc]
		holds := false
		switch in.Code {
		case 0x20: // ld
			switch in.K {
			case 0:
				a = nr
			case 4:
				a = arch
			default:
				return false
			}
			continue
		case 0x06: // ret
			return in.K == 0x7fff0000
		case 0x05: // ja
			pc += int(in.K)
			continue
		case 0x54: // and
			a &= in.K
			continue
		case 0x15: // jeq
			holds = a == in.K
		case 0x35: // jge
			holds = a >= in.K
		case 0x25: // jgt
			holds = a > in.K
		case 0x45: // jset
			holds = a&in.K != 0
		default:
			return false
		}
		if holds {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	return false
}

// What the kernel need not run libseccomp's filter for, it need not run ours
// for.
func TestKernelCachesAsMuch(t *testing.T) {
	exe := buildHelper(t)
	numbers := scmpNumbers(t, exe)
	for _, goarch := range []string{"amd64", "arm64"} {
		for name, caps := range map[string][]string{"usual": dockerCaps, "all": everyGate} {
			s, err := parseFor(profileFiles(t)["Docker"], caps, goarch, "6.18.0")
			if err != nil {
				t.Fatal(err)
			}
			f, err := Compile(s, goarch)
			if err != nil {
				t.Fatal(err)
			}
			theirs := scmpProgram(t, ask(t, exe, scmpInput(knownTo(numbers, s), goarch)), goarch)
			for _, arch := range family(goarch)[:2] {
				ours, libseccomps := 0, 0
				conv := conventionOf(arch)
				for nr := range uint32(480) {
					mine, other := cached(f.Insns, conv.audit, nr), cached(theirs, conv.audit, nr)
					if mine {
						ours++
					}
					if other {
						libseccomps++
					}
					if other && !mine {
						t.Errorf("%s capabilities, %s: call %d is cached for libseccomp's filter, not for ours", name, arch, nr)
					}
				}
				t.Logf("%s capabilities, %s: %d calls are cached, of libseccomp's filter %d", name, arch, ours, libseccomps)
				if ours < 250 {
					t.Errorf("%s capabilities, %s: only %d calls are cached", name, arch, ours)
				}
			}
		}
	}
}
