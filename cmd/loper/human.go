package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"

	"loper.run/container"
)

// ago is how long before now a moment was, as docker says it.
func ago(t, now time.Time) string {
	if t.IsZero() || t.Unix() <= 0 {
		return "N/A"
	}
	return units.HumanDuration(now.Sub(t)) + " ago"
}

// statusText is what `ps` says of a container's state.
func statusText(s container.Status, now time.Time) string {
	switch s.State {
	case container.Running:
		return "Up " + units.HumanDuration(now.Sub(s.StartedAt))
	case container.Paused:
		return "Up " + units.HumanDuration(now.Sub(s.StartedAt)) + " (Paused)"
	case container.Exited:
		return fmt.Sprintf("Exited (%d) %s", s.ExitCode, ago(s.FinishedAt, now))
	case container.Removing:
		return "Removal In Progress"
	case container.Dead:
		return "Dead"
	}
	return "Created"
}

// commandText is a program and its arguments as one quoted string; arguments
// with spaces are in single quotes.
func commandText(args []string, whole bool) string {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; i > 0 && strings.Contains(a, " ") {
			words[i] = "'" + a + "'"
		}
	}
	s := strings.Join(words, " ")
	if !whole {
		s = ellipsis(s, 20)
	}
	return fmt.Sprintf("%q", s)
}

// ellipsis cuts a text to a number of characters, the last of which then is …
func ellipsis(s string, length int) string {
	if r := []rune(s); len(r) > length {
		return string(r[:length-1]) + "…"
	}
	return s
}

// shortID is the first 12 digits of an id.
func shortID(id string, whole bool) string {
	if whole || len(id) < 12 {
		return id
	}
	return id[:12]
}

// shortDigest is the first 12 digits of a digest, without its algorithm.
func shortDigest(digest string, whole bool) string {
	if whole {
		return digest
	}
	_, hex, _ := strings.Cut(digest, ":")
	return shortID(hex, false)
}

// splitTag parts repository and tag; the repository may have a port.
func splitTag(name string) (repository, tag string) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 || strings.Contains(name[i:], "/") {
		return name, "<none>"
	}
	return name[:i], name[i+1:]
}
