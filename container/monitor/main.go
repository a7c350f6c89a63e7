package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/logs"
	"loper.run/network/usernet"
)

// reportFd is the socket to the engine that starts the monitor. A byte comes
// from there when the container's files tell how to start it, and another when
// all that they name is ready; see Failure for what goes back.
const reportFd = 3

// clientFd is the first client's connection, when Config.Attached.
const clientFd = 4

// Main is the whole life of the monitor of the container whose directory is
// given, and returns its exit status. The process is started in a session of
// its own with /dev/null as its standard streams.
func Main(dir string) int { return run(dir, realEngine()) }

func run(dir string, e engine) int {
	// The kernel kills the container when the thread that made it ends: it
	// is this one, and it ends with the process.
	runtime.LockOSThread()
	if text, ok := os.LookupEnv(handoverEnv); ok {
		s, err := takeOver(dir, e, text)
		if err != nil {
			return 1
		}
		return s.serve()
	}
	// The byte stays until it is sure that protect does not start us anew.
	if !configured() {
		return 0
	}
	err := e.protect(dir)
	_, given, failed := usernet.Receive(reportFd, make([]byte, 1))
	var s *server
	if err == nil {
		err = failed
	}
	if err == nil {
		unix.CloseOnExec(reportFd)
		s, err = start(dir, e, given)
	}
	if err != nil {
		report(err, e)
		return 1
	}
	unix.Close(reportFd)
	return s.serve()
}

// configured waits until the engine has said how the container is started, and
// reports whether it has: it may have given it up. Its byte and what comes with
// it are left for later.
func configured() bool { return hears(unix.MSG_PEEK) }

// ready waits until everything is there that the container needs.
func ready() error {
	if !hears(0) {
		return errors.New("the start was given up")
	}
	return nil
}

// hears reports whether the engine sends a byte, and does not end before.
func hears(flags int) bool {
	for {
		n, _, err := unix.Recvfrom(reportFd, make([]byte, 1), flags)
		if err != unix.EINTR {
			return err == nil && n == 1
		}
	}
}

// start runs the container and returns what serves it.
func start(dir string, e engine, given *usernet.Space) (*server, error) {
	s := newServer(dir, e)
	s.hold(given)
	c, err := s.configure()
	if err != nil {
		return nil, err
	}
	if err := s.takeLock(c); err != nil {
		return nil, err
	}
	if given != nil {
		if err := usernet.Hold(c.Networks.RunRoot, c.ID); err != nil {
			return nil, err
		}
	}
	if c.Log.Path == "" {
		c.Log.Path = filepath.Join(dir, logs.FileName)
	}
	s.logConfig = c.Log
	if s.log, err = logs.Open(c.Log); err != nil {
		return nil, err
	}
	if s.listener, err = listen(c.RunDir); err != nil {
		return nil, err
	}
	if err := s.startContainer(c); err != nil {
		os.Remove(filepath.Join(c.RunDir, SocketFile))
		return nil, err
	}
	if err := s.writeState(c); err != nil {
		e.killAll(c)
		e.remove(c)
		os.Remove(filepath.Join(c.RunDir, SocketFile))
		return nil, err
	}
	return s, nil
}

func (s *server) startContainer(c *Config) error {
	if c.Attached {
		if err := unix.SetNonblock(clientFd, true); err != nil {
			return fmt.Errorf("the first client is missing: %w", err)
		}
		unix.CloseOnExec(clientFd)
		s.clients = append(s.clients, &client{source: source{fd: clientFd}, sized: true})
	}
	io, err := newStdio(c)
	if err != nil {
		return err
	}
	s.pid, err = s.engine.run(s.dir, c, io, &s.names, &s.guard)
	s.started = time.Now()
	io.closeTheirs()
	if err != nil {
		return err
	}
	// From here on a failure leaves a container that dies with us.
	if err := s.adopt(io, c); err != nil {
		s.engine.killAll(c)
		s.engine.remove(c)
		return err
	}
	return nil
}

// adopt takes the monitor's ends of the streams and the container's pidfd.
func (s *server) adopt(io *stdio, c *Config) (err error) {
	s.tty, s.stdinOnce = c.Terminal, c.StdinOnce
	if c.Terminal {
		if s.out.fd, s.in.fd, s.slave, err = io.master(c.OpenStdin); err != nil {
			return err
		}
	} else {
		s.in.fd, s.out.fd, s.err.fd = io.inW, io.outR, io.errR
	}
	if s.pidfd, err = unix.PidfdOpen(s.pid, 0); err != nil {
		return fmt.Errorf("pidfd of the container: %w", err)
	}
	return nil
}

func report(err error, e engine) {
	data, _ := json.Marshal(Failure{Code: e.exitCode(err), Error: err.Error()})
	unix.Write(reportFd, data)
	unix.Close(reportFd)
}
