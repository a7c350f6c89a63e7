package oci

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// levels are the flags of /proc/cpuinfo that the x86-64 psABI's levels 2 to 4
// add to the one below.
var levels = [...]string{
	"cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3",
	"avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
	"avx512f avx512bw avx512cd avx512dq avx512vl",
}

// Able is Host with the variant of what this machine's processor can do at
// most, such as amd64/v3: for images that were made for no less.
func Able() Platform {
	p := Host()
	if p.Architecture != "amd64" {
		return p
	}
	// What can't be read is taken for the least.
	info, _ := os.ReadFile("/proc/cpuinfo")
	if level := levelOf(string(info)); runtime.GOARCH == "amd64" && level > 1 {
		p.Variant = "v" + strconv.Itoa(level)
	}
	return p
}

// levelOf reads the level of the first processor.
func levelOf(info string) int {
	_, flags, _ := strings.Cut(info, "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	have := make(map[string]bool)
	for _, f := range strings.Fields(flags) {
		have[f] = true
	}
	for i, wanted := range levels {
		for _, f := range strings.Fields(wanted) {
			if !have[f] {
				return i + 1
			}
		}
	}
	return len(levels) + 1
}
