package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// filters holds what --filter asked: values of the same key are alternatives,
// different keys must all match.
type filters map[string][]string

// parseFilters reads KEY=VALUE words whose keys must be among allowed.
func parseFilters(words []string, allowed ...string) (filters, error) {
	f := filters{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if !ok {
			return nil, fmt.Errorf("invalid filter '%s': write KEY=VALUE", w)
		}
		if !slices.Contains(allowed, key) {
			return nil, fmt.Errorf("invalid filter '%s': known are %s", key, strings.Join(allowed, ", "))
		}
		f[key] = append(f[key], strings.TrimSpace(value))
	}
	return f, nil
}

// match reports whether any value of key satisfies f; it does when the key was
// not asked for.
func (fs filters) match(key string, f func(value string) bool) bool {
	values, asked := fs[key]
	return !asked || slices.ContainsFunc(values, f)
}

// labels reports whether all values of the filter "label" are among labels:
// KEY or KEY=VALUE each.
func (fs filters) labels(labels map[string]string) bool {
	for _, want := range fs["label"] {
		key, value, valued := strings.Cut(want, "=")
		have, ok := labels[key]
		if !ok || valued && have != value {
			return false
		}
	}
	return true
}

// bool reads a filter that is true or false; given is false when it was not
// asked for.
func (fs filters) bool(key string) (value, given bool, err error) {
	values, ok := fs[key]
	if !ok {
		return false, false, nil
	}
	switch strings.ToLower(values[len(values)-1]) {
	case "1", "true":
		return true, true, nil
	case "0", "false":
		return false, true, nil
	}
	return false, false, fmt.Errorf("invalid filter '%s=%s': write true or false", key, values[len(values)-1])
}

// parseTime reads a moment: a date as in RFC 3339 or shorter, seconds since
// 1970, or a duration before now as in 90m.
func parseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	seconds, fraction, parted := strings.Cut(s, ".")
	if sec, err := strconv.ParseInt(seconds, 10, 64); err == nil && digits(seconds+fraction) && parted == (fraction != "") {
		nsec, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
		return time.Unix(sec, nsec), nil
	}
	return time.Time{}, fmt.Errorf("invalid time '%s': write 2006-01-02T15:04:05Z, seconds since 1970, or 90m", s)
}

// digits reports whether s has nothing but digits.
func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
