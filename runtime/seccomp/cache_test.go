package seccomp

import "testing"

// emulate follows a program for a call whose arguments are zero, as far as
// the emulator in the kernel's seccomp.c can: the number and the architecture,
// comparisons, masks. It tells how many instructions that takes, and whether
// the program alone says that the call is allowed, whatever its arguments. The
// kernel notes such calls in a bitmap when it loads the filter, and does not
// run it for them.
func emulate(program []Insn, arch, nr uint32) (instructions int, constant bool) {
	a, known := uint32(0), true
	for pc := 0; pc < len(program); pc++ {
		instructions++
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
				a, known = 0, false
			}
			continue
		case 0x06: // ret
			return instructions, known && in.K == 0x7fff0000
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
			known = false
		}
		if holds {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	return instructions, false
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
					_, mine := emulate(f.Insns, conv.audit, nr)
					_, other := emulate(theirs, conv.audit, nr)
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

// Under Docker's profile a call takes fewer instructions than with libseccomp's
// optimized tree, on average and at most, and the common ones take the fewest.
func TestFewInstructions(t *testing.T) {
	exe := buildHelper(t)
	s := knownTo(scmpNumbers(t, exe), dockersProfile(t))
	f, err := Compile(s, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	theirs := scmpProgram(t, ask(t, exe, scmpInput(s, "amd64")), "amd64")
	most, mosts, sum, sums := 0, 0, 0, 0
	for nr := range uint32(480) {
		ours, _ := emulate(f.Insns, auditX86_64, nr)
		libseccomps, _ := emulate(theirs, auditX86_64, nr)
		most, mosts, sum, sums = max(most, ours), max(mosts, libseccomps), sum+ours, sums+libseccomps
	}
	t.Logf("mean %d, at most %d; libseccomp's mean %d, at most %d", sum/480, most, sums/480, mosts)
	if most > mosts || sum > sums {
		t.Errorf("more instructions than libseccomp's")
	}
	for name, want := range map[string]int{"read": 9, "write": 9, "futex": 12, "clone": 12, "socket": 14, "personality": 16} {
		nr := uint32(numberOf(name, colX86_64))
		ours, _ := emulate(f.Insns, auditX86_64, nr)
		libseccomps, _ := emulate(theirs, auditX86_64, nr)
		t.Logf("%s: %d instructions, libseccomp's %d", name, ours, libseccomps)
		if ours > want || ours > libseccomps {
			t.Errorf("%s takes %d instructions, more than %d", name, ours, want)
		}
	}
}
