package conformance_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// verdict is what a program said.
type verdict struct {
	pass   bool
	said   string // the first complaint, in a line
	output string // all of it, when it failed
}

var (
	notOK     = regexp.MustCompile(`(?m)^not ok .*$`)
	nothing   = regexp.MustCompile(`(?m)^1\.\.0$`)
	complaint = regexp.MustCompile(`"error": "([^"].*)"`)
)

// run runs one program; a minute is more than any needs.
func (r *runner) run(name string) verdict {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	temporary, err := os.MkdirTemp(r.suite.dir, name+"-")
	if err != nil {
		return verdict{said: err.Error()}
	}
	defer os.RemoveAll(temporary)
	if err := os.Chmod(temporary, 0o755); err != nil {
		return verdict{said: err.Error()}
	}
	cmd := exec.CommandContext(ctx, r.suite.program(name))
	cmd.Dir = r.suite.dir
	cmd.Env = append(os.Environ(), "RUNTIME="+r.runtime, "TMPDIR="+temporary)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // a container that it left holds its streams
	}
	return judge(stdout.String(), stderr.String(), err)
}

// judge reads the Test Anything Protocol as these programs write it: some tell of a failure only in a note to an empty
// list of tests, and some that pass say nothing at all.
func judge(stdout, stderr string, err error) verdict {
	v := verdict{pass: true, output: stdout + stderr}
	switch note := complaint.FindStringSubmatch(stdout); {
	case notOK.MatchString(stdout):
		v.pass, v.said = false, notOK.FindString(stdout)
	case nothing.MatchString(stdout) && note != nil:
		v.pass, v.said, _ = false, note[1], ""
	case err != nil:
		last := strings.Split(strings.TrimSpace(stderr), "\n")
		v.pass, v.said = false, err.Error()+": "+last[len(last)-1]
	}
	if v.pass {
		v.output = ""
	} else if lines := strings.Split(v.output, "\n"); len(lines) > maxLines {
		v.output = strings.Join(append(lines[:maxLines], "…"), "\n")
	}
	return v
}

const maxLines = 60

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		stdout string
		err    error
		pass   bool
	}{
		{"TAP version 13\nok 1 - a\n1..1\n", nil, true},
		{"ok 1 - a\nnot ok 2 - b\n1..2\n", nil, false},
		{"  {\n    \"error\": \"hooks\"\n  }\n1..0\n", nil, false},
		{"ok 1\n    \"error\": \"exit status 1\"\n1..1\n", nil, true}, // an error that was wanted
		{"ok 1\n1..1\n1..0\n", nil, true},
		{"", nil, true},
		{"ok 1\n1..1\n", errors.New("exit status 1"), false},
	} {
		if v := judge(c.stdout, "", c.err); v.pass != c.pass {
			t.Errorf("%q, %v: pass is %v", c.stdout, c.err, v.pass)
		}
	}
}
