package container

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// ParseVolume reads one -v: [SOURCE:]TARGET[:OPTIONS]. A source with a slash
// is a host path (relative ones, ./x, are of the caller's directory), another
// is a volume's name, none an anonymous volume. The options, by comma: ro rw
// nocopy noidmap nosuid nodev noexec, a propagation ([r]private, [r]shared,
// [r]slave), and z Z, which only mean something to SELinux.
func ParseVolume(spec string) (Mount, error) {
	m := Mount{Type: MountVolume}
	fields := strings.Split(spec, ":")
	if len(fields) > 3 {
		return m, fmt.Errorf("invalid volume %q: more than SOURCE:TARGET:OPTIONS", spec)
	}
	target, options := fields[0], ""
	if len(fields) > 1 {
		m.Source, target = fields[0], fields[1]
		if m.Source == "" {
			return m, fmt.Errorf("invalid volume %q: the source is empty", spec)
		}
	}
	if len(fields) == 3 {
		options = fields[2]
	}
	switch {
	case strings.HasPrefix(m.Source, "/"), strings.HasPrefix(m.Source, "./"), strings.HasPrefix(m.Source, "../"),
		m.Source == ".", m.Source == "..":
		abs, err := filepath.Abs(m.Source)
		if err != nil {
			return m, err
		}
		m.Type, m.Source, m.CreateDir = MountBind, abs, true
	case m.Source != "":
		if err := CheckName(m.Source); err != nil {
			return m, fmt.Errorf("invalid volume %q: %w (a host directory must be an absolute path)", spec, err)
		}
	}
	var err error
	if m.Target, err = mountTarget(target); err != nil {
		return m, fmt.Errorf("invalid volume %q: %w", spec, err)
	}
	if options == "" {
		return m, nil
	}
	for _, o := range strings.Split(options, ",") {
		if err := m.option(o); err != nil {
			return m, fmt.Errorf("invalid volume %q: %w", spec, err)
		}
	}
	return m, nil
}

// option applies one word of -v's third field.
func (m *Mount) option(o string) error {
	switch o {
	case "ro", "readonly":
		m.ReadOnly = true
	case "rw", "z", "Z", "rbind", "":
	case "bind":
		m.NoRecursive = true
	case "nocopy":
		m.NoCopy = true
	case "noidmap":
		m.NoIDMap = true
	case "nosuid", "nodev", "noexec":
		m.Options = append(m.Options, o)
	case "private", "rprivate", "shared", "rshared", "slave", "rslave":
		if m.Propagation != "" {
			return fmt.Errorf("two propagations, %s and %s", m.Propagation, o)
		}
		m.Propagation = o
	default:
		return fmt.Errorf("unknown option %q", o)
	}
	return nil
}

// mountTarget checks where a caller wants a mount inside the container.
func mountTarget(target string) (string, error) {
	if !path.IsAbs(target) {
		return "", fmt.Errorf("target %q is not an absolute path", target)
	}
	if strings.ContainsRune(target, 0) {
		return "", fmt.Errorf("target %q has a zero byte", target)
	}
	target = path.Clean(target)
	switch target {
	case "/", "/proc", "/sys", "/dev":
		return "", fmt.Errorf("target %s is the container's own", target)
	}
	return target, nil
}
