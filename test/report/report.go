package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build output
	Elapsed                       float64
}

type key struct{ pkg, test string }

type report struct {
	out     io.Writer
	verbose bool
	allowed []string // how reasons to skip may begin; nil: as they like
	begun   time.Time

	output          map[key][]string // kept until the test ends
	skips           map[string][]string
	pass, fail      int
	skip, badBuilds int
	failures        []string
}

func newReport(out io.Writer, verbose bool) *report {
	return &report{out: out, verbose: verbose, begun: time.Now(), output: map[key][]string{}, skips: map[string][]string{}}
}

func (r *report) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		r.out.Write(line) // the go command's own words
		return
	}
	k := key{e.Package, e.Test}
	switch e.Action {
	case "output":
		if e.Test == "" {
			r.packageLine(e.Output)
			return
		}
		r.output[k] = append(r.output[k], e.Output)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "build-fail":
		r.badBuilds++
	case "pass":
		r.end(k, &r.pass)
	case "fail":
		if e.Test == "" {
			r.failures = append(r.failures, e.Package)
		} else {
			fmt.Fprintf(r.out, "%s", strings.Join(r.output[k], ""))
			r.failures = append(r.failures, e.Package+" "+e.Test)
		}
		r.end(k, &r.fail)
	case "skip":
		if e.Test != "" {
			reason := skipReason(r.output[k])
			name := strings.TrimPrefix(e.Package, "loper.run/") + " " + e.Test
			r.skips[reason] = append(r.skips[reason], name)
			if !r.maySkip(reason) {
				r.failures = append(r.failures, fmt.Sprintf("%s must not skip here: %s", name, reason))
			}
		}
		r.end(k, &r.skip)
	}
}

// packageLine passes on what a package says of itself (ok, FAIL, panics, TestMain's words) but not each
// test's framing.
func (r *report) packageLine(s string) {
	if s == "PASS\n" || strings.HasPrefix(s, "coverage:") {
		return
	}
	fmt.Fprint(r.out, s)
}

func (r *report) end(k key, count *int) {
	if k.test != "" {
		*count++
		if r.verbose {
			fmt.Fprint(r.out, strings.Join(r.output[k], ""))
		}
	}
	delete(r.output, k)
}

// maySkip says whether a reason is good enough where the machine is known.
func (r *report) maySkip(reason string) bool {
	return r.allowed == nil || slices.ContainsFunc(r.allowed, func(begin string) bool { return strings.HasPrefix(reason, begin) })
}

// skipReason is what the test said before it skipped, without the file and line.
func skipReason(output []string) string {
	var said []string
	for _, s := range output {
		s = strings.TrimSpace(s)
		if s == "" || strings.HasPrefix(s, "=== ") || strings.HasPrefix(s, "--- ") {
			continue
		}
		if _, rest, ok := strings.Cut(s, ".go:"); ok {
			if _, reason, ok := strings.Cut(rest, ": "); ok {
				s = reason
			}
		}
		said = append(said, s)
	}
	if len(said) == 0 {
		return "(no reason given)"
	}
	return said[len(said)-1]
}

func (r *report) failed() bool {
	return r.fail > 0 || r.badBuilds > 0 || len(r.failures) > 0 || r.pass == 0
}

func (r *report) close() {
	if r.skip > 0 {
		fmt.Fprintf(r.out, "\n%d skipped:\n", r.skip)
	}
	for _, reason := range sortedKeys(r.skips) {
		tests := r.skips[reason]
		fmt.Fprintf(r.out, "  %s (%d)\n", reason, len(tests))
		for i, test := range tests {
			if i == 5 && !r.verbose {
				fmt.Fprintf(r.out, "      and %d more\n", len(tests)-i)
				break
			}
			fmt.Fprintf(r.out, "      %s\n", test)
		}
	}
	if len(r.failures) > 0 {
		fmt.Fprintf(r.out, "\nfailed:\n")
		for _, f := range r.failures {
			fmt.Fprintf(r.out, "  %s\n", f)
		}
	}
	fmt.Fprintf(r.out, "\nin %s:\n%d passed, %d failed, %d skipped\n", time.Since(r.begun).Round(time.Second), r.pass, r.fail+r.badBuilds, r.skip)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
