package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// environment puts the variables of files before those of words. A word
// without = takes the caller's value, and is left out when there is none.
func environment(files, words []string) ([]string, error) {
	var env []string
	for _, file := range files {
		lines, err := readLines(file)
		if err != nil {
			return nil, err
		}
		for n, line := range lines {
			name, _, _ := strings.Cut(line, "=")
			if name == "" || strings.ContainsAny(name, " \t") {
				return nil, fmt.Errorf("%s: line %d of variables: invalid name '%s'", file, n+1, name)
			}
		}
		env = append(env, lines...)
	}
	var all []string
	for _, w := range append(env, words...) {
		name, _, valued := strings.Cut(w, "=")
		if name == "" {
			return nil, fmt.Errorf("invalid environment variable: '%s'", w)
		}
		if valued {
			all = append(all, w)
		} else if v, ok := os.LookupEnv(name); ok {
			all = append(all, name+"="+v)
		}
	}
	return all, nil
}

// keyValues puts the KEY=VALUE lines of files before words, as a map.
func keyValues(files, words []string) (map[string]string, error) {
	var m map[string]string
	var lines []string
	for _, file := range files {
		l, err := readLines(file)
		if err != nil {
			return nil, err
		}
		lines = append(lines, l...)
	}
	for _, w := range append(lines, words...) {
		key, v, _ := strings.Cut(w, "=")
		if key == "" {
			return nil, fmt.Errorf("invalid label '%s': empty name", w)
		}
		put(&m, key, v)
	}
	return m, nil
}

// readLines returns the lines of a file that are neither empty nor comments.
func readLines(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	s := bufio.NewScanner(io.LimitReader(f, 16<<20))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		if len(lines) == 0 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("%s: not UTF-8: %q", path, line)
		}
		if line = strings.TrimLeft(line, " \t"); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return lines, nil
}
