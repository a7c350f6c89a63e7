package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"loper.run/container"
)

var containerFilters = []string{"id", "name", "label", "status", "exited", "ancestor", "volume", "network", "publish", "expose", "before", "since"}

const filterHelp = "id, name, label, status, exited, ancestor, volume, network, publish, expose, before, since"

// containerMatch compiles filters to one question.
func containerMatch(e *container.Engine, fs filters) (func(listed) bool, error) {
	before, err := createdAt(e, fs["before"])
	if err != nil {
		return nil, err
	}
	since, err := createdAt(e, fs["since"])
	if err != nil {
		return nil, err
	}
	var names []*regexp.Regexp
	for _, pattern := range fs["name"] {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("invalid filter 'name=%s': %w", pattern, err)
		}
		names = append(names, re)
	}
	published, err := portFilter(fs["publish"])
	if err != nil {
		return nil, err
	}
	exposed, err := portFilter(fs["expose"])
	if err != nil {
		return nil, err
	}
	if err := checkStates(fs); err != nil {
		return nil, err
	}
	return func(l listed) bool {
		named := slices.ContainsFunc(names, func(re *regexp.Regexp) bool {
			return re.MatchString("/"+l.Name) || re.MatchString(l.Name)
		})
		return (named || len(names) == 0) &&
			fs.match("id", func(v string) bool { return strings.HasPrefix(l.ID, v) }) &&
			fs.match("status", func(v string) bool { return v == string(l.status.State) }) &&
			fs.match("exited", func(v string) bool {
				return l.status.State == container.Exited && v == strconv.Itoa(l.status.ExitCode)
			}) &&
			fs.match("ancestor", func(v string) bool { return descends(l.Container, v) }) &&
			fs.match("volume", func(v string) bool { return hasMount(l.Container, v) }) &&
			fs.match("network", func(v string) bool { return slices.Contains(l.Settings.NetworkNames(), v) }) &&
			(published == nil || slices.ContainsFunc(portList(l.ports), func(p psPort) bool { return p.public > 0 && published[p.key(p.public)] })) &&
			(exposed == nil || slices.ContainsFunc(portList(l.ports), func(p psPort) bool { return exposed[p.key(p.private)] })) &&
			(before.IsZero() || l.Created.Before(before)) &&
			(since.IsZero() || l.Created.After(since)) &&
			fs.labels(l.Labels())
	}, nil
}

// checkStates refuses states and exit codes that no container can have.
func checkStates(fs filters) error {
	for _, s := range fs["status"] {
		switch container.State(s) {
		case container.Created, container.Running, container.Paused, container.Exited, container.Removing, container.Dead:
		default:
			return fmt.Errorf("invalid filter 'status=%s': known are created, running, paused, exited, removing, dead", s)
		}
	}
	for _, code := range fs["exited"] {
		if _, err := strconv.Atoi(code); err != nil {
			return fmt.Errorf("invalid filter 'exited=%s': write an exit code", code)
		}
	}
	return nil
}

// createdAt is when the last of the named containers was created.
func createdAt(e *container.Engine, names []string) (at time.Time, err error) {
	for _, name := range names {
		ctr, err := find(e, name)
		if err != nil {
			return at, err
		}
		at = ctr.Created
	}
	return at, nil
}

// descends reports whether a container was made of an image: its name, with or
// without the tag, or its id or the beginning of it.
func descends(ctr *container.Container, name string) bool {
	repository, tag := splitTag(ctr.ImageName)
	id := strings.TrimPrefix(ctr.ImageID, "sha256:")
	return name == ctr.ImageName || name == repository && tag == "latest" || name == ctr.Settings.Image ||
		len(name) >= 4 && strings.HasPrefix(id, strings.TrimPrefix(name, "sha256:"))
}

// hasMount reports whether a container has a volume of that name, or a mount
// from or at that path.
func hasMount(ctr *container.Container, name string) bool {
	return slices.ContainsFunc(ctr.Record.Mounts, func(m container.Mount) bool {
		return m.Source == name || m.Target == name
	})
}
