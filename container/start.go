package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"loper.run/container/attach"
	"loper.run/container/logs"
	"loper.run/container/monitor"
	"loper.run/internal/atomicfile"
	"loper.run/internal/quickjson"
	"loper.run/network/usernet"
	"loper.run/runtime"
	"loper.run/runtime/specjson"
)

// StartError says why a container could not be started.
type StartError struct {
	Code int // 127: the program is not there; 126: it cannot be executed; 125: anything else
	Err  error
}

// Error gives the reason on one line.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *StartError) Unwrap() error { return e.Err }

// StartOptions is how to start a container.
type StartOptions struct {
	// Attach connects to the container before its program runs, so that none of
	// its output is missed. Attach then gives that connection.
	Attach bool
	// Ready, when set, is called when nothing can go wrong here any more, just
	// before the container is let run. It is not called if it runs already.
	Ready func()
}

// Start starts the container's monitor, which runs the container, and returns
// when its program runs or cannot be. A container that runs is left alone. One
// with AutoRemove that cannot be started is removed.
func (c *Container) Start(o StartOptions) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	st, err := c.status(true)
	if err != nil || st.Alive() {
		return err
	}
	if c.damage != nil {
		return c.damage
	}
	err = c.start(o)
	if err == nil {
		if c.Settings.Init {
			c.awaitInit()
		}
		return nil
	}
	c.engine.Abandon()
	failed := &StartError{Code: 125, Err: err}
	errors.As(err, &failed)
	c.closeAttached()
	if c.Settings.AutoRemove {
		return errors.Join(failed, c.removeLocked(RemoveOptions{Volumes: true}))
	}
	if err := c.cleanRuntime(); err != nil {
		return errors.Join(failed, err)
	}
	e := exit{Exit: monitor.Exit{Code: failed.Code}, Error: failed.Error()}
	if err := atomicfile.WriteJSON(c.file(monitor.ExitFile), e, 0o600, c.durability()); err != nil {
		return errors.Join(failed, err)
	}
	return failed
}

func (c *Container) start(o StartOptions) error {
	// What remains of an earlier run goes first: from the moment that
	// monitor.json is there and exit.json is not, the container counts as started.
	if err := c.cleanRuntime(); err != nil {
		return err
	}
	if err := os.Mkdir(c.RunDir(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := c.gather()
	if err != nil {
		return err
	}
	spec, err := c.spec(f)
	if err != nil {
		return err
	}
	log, err := logs.Parse(c.Settings.LogDriver, c.Settings.LogOpts)
	if err != nil {
		return err
	}
	log.Path = c.LogPath()
	config := monitor.Config{
		ID: c.ID, RunDir: c.RunDir(), RuntimeRoot: c.engine.runtimeRoot(), Overlay: c.overlay(),
		Terminal: c.Settings.Terminal, OpenStdin: c.Settings.OpenStdin, StdinOnce: c.Settings.OpenStdin && o.Attach,
		Attached: o.Attach, Log: log,
	}
	if c.Settings.Network == "" { // it may be connected later
		config.Networks = &monitor.Networks{Root: c.engine.Root, RunRoot: c.engine.RunRoot}
	}
	if c.Settings.AutoRemove {
		if config.AutoRemove, err = c.autoRemove(); err != nil {
			return err
		}
	}
	text, err := specjson.Encode(spec)
	if err != nil {
		return fmt.Errorf("encode %s: %w", configFile, err)
	}
	if err := os.WriteFile(c.file(configFile), text, 0o600); err != nil {
		return err
	}
	if text, err = quickjson.Encode(config); err != nil {
		return err
	}
	if err := atomicfile.Write(c.file(monitor.ConfigFile), text, 0o600, c.durability()); err != nil {
		return err
	}
	if err := os.Remove(c.file(monitor.ExitFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := c.makeEtc(); err != nil {
		return err
	}
	networks := sync.OnceValues(c.takeNetworks) // while the monitor prepares the start, if that needs none
	space, err := c.enterSpace(networks)
	if err != nil {
		return err
	}
	defer space.HandedOver()
	w, err := c.engine.monitorFor(c, o)
	if err != nil {
		return err
	}
	defer w.socket.Close()
	c.attached = w.client
	if err := c.letRun(w, o, space, func() error { return c.writeEtc(f, networks) }); err != nil {
		w.abandon()
		return err
	}
	if err := c.await(w.socket); err != nil {
		return err
	}
	c.tellWord()
	return nil
}

// letRun has the monitor prepare the start while the rest is done here.
func (c *Container) letRun(w *waiting, o StartOptions, space *usernet.Space, rest func() error) error {
	if w.client != nil && c.Settings.AutoRemove {
		if err := w.client.Removes(); err != nil {
			return err
		}
	}
	if err := w.prepare(space); err != nil {
		return err
	}
	if err := rest(); err != nil {
		return err
	}
	if o.Ready != nil {
		o.Ready()
	}
	return w.release()
}

// maxReport bounds what a monitor says.
const maxReport = 64 << 10

// await waits for the monitor's report.
func (c *Container) await(report *os.File) error {
	text, err := io.ReadAll(io.LimitReader(report, maxReport))
	if err != nil {
		return fmt.Errorf("read the monitor's report: %w", err)
	}
	if len(text) == 0 {
		return c.checkStarted()
	}
	var failure monitor.Failure
	if err := json.Unmarshal(text, &failure); err != nil {
		return fmt.Errorf("monitor's report: %w", err)
	}
	return &StartError{Code: failure.Code, Err: errors.New(strings.TrimSpace(failure.Error))}
}

// checkStarted tells a monitor that closed its pipe as agreed from one that was killed.
func (c *Container) checkStarted() error {
	alive, err := c.hasMonitor()
	if err != nil || alive {
		return err
	}
	for _, file := range []string{c.file(monitor.ExitFile), c.file(recordFile)} {
		_, err := os.Lstat(file)
		ended := err == nil
		if file == c.file(recordFile) {
			ended = errors.Is(err, os.ErrNotExist) // and was removed
		}
		if ended {
			return nil
		}
	}
	return errors.New("the monitor was killed before the container's start")
}

// autoRemove is the command that removes the container after its end, should
// nobody else do it.
func (c *Container) autoRemove() ([]string, error) {
	self := c.engine.Self
	if self == nil {
		program, err := os.Executable()
		if err != nil {
			return nil, err
		}
		self = []string{program, "--root", c.engine.Root, "--runroot", c.engine.RunRoot}
	}
	return append(self[:len(self):len(self)], "rm", "--force", "--volumes", c.ID), nil
}

// Attach is the connection that Start made, or a new one to the running container.
func (c *Container) Attach() (*attach.Client, error) {
	if client := c.attached; client != nil {
		c.attached = nil
		return client, nil
	}
	client, err := attach.Connect(c.RunDir())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %s", ErrNotRunning, c.Name)
	}
	return client, err
}

func (c *Container) closeAttached() {
	if c.attached != nil {
		c.attached.Close()
		c.attached = nil
	}
}

// exitStatus turns a wait status into the exit code a shell would show.
func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// loadRuntime finds the container at the runtime; ErrNotRunning without one.
func (c *Container) loadRuntime() (*runtime.Container, error) {
	alive, err := c.hasMonitor()
	if err != nil {
		return nil, err
	}
	if alive {
		rc, err := runtime.Load(c.engine.runtimeRoot(), c.ID)
		if !errors.Is(err, os.ErrNotExist) {
			return rc, err
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrNotRunning, c.Name)
}
