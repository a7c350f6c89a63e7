package main

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/term"

	"loper.run/container"
	"loper.run/container/attach"
)

var errNotTerminal = errors.New("the input device is not a TTY")

// session is a command that stays with a container: it holds its streams,
// passes signals on, and ends with its exit code.
type session struct {
	in, out, err *os.File // nil: not held
	detachKeys   string   // "": the container's, or the default
	sigProxy     bool     // never of a container with a terminal
}

// isTerminal reports whether f is a terminal.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// start starts a container with the session attached from its first moment,
// and returns how it ended.
func (s *session) start(ctx context.Context, ctr *container.Container) error {
	streams, err := s.streams(ctr)
	if err != nil {
		return err
	}
	signals := s.signals(ctr)
	if err := ctr.Start(container.StartOptions{Attach: true, Ready: signals.hold}); err != nil {
		return notStarted(err)
	}
	client, err := ctr.Attach()
	if err != nil {
		return err
	}
	defer client.Close()
	if ctr.Settings.AutoRemove {
		if err := client.Removes(); err != nil && !errors.Is(err, attach.ErrGone) {
			return err
		}
	}
	signals.forward(ctr)
	code, err := s.stream(ctx, ctr, client, streams)
	if err != nil {
		return err
	}
	if ctr.Settings.AutoRemove {
		if err := ctr.Remove(container.RemoveOptions{Volumes: true}); err != nil {
			return err
		}
	}
	return exit(code, nil)
}

// attach joins a container that runs, and returns how it ended.
func (s *session) attach(ctx context.Context, ctr *container.Container) error {
	streams, err := s.streams(ctr)
	if err != nil {
		return err
	}
	client, err := ctr.Attach()
	if err != nil {
		return err
	}
	defer client.Close()
	s.signals(ctr).forward(ctr)
	code, err := s.stream(ctx, ctr, client, streams)
	if err != nil {
		return err
	}
	return exit(code, nil)
}

// stream returns the container's exit code. Its error is a failure with code 0
// when the user detached.
func (s *session) stream(ctx context.Context, ctr *container.Container, client *attach.Client, streams attach.Streams) (int, error) {
	exited, err := client.Stream(streams)
	if sig, ok := errors.AsType[attach.SignalError](err); ok {
		number, _ := sig.Signal.(syscall.Signal)
		return 0, exit(128+int(number), nil)
	}
	switch {
	case errors.Is(err, attach.ErrDetached):
		return 0, &failure{}
	case errors.Is(err, attach.ErrGone):
		// The monitor was killed, and the container with it.
		return ctr.Wait(ctx)
	}
	return exited.Code, err
}

// streams says what the container's streams are connected to.
func (s *session) streams(ctr *container.Container) (attach.Streams, error) {
	streams := attach.Streams{TTY: ctr.Settings.Terminal}
	if s.in != nil {
		streams.In = s.in
	}
	if s.out != nil {
		streams.Out = s.out
	}
	if s.err != nil {
		streams.Err = s.err
	}
	keys, err := detachKeys(s.detachKeys, ctr.Settings.DetachKeys)
	if streams.TTY { // in other input the same bytes are data
		streams.DetachKeys = keys
	}
	return streams, err
}

// detachKeys parses the first notation that is not empty, or else the default.
func detachKeys(notations ...string) ([]byte, error) {
	for _, n := range notations {
		if n != "" {
			return attach.ParseKeys(n)
		}
	}
	return attach.ParseKeys(attach.DefaultKeys)
}

// notStarted gives the error of a start the exit code that tells whether the
// program or the engine is at fault.
func notStarted(err error) error {
	if s, ok := errors.AsType[*container.StartError](err); ok {
		return exit(s.Code, err)
	}
	return exit(engineExit, err)
}
