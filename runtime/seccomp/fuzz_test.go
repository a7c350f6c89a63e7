package seccomp

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Any profile compiles to a valid program that decides like the reference, or
// gives an error.
func FuzzCompile(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		f.Add([]byte(asJSON(randomProfile(r, "amd64"))), uint64(1))
	}
	f.Add([]byte(asJSON(Default(dockerCaps))), uint64(2))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":99999}`), uint64(3))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		s := new(specs.LinuxSeccomp)
		if json.Unmarshal(data, s) != nil {
			return
		}
		for _, goarch := range goarches {
			f, err := Compile(s, goarch)
			if err != nil {
				if len(f.Insns) > 0 {
					t.Error("a program and an error")
				}
				continue
			}
			sim := newSimulator(t, f.Insns)
			r := rand.New(rand.NewPCG(seed, 1))
			for range 10 {
				c := randomCall(r, s, goarch)
				if got, want := sim.run(t, c), reference(s, goarch, c); got != want {
					t.Fatalf("%s, %+x: verdict %#x, want %#x", goarch, c, got, want)
				}
			}
		}
	})
}
