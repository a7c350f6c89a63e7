package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"loper.run/test/env"
)

// contender is one command line that does the same as the others of its row.
type contender struct {
	name    string
	argv    []string
	environ []string
	run     func() error // instead of argv
	before  func() error // not measured
	skip    string       // why it is not measured
	command int          // where in argv the command begins, behind the options of all
	in      *env.Netns   // the network it runs in; nil: the benchmark's
}

// with adds a command to the options of all.
func (c contender) with(args ...string) contender {
	c.command = len(c.argv)
	c.argv = append(c.argv[:c.command:c.command], args...)
	return c
}

// times are the durations of one contender's runs.
type times []time.Duration

func (t times) median() time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	return sorted[len(sorted)/2]
}

func (t times) least() time.Duration {
	if len(t) == 0 {
		return 0
	}
	return slices.Min(t)
}

// inTurns measures the contenders one after the other, again and again, so that what else the machine does hits all alike.
func inTurns(n int, contenders []contender) (map[string]times, error) {
	all := map[string]times{}
	for round := range n + 1 {
		for i := range contenders {
			c := contenders[(i+round)%len(contenders)]
			if c.skip != "" {
				continue
			}
			if c.before != nil {
				if err := c.before(); err != nil {
					return nil, err
				}
			}
			took, err := c.once()
			if err != nil {
				return nil, err
			}
			if round > 0 || n == 1 { // the first round warms caches
				all[c.name] = append(all[c.name], took)
			}
		}
		if n == 1 {
			break
		}
	}
	return all, nil
}

// once runs the command with its streams on /dev/null, so that nothing waits for a reader.
func (c contender) once() (time.Duration, error) {
	if c.run != nil {
		begun := time.Now()
		err := c.run()
		return time.Since(begun), err
	}
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	if c.environ != nil {
		cmd.Env = append(os.Environ(), c.environ...)
	}
	var took time.Duration
	var err error
	run := func() {
		begun := time.Now()
		err = cmd.Run()
		took = time.Since(begun)
	}
	if c.in != nil {
		c.in.Do(run)
	} else {
		run()
	}
	if err != nil && c.in != nil {
		return 0, fmt.Errorf("%s: %w", strings.Join(c.argv, " "), err)
	}
	if err != nil {
		said, _ := must(c.argv, c.environ...)
		_, again := must(c.argv, c.environ...)
		return 0, fmt.Errorf("%s: %w (%s%v)", strings.Join(c.argv, " "), err, said, again)
	}
	return took, nil
}
