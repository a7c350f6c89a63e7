package systemd

import (
	"errors"
	"fmt"
	"strings"
)

// maxName is the longest name of a unit (UNIT_NAME_MAX, without the end).
const maxName = 255

// Names are a container's unit and its slice.
type Names struct{ Unit, Slice string }

// ParsePath reads a linux.cgroupsPath of the form slice:prefix:name, as engines write it for systemd. Without a slice
// it is system.slice, and for a user's systemd user.slice. Without a path the unit is called after the container.
func ParsePath(path, id string, user bool) (Names, error) {
	slice, prefix, name := "", "lope", escape(id)
	if path != "" {
		parts := strings.Split(path, ":")
		if len(parts) != 3 {
			return Names{}, errors.New("is not of the form slice:prefix:name, which systemd's cgroups need")
		}
		slice, prefix, name = parts[0], parts[1], parts[2]
	}
	switch {
	case slice != "":
	case user:
		slice = "user.slice"
	default:
		slice = "system.slice"
	}
	if _, err := ExpandSlice(slice); err != nil {
		return Names{}, err
	}
	unit := name + ".scope"
	if prefix != "" {
		unit = prefix + "-" + unit
	}
	switch {
	case name == "":
		return Names{}, errors.New("has no name after the last colon")
	case strings.HasSuffix(name, ".slice"):
		return Names{}, fmt.Errorf("names the slice %s, and a container lives in a scope", name)
	}
	return Names{unit, slice}, checkUnit(unit)
}

// checkUnit accepts what systemd.unit(5) allows in a name, so that it is also a safe name of a directory.
func checkUnit(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("the unit's name %.20q… is longer than %d bytes", name, maxName)
	}
	for _, c := range []byte(name) {
		if !valid(c) {
			return fmt.Errorf("the unit's name %q has a character that systemd refuses", name)
		}
	}
	if name[0] == '.' {
		return fmt.Errorf("the unit's name %q begins with a dot", name)
	}
	return nil
}

func valid(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(":-_.\\@", c) >= 0
}

// escape writes what an id may have and a unit's name may not as systemd-escape(1) does.
func escape(id string) string {
	if strings.IndexByte(id, '+') < 0 {
		return id
	}
	return strings.ReplaceAll(id, "+", `\x2b`)
}

// ExpandSlice gives the directory of a slice, whose name has its parents' names in it: a-b.slice is /a.slice/a-b.slice
// (systemd.slice(5)).
func ExpandSlice(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	if !ok || name == "" {
		return "", fmt.Errorf("%q is not the name of a slice", slice)
	}
	if name == "-" {
		return "/", nil
	}
	if err := checkUnit(slice); err != nil {
		return "", err
	}
	path, prefix := "", ""
	for part := range strings.SplitSeq(name, "-") {
		if part == "" {
			return "", fmt.Errorf("%q is not the name of a slice", slice)
		}
		path += "/" + prefix + part + ".slice"
		prefix += part + "-"
	}
	return path, nil
}
