// Package reaper is the first process of a container with --init: it starts
// the container's program, passes signals on to it, takes the exit status of
// every process that has lost its parent, and ends as the program did.
package reaper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// signals are those that came since the program began. Process 1 ignores what
// it does not catch, but a Go program catches all from its first moment, and
// ends by them until somebody asks for them. So this is done before anything
// that takes time.
var signals chan os.Signal

func init() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		signals = make(chan os.Signal, 64)
		signal.Notify(signals)
	}
}

// Main is the command "init", the program's first argument. It runs the command
// line after an optional "--" and returns its exit code:
// 128 and the signal when one ended it, 127 when it is not there, 126 when it
// cannot be executed.
func Main(args []string, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(stderr, "init: no command")
		return 125
	}
	// Where this is not process 1, orphans come here all the same.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	pid, err := start(args)
	if err != nil {
		fmt.Fprintf(stderr, "init: %s: %v\n", args[0], err)
		if err == syscall.ENOENT || err == syscall.ENOTDIR {
			return 127
		}
		return 126
	}
	for sig := range signals {
		switch sig {
		case syscall.SIGCHLD:
			if status, ended := reap(pid); ended {
				return status
			}
		case syscall.SIGURG: // Go's runtime sends it to itself
		default:
			if s, ok := sig.(syscall.Signal); ok {
				syscall.Kill(pid, s)
			}
		}
	}
	return 125
}

// start starts the program in a process group of its own, which gets the
// terminal if there is one, so that its signals are not sent twice.
func start(args []string) (int, error) {
	attr := &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true},
	}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		attr.Sys.Foreground, attr.Sys.Ctty = true, 0
	}
	err := error(syscall.ENOENT)
	for _, path := range candidates(args[0]) {
		pid, e := syscall.ForkExec(path, args, attr)
		if e == nil {
			return pid, nil
		}
		if !errors.Is(e, syscall.ENOENT) && !errors.Is(e, syscall.ENOTDIR) {
			err = e
		}
	}
	return 0, err
}

func candidates(name string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var list []string
	for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
		if strings.HasPrefix(dir, "/") {
			list = append(list, dir+"/"+name)
		}
	}
	return list
}

// reap takes all exit statuses there are, and says whether the program's was
// among them.
func reap(program int) (code int, ended bool) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return code, ended
		}
		if pid == program {
			code, ended = ws.ExitStatus(), true
			if ws.Signaled() {
				code = 128 + int(ws.Signal())
			}
		}
	}
}
