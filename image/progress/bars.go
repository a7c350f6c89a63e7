package progress

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/docker/go-units"
)

// frame is the shortest time between two drawings: twenty a second look smooth
// and cost nothing, even over a slow line.
const frame = 50 * time.Millisecond

// bars keeps one line for each layer at the bottom of a terminal and redraws
// them in place.
type bars struct {
	mu     sync.Mutex
	w      io.Writer
	size   func() (width, height int, err error)
	layers []*bar
	byID   map[string]*bar
	drawn  int       // lines on the screen that belong to the bars
	next   time.Time // no drawing before
	timer  *time.Timer
	closed bool
}

type bar struct {
	id          string
	state       State
	done, total int64
	parts       [][2]int64
}

func newBars(w io.Writer, size func() (int, int, error)) *bars {
	return &bars{w: w, size: size, byID: make(map[string]*bar)}
}

func (b *bars) Message(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out bytes.Buffer
	b.rewind(&out)
	out.WriteString(text + "\x1b[K\n")
	b.draw(&out)
}

func (b *bars) Update(id string, s State, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.byID[id]
	if l == nil {
		l = &bar{id: id}
		b.byID[id] = l
		b.layers = append(b.layers, l)
	}
	if l.state.Final() {
		return
	}
	l.state, l.done, l.total = s, done, total
	wait := time.Until(b.next)
	if wait <= 0 {
		b.redraw()
	} else if b.timer == nil {
		b.timer = time.AfterFunc(wait, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.redraw()
		})
	}
}

func (b *bars) Parts(id string, have [][2]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.byID[id]; l != nil {
		l.parts = have
	}
}

func (b *bars) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.redraw()
	b.closed = true
}

func (b *bars) redraw() {
	if b.closed {
		return
	}
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	var out bytes.Buffer
	b.rewind(&out)
	b.draw(&out)
}

// rewind moves the cursor to the first line of the bars.
func (b *bars) rewind(out *bytes.Buffer) {
	if b.drawn > 0 {
		fmt.Fprintf(out, "\x1b[%dA\r", b.drawn)
	}
}

// draw writes all lines in one write, so that a terminal never shows half a frame.
func (b *bars) draw(out *bytes.Buffer) {
	width, height, err := b.size()
	if err != nil || width < 20 {
		width = 80
	}
	if err != nil || height < 4 {
		height = 24
	}
	shown := b.visible(height - 2)
	for _, l := range shown {
		out.WriteString(l.line(width - 1))
		out.WriteString("\x1b[K\n")
	}
	for range b.drawn - len(shown) {
		out.WriteString("\x1b[K\n")
	}
	b.drawn = max(b.drawn, len(shown))
	b.w.Write(out.Bytes())
	b.next = time.Now().Add(frame)
}

// visible picks what fits on the screen; what is not finished comes first.
func (b *bars) visible(n int) []*bar {
	if len(b.layers) <= n {
		return b.layers
	}
	open := 0
	for _, l := range b.layers {
		if !l.state.Final() {
			open++
		}
	}
	done := max(0, n-open)
	var shown []*bar
	for _, l := range b.layers {
		if len(shown) == n {
			break
		}
		if l.state.Final() {
			if done == 0 {
				continue
			}
			done--
		}
		shown = append(shown, l)
	}
	return shown
}

// line fits id, state, bar and numbers into width columns; the bar shrinks first.
func (l *bar) line(width int) string {
	head := fmt.Sprintf("%s: %s", l.id, l.state)
	if (l.state == Downloading || l.state == Extracting || l.state == Pushing) && l.total > 0 {
		done := min(l.done, l.total)
		numbers := fmt.Sprintf("%s/%s", units.HumanSize(float64(done)), units.HumanSize(float64(l.total)))
		room := min(50, width-len(head)-len(numbers)-5)
		if room >= 10 {
			head = fmt.Sprintf("%-26s[%s]", head, l.body(room, done))
		}
		head += " " + numbers
	}
	if len(head) > width {
		head = head[:width]
	}
	return head
}

// body draws what has come in; of several parts each where it is.
func (l *bar) body(room int, done int64) string {
	parts := l.parts
	if l.state != Downloading || len(parts) < 2 {
		parts = [][2]int64{{0, done}}
	}
	columns := bytes.Repeat([]byte(" "), room)
	for _, p := range parts {
		from, to := int(int64(room)*p[0]/l.total), int(int64(room)*p[1]/l.total)
		for i := max(from, 0); i < min(to, room); i++ {
			columns[i] = '='
		}
		if to >= 0 && to < room && columns[to] == ' ' {
			columns[to] = '>'
		}
	}
	return string(columns)
}
