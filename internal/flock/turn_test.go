package flock

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// One has the turn at a time; at its end all that wait are told, and one gets it.
func TestTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue")
	const many = 5
	var places []int
	for range many {
		fd, err := Queue(path)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, fd)
	}
	gone := func(fd int) bool {
		p := []unix.PollFd{{Fd: int32(fd)}}
		unix.Poll(p, 0)
		return p[0].Revents&unix.POLLHUP != 0
	}
	for len(places) > 0 {
		turn, err := Turn(places[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range places[1:] {
			if _, err := Turn(other); !errors.Is(err, ErrHeld) {
				t.Errorf("two have the turn: %v", err)
			}
			if gone(other) {
				t.Error("told of an end that was none")
			}
		}
		unix.Close(turn)
		unix.Close(places[0])
		places = places[1:]
		for _, other := range places {
			if !gone(other) {
				t.Error("not told of the end")
			}
		}
	}
}
