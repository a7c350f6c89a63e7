package monitor

import (
	"testing"
	"time"
)

// What is deleted again and again is put back ever more seldom, and told seldom;
// after a while of peace it begins anew.
func TestTire(t *testing.T) {
	var h healer
	var told []string
	note := func(text string) { told = append(told, text) }
	now := time.Unix(1e9, 0)
	rests := []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300}
	for i, want := range rests {
		h.tire(now, i > 0, "put back", note)
		if h.rest != want || !h.next.Equal(now.Add(time.Duration(want)*time.Second)) {
			t.Errorf("%d: rests %d s, want %d", i, h.rest, want)
		}
		now = h.next
	}
	if len(told) != len(rests) || told[0] != "put back" {
		t.Errorf("told %q", told)
	}
	told = nil
	for range 100 { // every six seconds, which is not at once
		now = now.Add(6 * time.Second)
		h.tire(now, false, "put back", note)
		if h.rest != 1 {
			t.Fatalf("rests %d s", h.rest)
		}
	}
	if len(told) < 8 || len(told) > 11 {
		t.Errorf("told %d times in ten minutes", len(told))
	}
}

// A monitor that replaces itself knows what it was about.
func TestHealerIsHandedOver(t *testing.T) {
	s := newServer(t.TempDir(), engine{})
	s.started = time.Now()
	h := &s.heal
	h.due, h.since, h.mended, h.rest = s.started.Add(time.Second), s.started.Add(-time.Second), s.started.Add(-time.Minute), 16
	again, err := takeOver(s.dir, engine{}, s.handover())
	if err != nil {
		t.Fatal(err)
	}
	n := &again.heal
	if !n.due.Equal(h.due) || !n.since.Equal(h.since) || !n.mended.Equal(h.mended) || !n.next.IsZero() || n.rest != 16 || !again.started.Equal(s.started) {
		t.Errorf("%+v became %+v", h, n)
	}
	if n.queue.fd != -1 || n.turn != -1 || n.ears.fd != -1 || n.bell.fd != -1 {
		t.Errorf("descriptors of nothing: %+v", n)
	}
	again.rested, again.deaf = true, true
	if due := again.timeout(); due < 500 || due > 1100 {
		t.Errorf("waits %d ms", due)
	}
}
