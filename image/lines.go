package image

import (
	"context"
	"sync/atomic"
)

// maxLines is how many connections one pull has at most. More gain nothing on a
// fast line and are rude on a slow one.
const maxLines = 6

// lines are the connections of a pull. Every layer that comes in has one; what
// is left may go to a large layer, until another layer wants it.
type lines struct {
	slots   chan struct{}
	waiting atomic.Int32 // layers without any
}

func newLines() *lines { return &lines{slots: make(chan struct{}, maxLines)} }

// take waits for a layer's first line.
func (l *lines) take(ctx context.Context) error {
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// more takes a further line, if one is free.
func (l *lines) more() bool {
	if l.wanted() {
		return false
	}
	select {
	case l.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// wanted reports whether who has more than one line should give one back.
func (l *lines) wanted() bool { return l.waiting.Load() > 0 }

func (l *lines) give() { <-l.slots }
