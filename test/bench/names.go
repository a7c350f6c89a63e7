package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	askers      = 20  // containers that look names up
	lookUps     = 500 // of each of them
	lookUpPause = "10ms"
)

// names measures how long containers' names take to be resolved while other containers come and go, and counts the answers
// that are wrong or missing.
func (b *bench) names() error {
	engines, stop, err := b.netEngines()
	if err != nil {
		return err
	}
	defer stop()
	all, wrong := map[string]times{}, map[string]int{}
	for _, e := range engines {
		if e.name == "podman" { // its networks are files of the machine's otherwise
			e.options = append(e.options[:len(e.options):len(e.options)], "--network-config-dir", filepath.Join(b.dir, "podman/networks"))
		}
		took, bad, err := e.lookUpNames()
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		all[e.name], wrong[e.name] = took, len(bad)
		for _, line := range bad[:min(3, len(bad))] {
			fmt.Printf("%s: %s\n", e.name, line)
		}
	}
	for _, e := range engines[1:] {
		peer, target := e.name, ""
		if peer == "podman" {
			peer, target = "podman with aardvark-dns", "≤ 1"
		}
		for _, part := range []struct {
			name  string
			share float64
		}{{"half", 0.5}, {"99 of 100", 0.99}} {
			ours, theirs := all["loper"].share(part.share), all[e.name].share(part.share)
			b.add(row{what: fmt.Sprintf("%d names from %d containers, others come and go: %s within", askers*lookUps, askers, part.name), ours: microseconds(ours),
				theirs: microseconds(theirs), peer: peer, ratio: fmt.Sprintf("%.2f", float64(ours)/float64(theirs)), target: target})
		}
		b.add(row{what: "of these, lost or wrong", ours: strconv.Itoa(wrong["loper"]), theirs: strconv.Itoa(wrong[e.name]), peer: peer, target: "0"})
	}
	return nil
}

// share is the time within which that share of the runs ended.
func (t times) share(share float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(t))[int(float64(len(t)-1)*share)]
}

func microseconds(d time.Duration) string {
	return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
}

// lookUpNames lets containers of one network ask for each other.
func (e *netEngine) lookUpNames() (took times, wrong []string, err error) {
	run := func(args ...string) (string, error) { return e.must(e.command(args...)) }
	if _, err := run("network", "create", "names"); err != nil {
		return nil, nil, err
	}
	defer func() {
		run("network", "rm", "names")
	}()
	var ids, wanted []string
	remove := []string{"rm", "-f"}
	if e.name == "podman" {
		remove = append(remove, "-t", "0") // docker's and loper's -f do not wait either
	}
	defer func() { run(slices.Concat(remove, ids)...) }()
	for i := range askers {
		name := fmt.Sprintf("asker%d", i)
		id, err := run("run", "-d", "--network", "names", "--name", name, e.image, "sleep", "100000")
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, id)
		address, err := run("exec", name, "hostname", "-i")
		if err != nil {
			return nil, nil, err
		}
		wanted = append(wanted, name+"="+strings.Fields(address)[0])
	}
	begin := strconv.FormatInt(time.Now().Add(4*time.Second).UnixMilli(), 10)
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, id := range ids {
		group.Go(func() {
			out, failure := run(append([]string{"exec", id, "/traffic", "names", begin, strconv.Itoa(lookUps), lookUpPause}, wanted...)...)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, failure)
			for line := range strings.Lines(out) {
				if ns, failure := strconv.ParseInt(strings.TrimSpace(line), 10, 64); failure == nil {
					took = append(took, time.Duration(ns))
				} else {
					wrong = append(wrong, strings.TrimSpace(line))
				}
			}
		})
	}
	done := make(chan bool)
	go func() {
		group.Wait()
		close(done)
	}()
	for others := 0; ; others++ {
		select {
		case <-done:
			if n := askers*lookUps - len(took) - len(wrong); n > 0 {
				err = errors.Join(err, fmt.Errorf("%d look-ups are missing", n))
			}
			fmt.Printf("%s: %d others came and went\n", e.name, others)
			return took, wrong, err
		default:
		}
		if _, failure := run("run", "-d", "--network", "names", "--name", "other", e.image, "sleep", "100000"); failure != nil {
			<-done
			return took, wrong, failure
		}
		if _, failure := run(slices.Concat(remove, []string{"other"})...); failure != nil {
			<-done
			return took, wrong, failure
		}
	}
}
