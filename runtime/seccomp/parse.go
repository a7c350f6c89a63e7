package seccomp

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// fileProfile is a profile as Docker and Podman read it from a file: the
// specification's, with rules that depend on the container and the machine.
type fileProfile struct {
	specs.LinuxSeccomp
	ArchMap []struct {
		Architecture     specs.Arch   `json:"architecture"`
		SubArchitectures []specs.Arch `json:"subArchitectures"`
	} `json:"archMap"`
	Syscalls []struct {
		specs.LinuxSyscall
		Name     string    `json:"name"`
		Includes *fileRule `json:"includes"`
		Excludes *fileRule `json:"excludes"`
	} `json:"syscalls"`
}

// fileRule is a condition on the container and the machine.
type fileRule struct {
	Caps      []string `json:"caps"`
	Arches    []string `json:"arches"`
	MinKernel string   `json:"minKernel"`
}

// Parse reads a profile file in Docker's format, of which the specification's
// is a part, and resolves it for this machine and a container whose bounding
// set has the capabilities caps ("CAP_CHOWN" …). A file that says nothing is
// an error of Compile, it does not switch filtering off.
func Parse(data []byte, caps []string) (*specs.LinuxSeccomp, error) {
	var uts syscall.Utsname
	if err := syscall.Uname(&uts); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	var release []byte
	for _, c := range uts.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	return parseFor(data, caps, runtime.GOARCH, string(release))
}

func parseFor(data []byte, caps []string, goarch, release string) (*specs.LinuxSeccomp, error) {
	var f fileProfile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	s := f.LinuxSeccomp
	if len(f.ArchMap) > 0 {
		if len(s.Architectures) > 0 {
			return nil, fmt.Errorf("seccomp profile: both architectures and archMap are set")
		}
		native := family(goarch)
		for _, m := range f.ArchMap {
			if len(native) > 0 && m.Architecture == native[0] {
				s.Architectures = append([]specs.Arch{m.Architecture}, m.SubArchitectures...)
				break
			}
		}
	}
	for i, r := range f.Syscalls {
		rule := r.LinuxSyscall
		if r.Name != "" {
			if len(rule.Names) > 0 {
				return nil, fmt.Errorf("seccomp profile: syscalls[%d]: both name and names are set", i)
			}
			rule.Names = []string{r.Name}
		}
		in, err := r.Includes.holds(true, caps, goarch, release)
		if err != nil {
			return nil, fmt.Errorf("seccomp profile: syscalls[%d].includes.%w", i, err)
		}
		out, err := r.Excludes.holds(false, caps, goarch, release)
		if err != nil {
			return nil, fmt.Errorf("seccomp profile: syscalls[%d].excludes.%w", i, err)
		}
		if in && !out {
			s.Syscalls = append(s.Syscalls, rule)
		}
	}
	return &s, nil
}

// holds tells whether all of a rule's parts hold, or any of them: one excluded
// capability is enough to exclude, but inclusion wants them all. Of
// architectures one is enough for both.
func (r *fileRule) holds(all bool, caps []string, goarch, release string) (bool, error) {
	if r == nil {
		return all, nil
	}
	result := all
	join := func(holds bool) {
		if holds != all {
			result = !all
		}
	}
	if goarch == "386" {
		goarch = "x86"
	}
	if len(r.Arches) > 0 {
		join(slices.Contains(r.Arches, goarch))
	}
	for _, c := range r.Caps {
		join(slices.Contains(caps, c))
	}
	if r.MinKernel != "" {
		want, ok := version(r.MinKernel)
		if !ok {
			return false, fmt.Errorf("minKernel: %q is not like 4.8", r.MinKernel)
		}
		have, ok := version(release)
		if !ok {
			return false, fmt.Errorf("minKernel: the kernel calls itself %q", release)
		}
		join(slices.Compare(have[:], want[:]) >= 0)
	}
	return result, nil
}

// version reads the first two numbers of a kernel's release.
func version(s string) (v [2]int, ok bool) {
	major, rest, ok := strings.Cut(s, ".")
	if !ok {
		return v, false
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	var err, err2 error
	v[0], err = strconv.Atoi(major)
	v[1], err2 = strconv.Atoi(rest[:end])
	return v, err == nil && err2 == nil && v[0] >= 0
}
