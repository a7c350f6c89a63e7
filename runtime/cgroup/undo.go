package cgroup

import "strings"

// present gives for each setting the one that brings back what is in the file now, as far as that can be told. read
// gives a file of the groups, and "" for one that is not there.
func (l list) present(read func(file string) string) list {
	var before list
	for i := range l {
		for s := &l[i]; s != nil; s = s.or {
			text := read(s.file)
			if text == "" {
				continue
			}
			if value := s.presentValue(text); value != "" {
				before = append(before, setting{field: s.field, controller: s.controller, file: s.file, value: value, lifts: true})
			}
			break
		}
	}
	return before
}

func (s *setting) presentValue(text string) string {
	key, _, keyed := strings.Cut(s.value, " ")
	switch {
	case s.file == "memory.oom_control":
		return number0or1(field(text, "oom_kill_disable"))
	case s.file == "cpu.max", !keyed:
		first, _, _ := strings.Cut(text, "\n")
		first = strings.TrimPrefix(first, "default ")
		if first == "" {
			return "\n" // writing nothing at all would not reach the kernel
		}
		return first
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, key+" ") {
			return strings.TrimSpace(line)
		}
	}
	switch {
	case s.file == "io.max":
		return key + " rbps=max wbps=max riops=max wiops=max"
	case s.file == "io.weight":
		return key + " default"
	case s.controller == "blkio", s.file == "io.bfq.weight":
		return key + " 0"
	}
	return ""
}

func number0or1(n uint64) string {
	if n == 0 {
		return "0"
	}
	return "1"
}

// takeBack writes settings and passes over what is refused.
func (l list) takeBack(put func(*setting) error) {
	for range 2 { // limits that contradict each other meanwhile
		for i := range l {
			_ = put(&l[i])
		}
	}
}
