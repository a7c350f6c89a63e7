package container

import "time"

// State is one word for what a container is doing, as docker's ps says it.
type State string

// The states of a container.
const (
	Created  State = "created"
	Running  State = "running"
	Paused   State = "paused"
	Exited   State = "exited"
	Removing State = "removing"
	Dead     State = "dead"
)

// Status is the truth about a container at the moment it was asked.
type Status struct {
	State      State
	Pid        int // of its first process, as the host sees it; 0 unless running or paused
	ExitCode   int
	OOMKilled  bool
	StartedAt  time.Time // zero: never started
	FinishedAt time.Time // zero: never ended, or running
	Error      string    // why it could not be started, or how it was lost
}

// Alive reports whether the container has processes.
func (s Status) Alive() bool { return s.State == Running || s.State == Paused }
