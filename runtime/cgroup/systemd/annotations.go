package systemd

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Annotation is the beginning of annotations that are properties of the unit, as runc and crun have them.
const Annotation = "org.systemd.property."

// own are the properties that decide what the container is and may, and so are not an annotation's to set.
var own = [...]string{"PIDs", "PIDFDs", "Slice", "Delegate", "DelegateControllers", "DevicePolicy", "DeviceAllow", "BPFProgram",
	"Controller", "User", "Group", "DefaultDependencies"}

// FromAnnotations gives the properties that annotations of a container ask for: the name after
// org.systemd.property., the value in GVariant's text form. A name ending in Sec takes seconds.
func FromAnnotations(annotations map[string]string) ([]Property, error) {
	var all []Property
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, ok := strings.CutPrefix(key, Annotation)
		if !ok || name == "" {
			continue
		}
		bad := func(format string, args ...any) error {
			return fmt.Errorf("%s: "+format, append([]any{key}, args...)...)
		}
		if !isName(name) {
			return nil, bad("%q is not the name of a property", name)
		}
		if slices.Contains(own[:], name) {
			return nil, bad("the property %s is the runtime's to set", name)
		}
		value, err := dbus.ParseVariant(annotations[key], dbus.Signature{})
		if err != nil {
			return nil, bad("%w", err)
		}
		if rest, ok := strings.CutSuffix(name, "Sec"); ok && rest != "" && rest[len(rest)-1] >= 'a' && rest[len(rest)-1] <= 'z' {
			n, ok := microseconds(value.Value())
			if !ok {
				return nil, bad("%s is not a number of seconds", annotations[key])
			}
			name, value = rest+"USec", dbus.MakeVariant(n)
		}
		all = append(all, Property{name, value})
	}
	return all, nil
}

func isName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(s) >= 3
}

// microseconds turns a number of seconds of any D-Bus type into systemd's unit.
func microseconds(v any) (uint64, bool) {
	var seconds float64
	switch n := v.(type) {
	case byte:
		seconds = float64(n)
	case int16:
		seconds = float64(n)
	case uint16:
		seconds = float64(n)
	case int32:
		seconds = float64(n)
	case uint32:
		seconds = float64(n)
	case int64:
		seconds = float64(n)
	case uint64:
		if n == math.MaxUint64 {
			return n, true // 'infinity'
		}
		seconds = float64(n)
	case float64:
		seconds = n
	default:
		return 0, false
	}
	if !(seconds >= 0 && seconds < 1<<43) { // so that the product fits
		return 0, false
	}
	return uint64(seconds * 1e6), true
}
