package main

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for want, in := range map[time.Duration]times{0: nil, 5: {5}, 3: {9, 1, 3}} {
		if got := in.median(); got != want {
			t.Errorf("median of %v is %v, want %v", in, got, want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	got := markdown([][]string{{"what", "x"}, {"≤ run", "long"}})
	want := "| what  | x    |\n|-------|------|\n| ≤ run | long |\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
