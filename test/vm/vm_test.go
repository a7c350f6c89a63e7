package main

import (
	"strings"
	"testing"
)

// What the machine says becomes events of go test -json, and none of its ends is taken for another.
func TestResults(t *testing.T) {
	const framed = "\x16=== RUN   TestA\n\x16--- PASS: TestA (0.01s)\n\x16PASS\n"
	for name, c := range map[string]struct {
		said  string
		want  []string
		not   string
		ended bool
	}{
		"passes":  {"vm: up 3 s\n\nvm: begin root launch\n" + framed + "\nvm: done 0\nvm: end 0\n", []string{`"Action":"pass","Package":"loper.run/launch (6.1 plain, root)","Test":"TestA"`}, `"fail"`, true},
		"panics":  {"\nvm: begin user launch\n\x16=== RUN   TestA\npanic: no\n\nvm: done 2\nvm: end 0\n", []string{`"Action":"fail"`, "status 2", "(6.1 plain, user)"}, `"pass"`, true},
		"is lost": {"\nvm: begin root launch\n" + framed, []string{`"Action":"fail"`, "status the machine's end"}, "", false},
		"is mute": {"", nil, "Action", false},
	} {
		var out strings.Builder
		ended, err := results(strings.NewReader(c.said), &out, machine{kernel: "6.1"})
		if err != nil || ended != c.ended {
			t.Errorf("%s: ended %v, %v", name, ended, err)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, &out)
			}
		}
		if c.not != "" && strings.Contains(out.String(), c.not) {
			t.Errorf("%s: %q is in\n%s", name, c.not, &out)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		kernel, initial string
		short           bool
		want            string
	}{
		{"", "", false, "6.12 systemd, 6.1 plain"},
		{"", "", true, "6.1 plain"},
		{"6.12", "", true, "6.12 systemd"},
		{"6.12", "plain", false, "6.12 plain"},
		{"6.2", "", false, "-k 6.2: 6.1 and 6.12 are known"},
		{"", "upstart", false, "-init upstart: systemd and plain are known"},
	} {
		list, err := choose(c.kernel, c.initial, c.short)
		var names []string
		for _, m := range list {
			names = append(names, m.String())
		}
		got := strings.Join(names, ", ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("choose(%q, %q, %v) is %q, want %q", c.kernel, c.initial, c.short, got, c.want)
		}
	}
}
