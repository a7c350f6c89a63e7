//go:build ignore

// This program writes ztable.go from syscalls.txt. With -headers it first
// writes syscalls.txt from the kernel's headers of all architectures, as
// Debian's linux-libc-dev has them, unpacked (dpkg -x) into a directory.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// column is a set of numbers: architectures that differ in nothing but the
// order of bytes share one.
type column struct{ name, constant, header string }

var columns = []column{
	{"x86_64", "colX86_64", "x86/asm/unistd_64.h"},
	{"x86", "colX86", "x86/asm/unistd_32.h"},
	{"x32", "colX32", "x86/asm/unistd_x32.h"},
	{"arm64", "colARM64", "arm64/asm/unistd_64.h"},
	{"arm", "colARM", "arm/asm/unistd-eabi.h"},
	{"riscv64", "colRISCV64", "riscv/asm/unistd_64.h"},
	{"loong64", "colLoong64", "loongarch/asm/unistd_64.h"},
	{"ppc64", "colPPC64", "powerpc/asm/unistd_64.h"},
	{"ppc", "colPPC", "powerpc/asm/unistd_32.h"},
	{"s390x", "colS390X", "s390/asm/unistd_64.h"},
	{"s390", "colS390", "s390/asm/unistd_32.h"},
	{"mips64", "colMIPS64", "mips/asm/unistd_n64.h"},
	{"mips64n32", "colMIPSN32", "mips/asm/unistd_n32.h"},
	{"mips", "colMIPS", "mips/asm/unistd_o32.h"},
	{"parisc64", "colPARISC64", "parisc/asm/unistd_64.h"},
	{"parisc", "colPARISC", "parisc/asm/unistd_32.h"},
	{"m68k", "colM68K", "m68k/asm/unistd_32.h"},
	{"sh", "colSH", "sh/asm/unistd_32.h"},
}

// unified is the first number that all architectures share.
const unified = 424

// armPrivate is the first of 32-bit ARM's own numbers, directSlots where the
// table keeps them; arch.go has the same.
const (
	armPrivate  = 0xf0000
	directSlots = 1024
)

