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

// confinedMark begins the name of one that is confined.
const confinedMark = "confined:"

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
	if name, found = strings.CutPrefix(name, confinedMark); found {
		// An execve undoes it, so it is not done before. Nobody may look in.
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			fmt.Fprintln(os.Stderr, "set not dumpable:", err)
			os.Exit(1)
		}
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
	Stdin, Stdout *os.File   // nil: /dev/null, or nothing in a confined one
	Files         []*os.File // its descriptors from 3 on
	// Confined is for a worker that reads what is foreign: it can do no more
	// than package confine says. The first of Files is a directory, which
	// becomes its root directory and is all that it sees. Root's runs in a user
	// namespace too, one that has all ids.
	Confined bool
}

// Run waits for the worker's end. What the function returned as an error is
// the error's text.
func (w Worker) Run(ctx context.Context) error {
	if !ready { // it would be started again as what it is
		return fmt.Errorf("the worker %s: this program does not call userns.Main", w.Name)
	}
	null, err := w.nothing()
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
	if w.Confined {
		program, err := os.Open("/proc/self/exe")
		if err != nil {
			return err
		}
		defer program.Close()
		files["program"] = program
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
		if len(text) == 0 {
			return fmt.Errorf("the worker %s ended with status %d; with 255 it could not be executed, as a program that needs a dynamic loader can't", w.Name, status.ExitStatus())
		}
		return errors.New(strings.TrimSpace(string(text)))
	}
	return nil
}

// nothing is what a stream is that nobody gave. A confined worker could change
// the mode of a device, so it gets a pipe's end.
func (w Worker) nothing() (*os.File, error) {
	if !w.Confined {
		return os.OpenFile("/dev/null", os.O_RDWR, 0)
	}
	r, end, err := os.Pipe()
	if err == nil {
		err = end.Close()
	}
	return r, err
}

// starting is held by the one Worker that is between its fork and its execve.
// Two such children would each have a copy of the parent's end of the other's
// socket: were the parent killed, both would wait for each other for ever.
var starting sync.Mutex

// start starts the way into the worker. A confined one falls back to fewer
// namespaces where the machine has none to give.
func (w Worker) start(files launch.Files) (*launch.Process, error) {
	n := namespaces{flags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS}
	var err error
	if w.Confined {
		n, err = confined()
	} else {
		n.uids, n.gids, err = Mappings()
	}
	for err == nil {
		var p *launch.Process
		if p, err = w.startIn(n, files); err == nil {
			return p, nil
		}
		if !w.Confined || !n.fewer(err) {
			break
		}
		err = nil
	}
	return nil, err
}

// startIn compiles the program: ids first, then the standard streams and the
// files, then this program again.
func (w Worker) startIn(n namespaces, files launch.Files) (*launch.Process, error) {
	p := &launch.Program{Namespaces: n.flags}
	p.Await("wait for the id mappings", 0)
	zero := []launch.Arg{launch.Int(0), launch.Int(0), launch.Int(0)}
	if n.flags&unix.CLONE_NEWUSER != 0 {
		p.Add(
			launch.Op{Call: launch.Setresgid, Args: zero, Text: "become group 0 of the user namespace"},
			launch.Op{Call: launch.Setresuid, Args: zero, Text: "become user 0 of the user namespace"},
		)
	}
	p.Add(launch.Op{Call: launch.Prctl, Args: []launch.Arg{launch.Flags(unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG"), launch.Int(int(unix.SIGKILL))}, Text: "die with the caller"})
	for i, f := range w.Files {
		files[fileName(i)] = f
	}
	var tree launch.Slot
	if w.Confined {
		tree = n.enter(p)
	}
	// Two rounds, so that no descriptor is overwritten before it was copied.
	const high = 200
	for i := range w.Files {
		from := launch.Input(fileName(i))
		if i == 0 && tree != launch.None {
			from = launch.Result(tree)
		}
		p.Add(launch.Op{Call: launch.Dup3, Args: []launch.Arg{from, launch.Int(high + i), launch.Flags(unix.O_CLOEXEC, "O_CLOEXEC")}, Text: "keep " + fileName(i)})
	}
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		p.Add(launch.Op{Call: launch.Dup3, Args: []launch.Arg{launch.Input(name), launch.Int(i), launch.Int(0)}, Text: "take " + name, Accept: []launch.Accept{{Errno: unix.EINVAL}}})
	}
	for i := range w.Files {
		p.Add(launch.Op{Call: launch.Dup3, Args: []launch.Arg{launch.Int(high + i), launch.Int(3 + i), launch.Int(0)}, Text: "take " + fileName(i)})
	}
	argv := append([]string{workerName + w.Name}, w.Args...)
	if w.Confined {
		argv[0] = workerName + confinedMark + w.Name
		n.confine(p, argv)
	} else {
		p.Add(launch.Op{Call: launch.Execve, Args: []launch.Arg{launch.String("/proc/self/exe"), launch.Strings(argv), launch.Strings(os.Environ())}, Text: "execute " + w.Name})
	}
	starting.Lock()
	defer starting.Unlock()
	c, err := launch.Start(p, files, nil)
	if err != nil {
		return nil, err
	}
	if n.flags&unix.CLONE_NEWUSER != 0 {
		err = Write(c.Pid(), n.uids, n.gids)
	}
	if err == nil {
		err = c.Send()
	}
	if err == nil {
		if _, err = c.Next(); err == io.EOF {
			return c, nil
		}
	}
	c.Abort()
	return nil, err
}

func fileName(i int) string { return fmt.Sprintf("file %d", i) }
