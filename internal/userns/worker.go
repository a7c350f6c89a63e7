package userns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"loper.run/launch"

	"golang.org/x/sys/unix"
)

// workerName begins the first argument of a process that is a worker.
const workerName = "loper-worker:"

var registered = map[string]func(args []string) error{}

// Register names a function that Worker can run.
func Register(name string, f func(args []string) error) { registered[name] = f }

// ready says that Main was called, so that this program can be a worker.
var ready bool

// Main becomes the worker when the process was started as one, and does not
// return then. It is for the beginning of main, after the Registers.
func Main() {
	name, found := strings.CutPrefix(os.Args[0], workerName)
	if !found {
		ready = true
		return
	}
	f, known := registered[name]
	if !known {
		fmt.Fprintf(os.Stderr, "no worker is called %q\n", name)
		os.Exit(1)
	}
	if err := f(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Worker is one run of a registered function in a process of its own, as the
// root of the user namespace of Mappings. Its mount namespace is its own too.
type Worker struct {
	Name          string
	Args          []string
	Stdin, Stdout *os.File   // nil: /dev/null
	Files         []*os.File // its descriptors from 3 on
}

// Run waits for the worker's end. What the function returned as an error is
// the error's text.
func (w Worker) Run(ctx context.Context) error {
	if !ready { // it would be started again as what it is
		return fmt.Errorf("the worker %s: this program does not call userns.Main", w.Name)
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	r, stderr, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	files := launch.Files{"stdin": null, "stdout": null, "stderr": stderr}
	if w.Stdin != nil {
		files["stdin"] = w.Stdin
	}
	if w.Stdout != nil {
		files["stdout"] = w.Stdout
	}
	p, err := w.start(files)
	stderr.Close()
	if err != nil {
		return err
	}
	defer p.Close()
	stop := context.AfterFunc(ctx, func() { p.Kill() })
	defer stop()
	text, _ := io.ReadAll(io.LimitReader(r, 64<<10))
	_, _ = io.Copy(io.Discard, r) // or it would wait for its words to be read
	status, err := p.Wait()
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case status.Signaled():
		return fmt.Errorf("the worker %s was killed by %v", w.Name, status.Signal())
	case status.ExitStatus() != 0:
		return errors.New(strings.TrimSpace(string(text)))
	}
	return nil
}

// starting is held by the one Worker that is between its fork and its execve.
// Two such children would each have a copy of the parent's end of the other's
// socket: were the parent killed, both would wait for each other for ever.
var starting sync.Mutex

// start compiles and starts the way into the namespace: ids first, then the
// standard streams and the files, then this program again.
func (w Worker) start(files launch.Files) (*launch.Process, error) {
	uids, gids, err := Mappings()
	if err != nil {
		return nil, err
	}
	p := &launch.Program{Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWNS}
	if Privileged() {
		p.Namespaces = 0
	}
	p.Await("wait for the id mappings", 0)
	zero := []launch.Arg{launch.Int(0), launch.Int(0), launch.Int(0)}
	p.Add(
		launch.Op{Call: launch.Setresgid, Args: zero, Text: "become group 0 of the user namespace"},
		launch.Op{Call: launch.Setresuid, Args: zero, Text: "become user 0 of the user namespace"},
		launch.Op{Call: launch.Prctl, Args: []launch.Arg{launch.Flags(unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG"), launch.Int(int(unix.SIGKILL))}, Text: "die with the caller"},
	)
	// Two rounds, so that no descriptor is overwritten before it was copied.
	const high = 200
	for i, f := range w.Files {
		name := fmt.Sprintf("file %d", i)
		files[name] = f
		p.Add(launch.Op{Call: launch.Dup3, Args: []launch.Arg{launch.Input(name), launch.Int(high + i), launch.Flags(unix.O_CLOEXEC, "O_CLOEXEC")}, Text: "keep " + name})
	}
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		p.Add(launch.Op{Call: launch.Dup3, Args: []launch.Arg{launch.Input(name), launch.Int(i), launch.Int(0)}, Text: "take " + name, Accept: []launch.Accept{{Errno: unix.EINVAL}}})
	}
	for i := range w.Files {
		p.Add(launch.Op{Call: launch.Dup3, Args: []launch.Arg{launch.Int(high + i), launch.Int(3 + i), launch.Int(0)}, Text: fmt.Sprintf("take file %d", i)})
	}
	argv := append([]string{workerName + w.Name}, w.Args...)
	p.Add(launch.Op{Call: launch.Execve, Args: []launch.Arg{launch.String("/proc/self/exe"), launch.Strings(argv), launch.Strings(os.Environ())}, Text: "execute " + w.Name})
	starting.Lock()
	defer starting.Unlock()
	c, err := launch.Start(p, files, nil)
	if err != nil {
		return nil, err
	}
	if p.Namespaces != 0 {
		if err := Write(c.Pid(), uids, gids); err != nil {
			c.Abort()
			return nil, err
		}
	}
	if err := c.Send(); err != nil {
		c.Abort()
		return nil, err
	}
	if _, err := c.Next(); err != io.EOF {
		c.Abort()
		return nil, err
	}
	return c, nil
}
