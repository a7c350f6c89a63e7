package progress

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	var out bytes.Buffer
	d := New(&out)
	d.Message("latest: Pulling from library/busybox")
	for _, s := range []State{Waiting, Downloading, Downloading, Extracting, Complete, Complete} {
		d.Update("0123456789ab", s, 1, 2)
	}
	d.Update("ba9876543210", Exists, 0, 0)
	d.Close()
	want := "latest: Pulling from library/busybox\n0123456789ab: Pulling fs layer\n0123456789ab: Pull complete\nba9876543210: Already exists\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// screen interprets the few escapes that bars uses.
func screen(s string) []string {
	var rows []string
	y := 0
	for len(s) > 0 {
		switch {
		case strings.HasPrefix(s, "\x1b[K"):
			s = s[3:]
		case strings.HasPrefix(s, "\x1b["):
			var n int
			fmt.Sscanf(s, "\x1b[%dA", &n)
			y -= n
			s = s[strings.IndexByte(s, 'A')+1:]
		default:
			s = strings.TrimPrefix(s, "\r")
			end := strings.IndexByte(s, '\n')
			for len(rows) <= y {
				rows = append(rows, "")
			}
			rows[y] = strings.TrimSuffix(s[:end], "\x1b[K")
			y++
			s = s[end+1:]
		}
	}
	return rows
}

func TestBars(t *testing.T) {
	for _, width := range []int{20, 40, 80, 200} {
		var out bytes.Buffer
		b := newBars(&out, func() (int, int, error) { return width, 6, nil })
		for i := range 8 {
			b.Update(fmt.Sprintf("layer%07d", i), Downloading, 50, 100)
		}
		b.Message("hello")
		for i := range 8 {
			b.Update(fmt.Sprintf("layer%07d", i), Complete, 100, 100)
		}
		b.Close()
		rows := screen(out.String())
		if rows[0] != "hello" || len(rows) != 5 {
			t.Errorf("width %d: screen is %q", width, rows)
		}
		for _, row := range rows {
			if len(row) >= width {
				t.Errorf("width %d: line %q has %d columns", width, row, len(row))
			}
		}
		if rows[1] != "layer0000000: Pull complete"[:min(width-1, 27)] {
			t.Errorf("width %d: %q", width, rows[1])
		}
	}
}

func TestBarsLimitDrawing(t *testing.T) {
	var out countWriter
	b := newBars(&out, func() (int, int, error) { return 80, 24, nil })
	begin := time.Now()
	for i := range 10000 {
		b.Update("0123456789ab", Downloading, int64(i), 10000)
	}
	b.Close()
	if limit := int(time.Since(begin)/frame) + 3; out.n > limit {
		t.Errorf("%d drawings, want at most %d", out.n, limit)
	}
}

type countWriter struct{ n int }

func (c *countWriter) Write(p []byte) (int, error) { c.n++; return len(p), nil }

func TestBarsShowParts(t *testing.T) {
	l := &bar{id: "0123456789ab", state: Downloading, done: 50, total: 100}
	for want, parts := range map[string][][2]int64{
		"[=====>    ]": nil, "[===>  ==> ]": {{0, 30}, {60, 80}}, "[=> ===>===]": {{0, 10}, {30, 60}, {70, 100}}, "[>         ]": {{0, 1}, {2, 5}},
	} {
		l.parts = parts
		if got := "[" + l.body(10, l.done) + "]"; got != want {
			t.Errorf("%v: %s, want %s", parts, got, want)
		}
	}
	l.parts, l.state = [][2]int64{{0, 1}, {50, 60}}, Extracting
	if got := l.body(10, 50); got != "=====>    " {
		t.Errorf("extracting: %q", got)
	}
}