// The parts of socketcall(2) and ipc(2), from linux/net.h and linux/ipc.h.
var (
	socketcall = strings.Fields(`- socket bind connect listen accept getsockname getpeername socketpair send recv
		sendto recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg`)
	ipc = []string{1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop", 11: "msgsnd", 12: "msgrcv",
		13: "msgget", 14: "msgctl", 21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl"}
)

const data = "syscalls.txt"

func main() {
	log.SetFlags(0)
	out := flag.String("o", ".", "directory to write ztable.go to")
	headers := flag.String("headers", "", "directories with linux-libc-dev, the newest first, separated by commas; they are named by its version")
	flag.Parse()
	if *headers != "" {
		if err := collect(strings.Split(*headers, ",")); err != nil {
			log.Fatal(err)
		}
	}
	source, err := table()
	if err != nil {
		log.Fatal(err)
	}
	formatted, err := format.Source([]byte(source))
	if err != nil {
		log.Fatalf("%v\n%s", err, source)
	}
	if err := os.WriteFile(filepath.Join(*out, "ztable.go"), formatted, 0o644); err != nil {
		log.Fatal(err)
	}
}

// numbers are one call's, by column's name.
type numbers map[string]int

// collect writes syscalls.txt. A column whose header the newest package no
// longer has comes from an older one; what is newer than that has the number
// that all architectures share.
func collect(dirs []string) error {
	calls := map[string]numbers{}
	set := func(name, column string, nr int) {
		if calls[name] == nil {
			calls[name] = numbers{}
		}
		calls[name][column] = nr
	}
	for _, c := range columns {
		newest := -1
		for i, dir := range dirs {
			found, err := header(filepath.Join(dir, "usr/lib/linux/uapi", c.header))
			if os.IsNotExist(err) && i+1 < len(dirs) {
				continue
			}
			if err != nil {
				return err
			}
			for name, nr := range found {
				set(name, c.name, nr)
				newest = max(newest, nr)
			}
			break
		}
		for name, n := range calls {
			if nr, ok := n["x86_64"]; ok && c.name != "x32" && nr >= unified && nr > newest && c.name != "arm" {
				set(name, c.name, nr)
			}
		}
	}
	// From arm/asm/unistd.h.
	for i, name := range []string{"breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"} {
		set(name, "arm", armPrivate+1+i)
	}
	// There up to Linux 6.9.
	set("_llseek", "parisc64", calls["_llseek"]["parisc"])
	set("sync_file_range2", "arm", calls["arm_sync_file_range"]["arm"])

	var b strings.Builder
	var packages []string
	for _, dir := range dirs {
		packages = append(packages, filepath.Base(dir))
	}
	fmt.Fprintf(&b, "# System calls of Linux, from the headers in Debian's linux-libc-dev %s.\n", strings.Join(packages, " and "))
	b.WriteString("# Numbers are without the bases of x32 (0x40000000) and MIPS (4000, 5000, 6000).\n")
	for _, name := range sorted(calls) {
		b.WriteString(name)
		for _, c := range columns {
			if nr, ok := calls[name][c.name]; ok {
				fmt.Fprintf(&b, " %s=%d", c.name, nr)
			}
		}
		b.WriteByte('\n')
	}
	return os.WriteFile(data, []byte(b.String()), 0o644)
}

var define = regexp.MustCompile(`(?m)^#define __NR_([a-z_][a-z0-9_]*)\s+(?:\(__\w+ \+ )?(\d+)\)?$`)

// noCall are other constants among the numbers, and gaps that MIPS names.
var noCall = regexp.MustCompile(`^(arch_specific_syscall|syscalls|(reserved|unused)\d+)$`)

func header(path string) (map[string]int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, m := range define.FindAllSubmatch(b, -1) {
		nr, err := strconv.Atoi(string(m[2]))
		if err != nil {
			return nil, err
		}
		if name := string(m[1]); !noCall.MatchString(name) {
			found[name] = nr
		}
	}
	if len(found) < 250 {
		return nil, fmt.Errorf("%s: only %d numbers", path, len(found))
	}
	return found, nil
}

func sorted(m map[string]numbers) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// table is ztable.go.
func table() (string, error) {
	text, err := os.ReadFile(data)
	if err != nil {
		return "", err
	}
	origin, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
	calls := map[string]numbers{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		n := numbers{}
		for _, f := range fields[1:] {
			column, nr, _ := strings.Cut(f, "=")
			if n[column], err = strconv.Atoi(nr); err != nil {
				return "", fmt.Errorf("%s: %q: %w", data, line, err)
			}
		}
		calls[fields[0]] = n
	}
	names := sorted(calls)

	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated by generate_table.go from %s; DO NOT EDIT.\n// %s\n\npackage seccomp\n\n", data, origin)
	b.WriteString("// Columns of syscallSlots.\nconst (\n")
	for i, c := range columns {
		b.WriteString(c.constant)
		if i == 0 {
			b.WriteString(" = iota")
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "columns\n)\n\n// syscalls is the number of names.\nconst syscalls = %d\n\n", len(names))

	b.WriteString("// syscallNames are all names in their order, one after the other.\nconst syscallNames = \"\" +\n")
	var line strings.Builder
	ends := make([]int, 0, len(names))
	end := 0
	for i, name := range names {
		line.WriteString(name)
		end += len(name)
		ends = append(ends, end)
		if last := i == len(names)-1; last || line.Len() > 100 {
			fmt.Fprintf(&b, "%q", line.String())
			if !last {
				b.WriteString(" +")
			}
			b.WriteByte('\n')
			line.Reset()
		}
	}
	b.WriteString("\n// syscallEnds tells where each name ends.\nvar syscallEnds = [syscalls]uint16{")
	list(&b, ends)
	b.WriteString("}\n\n// syscallParts tells which part of socketcall(2), or of ipc(2) with partIPC, a\n// call is.\nvar syscallParts = [syscalls]uint8{")
	parts := make([]int, len(names))
	for i, name := range names {
		if part := slices.Index(socketcall, name); part >= 0 {
			parts[i] = part
		} else if part := slices.Index(ipc, name); part >= 0 {
			parts[i] = 0x80 | part
		}
	}
	list(&b, parts)
	b.WriteString("}\n\n// syscallSlots are each call's slots by column, noSlot where there is no such call.\nvar syscallSlots = [columns][syscalls]uint16{\n")
	for _, c := range columns {
		slots := make([]int, len(names))
		for i, name := range names {
			nr, ok := calls[name][c.name]
			switch {
			case !ok:
				nr = 0xffff
			case nr >= armPrivate:
				nr += directSlots - armPrivate
			case nr >= directSlots:
				return "", fmt.Errorf("%s: %s: no slot for number %d", data, name, nr)
			}
			slots[i] = nr
		}
		fmt.Fprintf(&b, "%s: {", c.constant)
		list(&b, slots)
		b.WriteString("},\n")
	}
	b.WriteString("}\n\nconst (\n")
	for _, name := range []string{"socketcall", "ipc"} {
		fmt.Fprintf(&b, "call%s%s = %d // %s's place in the table\n", strings.ToUpper(name[:1]), name[1:], slices.Index(names, name), name)
	}
	b.WriteString(")\n")
	return b.String(), nil
}

// list writes numbers, several on a line.
func list(b *bytes.Buffer, numbers []int) {
	for i, n := range numbers {
		if i%24 == 0 {
			b.WriteByte('\n')
		}
		if n == 0xffff {
			b.WriteString("noSlot, ")
		} else {
			fmt.Fprintf(b, "%d, ", n)
		}
	}
	b.WriteByte('\n')
}
