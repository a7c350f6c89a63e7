package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// orphans are processes of a container without a pid namespace that lost their
// parent: they become lope's children instead of the host's, and end with the
// container. A nil one has nothing to do.
type orphans struct {
	signals chan os.Signal
	done    chan struct{}
}

// adoptOrphans comes before the container, whose pid namespace, if it has one,
// has a first process for that.
func adoptOrphans(spec *specs.Spec) *orphans {
	hasPIDs := func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace }
	if slices.ContainsFunc(spec.Linux.Namespaces, hasPIDs) || unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != nil {
		return nil
	}
	o := &orphans{make(chan os.Signal, 1), make(chan struct{})}
	signal.Notify(o.signals, unix.SIGCHLD)
	return o
}

// reap takes the exit statuses of all children but the container's first
// process, until stop.
func (o *orphans) reap(first int) {
	if o == nil {
		return
	}
	go func() {
		for range o.signals {
			for _, pid := range children() {
				if pid != first {
					_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // one that lives, or was waited for, needs nothing
				}
			}
		}
		close(o.done)
	}()
}

// stop ends the reaping, since hooks will be children too.
func (o *orphans) stop() {
	if o == nil {
		return
	}
	signal.Stop(o.signals)
	close(o.signals)
	<-o.done
}

// children lists the children of all threads.
func children() (pids []int) {
	files, _ := filepath.Glob("/proc/self/task/[0-9]*/children") // the pattern is right
	for _, f := range files {
		text, _ := os.ReadFile(f) // a thread that has ended has no children
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
