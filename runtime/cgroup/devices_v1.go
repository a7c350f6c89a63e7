package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// deviceSet is what a v1 devices group can hold: one answer for all devices, and exceptions from it in the order in
// which they came.
type deviceSet struct {
	allow  bool // the answer for devices that are no exception
	except []rule
}

// newDeviceSet applies rules in their order to 'deny all'. The result needs no more writes than it has exceptions, and
// shows a rule that v1 cannot express (the kernel would silently ignore it).
func newDeviceSet(rules []rule) (deviceSet, error) {
	var s deviceSet
	for _, r := range rules {
		if err := s.apply(r); err != nil {
			return s, &LimitError{"linux.resources.devices", err}
		}
	}
	return s, nil
}

func (s *deviceSet) apply(r rule) error {
	if r.everything() {
		s.allow, s.except = r.allow, nil
		return nil
	}
	if r.kind == 'a' { // in the kernel's files 'a' means everything, whatever stands after it
		for _, kind := range [2]byte{'b', 'c'} {
			r.kind = kind
			if err := s.apply(r); err != nil {
				return err
			}
		}
		return nil
	}
	if r.allow != s.allow {
		for i, e := range s.except {
			if e.kind == r.kind && e.major == r.major && e.minor == r.minor {
				s.except[i].access |= r.access
				return nil
			}
		}
		s.except = append(s.except, r)
		return nil
	}
	kept := s.except[:0]
	for _, e := range s.except {
		if e.kind == r.kind && e.access&r.access != 0 && overlap(e.major, r.major) && overlap(e.minor, r.minor) {
			if !covers(r.major, e.major) || !covers(r.minor, e.minor) {
				return fmt.Errorf("cgroup v1 cannot take %q out of %q", r, e)
			}
			e.access &^= r.access
		}
		if e.access != 0 {
			kept = append(kept, e)
		}
	}
	s.except = kept
	return nil
}

func overlap(a, b int64) bool { return a == anyNumber || b == anyNumber || a == b }
func covers(a, b int64) bool  { return a == anyNumber || a == b }

// write gives the set to the group whose directory is open. A group in use is changed by the difference, so that its
// processes never see an open fail that both the old and the new rules allow.
func (s deviceSet) write(dir int, fresh bool) error {
	var add, drop []rule
	if !fresh && !s.allow {
		text, err := readAt(dir, "devices.list")
		if err != nil {
			return fmt.Errorf("read devices.list: %w", err)
		}
		if now, ok := parseDeviceList(text); ok {
			add, drop = difference(now, s.except)
			err := writeRules(dir, "devices.allow", add)
			if err == nil {
				err = writeRules(dir, "devices.deny", drop)
			}
			if err != nil {
				restoreRules(dir, now)
			}
			return err
		}
	}
	all := rule{kind: 'a', major: anyNumber, minor: anyNumber, access: accessAll}
	base, other := "devices.deny", "devices.allow"
	if s.allow {
		base, other = other, base
	}
	if err := writeRules(dir, base, []rule{all}); err != nil {
		return err
	}
	return writeRules(dir, other, s.except)
}

// restoreRules brings back a list of exceptions of which a part was changed.
func restoreRules(dir int, want []rule) {
	text, err := readAt(dir, "devices.list")
	if err != nil {
		return
	}
	if now, ok := parseDeviceList(text); ok {
		add, drop := difference(now, want)
		_ = writeRules(dir, "devices.allow", add)
		_ = writeRules(dir, "devices.deny", drop)
	}
}

func writeRules(dir int, file string, rules []rule) error {
	if len(rules) == 0 {
		return nil
	}
	fd, err := openIn(dir, file, unix.O_WRONLY)
	if err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	defer unix.Close(fd)
	for _, r := range rules {
		if err := writeFD(fd, r.String()); err != nil {
			if errors.Is(err, unix.EPERM) {
				err = errors.New("the group above does not allow it")
			}
			return &LimitError{"linux.resources.devices", fmt.Errorf("write %q to %s: %w", r, file, err)}
		}
	}
	return nil
}

// parseDeviceList reads devices.list. It reports false for a group that allows all: its exceptions are not shown.
func parseDeviceList(text string) ([]rule, bool) {
	var rules []rule
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 || len(f[0]) != 1 || f[0] == "a" {
			return nil, false
		}
		r := rule{allow: true, kind: f[0][0]}
		major, minor, _ := strings.Cut(f[1], ":")
		r.major, r.minor = parseNumber(major), parseNumber(minor)
		for i, bit := range [3]uint8{accessRead, accessWrite, accessMknod} {
			if strings.IndexByte(f[2], "rwm"[i]) >= 0 {
				r.access |= bit
			}
		}
		rules = append(rules, r)
	}
	return rules, true
}

func parseNumber(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return anyNumber
	}
	return n
}

// difference gives what to allow and what to deny to come from one list of exceptions to another.
func difference(now, want []rule) (add, drop []rule) {
	minus := func(a, b []rule) (left []rule) {
		for _, r := range a {
			same := func(o rule) bool { return o.kind == r.kind && o.major == r.major && o.minor == r.minor }
			if i := slices.IndexFunc(b, same); i >= 0 {
				r.access &^= b[i].access
			}
			if r.access != 0 {
				left = append(left, r)
			}
		}
		return left
	}
	return minus(want, now), minus(now, want)
}
