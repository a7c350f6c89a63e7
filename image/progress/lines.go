package progress

import (
	"fmt"
	"io"
	"sync"
)

// lines prints a line for each state that a layer reaches, for logs and pipes.
type lines struct {
	mu   sync.Mutex
	w    io.Writer
	last map[string]State
}

func (l *lines) Message(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, text)
}

func (l *lines) Update(id string, s State, _, _ int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[id] == s || l.last[id].Final() {
		return
	}
	l.last[id] = s
	// Progress itself is no news in a log; beginnings and ends are.
	if s == Waiting || s == Extracting || s == Pushing {
		return
	}
	text := string(s)
	if s == Downloading {
		text = "Pulling fs layer"
	}
	fmt.Fprintf(l.w, "%s: %s\n", id, text)
}

func (l *lines) Parts(string, [][2]int64) {}

func (l *lines) Close() {}
