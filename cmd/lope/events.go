package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"loper.run/runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// event is a line that events prints.
type event struct {
	Type string      `json:"type"` // stats or oom
	ID   string      `json:"id"`
	Data *eventStats `json:"data,omitempty"`
}

func eventsCommand() command {
	var interval time.Duration
	var once bool
	return command{
		name: "events", args: "ID", short: "Print what a container uses, and when it lacks memory, as JSON",
		long: "Prints an object a line: \"stats\" in an interval, and \"oom\" when the kernel ends a process for lack of memory, until the container ends.",
		flags: func(f *pflag.FlagSet) {
			f.DurationVar(&interval, "interval", 5*time.Second, "time between the figures")
			f.BoolVar(&once, "stats", false, "print the figures once and end")
		},
		run: func(g *global, args []string) error {
			c, err := load(g, args)
			if err != nil {
				return err
			}
			if interval <= 0 {
				return fmt.Errorf("--interval %v: a time greater than 0 is expected", interval)
			}
			if c.Status() == specs.StateStopped {
				return fmt.Errorf("container %q is not running", c.ID())
			}
			if once {
				return printStats(c)
			}
			return watch(g, c, interval)
		},
	}
}

func printStats(c *runtime.Container) error {
	s, err := c.Stats()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(event{"stats", c.ID(), statsOf(s)})
}

// lastEvents is how long the kernel may need to tell why a process ended.
const lastEvents = 100 * time.Millisecond

// watch prints events until the container ends.
func watch(g *global, c *runtime.Container, interval time.Duration) error {
	w, err := c.WatchOOM()
	if err != nil {
		return err
	}
	defer w.Close()
	ooms, ended := make(chan error), make(chan struct{})
	go func() {
		for {
			err := w.Wait()
			ooms <- err
			if err != nil {
				return
			}
		}
	}()
	go func() {
		awaitEnd(c)
		time.Sleep(lastEvents)
		close(ended)
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return nil
		case err := <-ooms:
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := json.NewEncoder(os.Stdout).Encode(event{Type: "oom", ID: c.ID()}); err != nil {
				return err
			}
		case <-tick.C:
			if err := printStats(c); err != nil && c.Status() != specs.StateStopped {
				g.warn([]string{err.Error()})
			}
		}
	}
}

// awaitEnd waits for the end of the container's first process.
func awaitEnd(c *runtime.Container) {
	fd, err := c.Pidfd()
	if err != nil {
		return // it has ended
	}
	defer fd.Close()
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd.Fd()), Events: unix.POLLIN}}, -1); err != unix.EINTR {
			return
		}
	}
}
