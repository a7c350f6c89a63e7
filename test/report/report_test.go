package main

import (
	"strings"
	"testing"
)

const stream = `{"Action":"start","Package":"loper.run/a"}
{"Action":"run","Package":"loper.run/a","Test":"TestGood"}
{"Action":"output","Package":"loper.run/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"loper.run/a","Test":"TestGood","Output":"    a_test.go:9: chatter\n"}
{"Action":"pass","Package":"loper.run/a","Test":"TestGood"}
{"Action":"output","Package":"loper.run/a","Test":"TestSkip","Output":"=== RUN   TestSkip\n"}
{"Action":"output","Package":"loper.run/a","Test":"TestSkip","Output":"    a_test.go:11: needs root: mounts\n"}
{"Action":"output","Package":"loper.run/a","Test":"TestSkip","Output":"--- SKIP: TestSkip (0.00s)\n"}
{"Action":"skip","Package":"loper.run/a","Test":"TestSkip"}
{"Action":"output","Package":"loper.run/a","Output":"PASS\n"}
{"Action":"output","Package":"loper.run/a","Output":"ok  \tloper.run/a\t0.1s\n"}
{"Action":"pass","Package":"loper.run/a"}
`

const broken = `{"Action":"output","Package":"loper.run/b","Test":"TestBad","Output":"    b_test.go:3: got 1, want 2\n"}
{"Action":"fail","Package":"loper.run/b","Test":"TestBad"}
{"Action":"output","Package":"loper.run/b","Output":"FAIL\tloper.run/b\t0.1s\n"}
{"Action":"fail","Package":"loper.run/b"}
`

func feed(s string) (*report, string) {
	var out strings.Builder
	r := newReport(&out, false)
	for line := range strings.Lines(s) {
		r.line([]byte(line))
	}
	r.close()
	return r, out.String()
}

func TestReport(t *testing.T) {
	r, out := feed(stream)
	if r.failed() {
		t.Error("a good run is reported as failed")
	}
	for _, want := range []string{"ok  \tloper.run/a", "needs root: mounts (1)", "a TestSkip", "\n1 passed, 0 failed, 1 skipped\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("report lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "chatter") {
		t.Errorf("a passing test's output is shown:\n%s", out)
	}
}

func TestReportFailures(t *testing.T) {
	for name, in := range map[string]string{
		"a failing test": stream + broken,
		"a build that fails": stream + `{"Action":"build-output","ImportPath":"loper.run/c","Output":"c.go:1: no\n"}
{"Action":"build-fail","ImportPath":"loper.run/c"}
`,
		"nothing run": "",
	} {
		if r, out := feed(in); !r.failed() {
			t.Errorf("%s: not reported as failed:\n%s", name, out)
		}
	}
	if _, out := feed(stream + broken); !strings.Contains(out, "got 1, want 2") || !strings.Contains(out, "loper.run/b TestBad") {
		t.Errorf("the failure's own words are missing:\n%s", out)
	}
}

func TestReportSkips(t *testing.T) {
	for reason, bad := range map[string]bool{"needs root": false, "needs the moon": true} {
		var out strings.Builder
		r := newReport(&out, false)
		r.allowed = []string{reason}
		for line := range strings.Lines(stream) {
			r.line([]byte(line))
		}
		r.close()
		if r.failed() != bad || bad != strings.Contains(out.String(), "a TestSkip must not skip here: needs root: mounts") {
			t.Errorf("with %q allowed, failed is %v:\n%s", reason, r.failed(), out.String())
		}
	}
}
