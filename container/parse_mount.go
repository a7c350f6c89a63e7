package container

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"
)

// ParseMount reads one --mount: comma-separated KEY=VALUE as in a line of CSV.
// Unlike with -v a missing bind source is an error.
func ParseMount(spec string) (Mount, error) {
	m := Mount{Type: MountVolume}
	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty")
	}
	if err != nil {
		return m, fmt.Errorf("invalid mount %q: %w", spec, err)
	}
	for _, field := range fields {
		if err := m.field(field); err != nil {
			return m, fmt.Errorf("invalid mount %q: %w", spec, err)
		}
	}
	if err := m.check(); err != nil {
		return m, fmt.Errorf("invalid mount %q: %w", spec, err)
	}
	return m, nil
}

func (m *Mount) field(field string) (err error) {
	key, value, hasValue := strings.Cut(field, "=")
	switch strings.ToLower(key) {
	case "type":
		m.Type = value
	case "source", "src":
		m.Source = value
	case "target", "destination", "dst":
		m.Target, err = mountTarget(value)
	case "readonly", "ro":
		m.ReadOnly, err = isOn(value, hasValue)
	case "bind-propagation":
		if !strings.HasSuffix(value, "private") && !strings.HasSuffix(value, "shared") && !strings.HasSuffix(value, "slave") {
			return fmt.Errorf("unknown propagation %q", value)
		}
		err = m.option(value)
	case "bind-nonrecursive":
		m.NoRecursive, err = isOn(value, hasValue)
	case "bind-recursive":
		switch value {
		case "enabled", "readonly", "writable":
		case "disabled":
			m.NoRecursive = true
		default:
			return fmt.Errorf("unknown bind-recursive %q", value)
		}
	case "bind-create-src":
		m.CreateDir, err = isOn(value, hasValue)
	case "volume-nocopy":
		m.NoCopy, err = isOn(value, hasValue)
	case "idmap":
		var on bool
		on, err = isOn(value, hasValue)
		m.NoIDMap = !on
	case "tmpfs-size":
		m.TmpfsSize, err = units.RAMInBytes(value)
	case "tmpfs-mode":
		var mode uint64
		mode, err = strconv.ParseUint(value, 8, 12)
		m.TmpfsMode = uint32(mode)
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// check is about what the fields of a --mount mean together.
func (m *Mount) check() error {
	if m.Target == "" {
		return errors.New("target is missing")
	}
	switch m.Type {
	case MountBind:
		if !filepath.IsAbs(m.Source) {
			return fmt.Errorf("source %q of a bind is not an absolute path", m.Source)
		}
		m.Source = filepath.Clean(m.Source)
	case MountVolume:
		if m.Source != "" {
			return CheckName(m.Source)
		}
	case MountTmpfs:
		if m.Source != "" {
			return errors.New("a tmpfs has no source")
		}
	default:
		return fmt.Errorf("unknown type %q: bind, volume and tmpfs are known", m.Type)
	}
	if m.Type != MountTmpfs && (m.TmpfsSize != 0 || m.TmpfsMode != 0) {
		return fmt.Errorf("tmpfs-size and tmpfs-mode mean nothing to a %s", m.Type)
	}
	return nil
}

func isOn(value string, hasValue bool) (bool, error) {
	if !hasValue {
		return true, nil
	}
	return strconv.ParseBool(value)
}
