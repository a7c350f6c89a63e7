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

// watch prints events until the container ends.
func watch(g *global, c *runtime.Container, interval time.Duration) error {
	w, err := c.WatchOOM()
	if err != nil {
		return err
	}
	defer w.Close()
	ooms := make(chan error)
	go func() {
		for {
			err := w.Wait()
			ooms <- err
			if err != nil {
				return
			}
		}
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
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
