package monitor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/atomicfile"
	"loper.run/internal/flock"
	"loper.run/internal/proc"
	"loper.run/internal/quickjson"
)

// configure opens and reads monitor.json. The file stays open, so that the end
// of the container finds it even when the directory was removed meanwhile.
func (s *server) configure() (*Config, error) {
	path := filepath.Join(s.dir, ConfigFile)
	if s.configFd < 0 {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		s.configFd = fd
	}
	var data []byte
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.Pread(s.configFd, buf, int64(len(data)))
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			break
		}
		data = append(data, buf[:n]...)
	}
	c := &Config{space: s.given}
	if err := quickjson.Decode(data, c); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if c.ID == "" || !filepath.IsAbs(c.RunDir) || !filepath.IsAbs(c.RuntimeRoot) {
		return nil, fmt.Errorf("%s: id, runDir and runtimeRoot are needed, the directories absolute", path)
	}
	return c, nil
}

// takeLock takes monitor.lock for the rest of the monitor's life. Commands that
// look whether a monitor lives hold it for a moment: wait for those.
func (s *server) takeLock(c *Config) error {
	if err := os.Mkdir(c.RunDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	path := filepath.Join(c.RunDir, LockFile)
	for end := time.Now().Add(250 * time.Millisecond); ; time.Sleep(time.Millisecond) {
		f, err := flock.TryExclusive(path)
		if err == nil {
			// Held by number: a file would close itself when collected.
			s.lock, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, reportFd+1)
			f.Close()
			return err
		}
		if !errors.Is(err, flock.ErrHeld) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("container %.12s has a monitor already: %s: %w", c.ID, path, err)
		}
	}
}

// writeState writes state.json.
func (s *server) writeState(c *Config) error {
	_, start, err := proc.Stat(s.pid)
	if err != nil {
		return err
	}
	data := fmt.Appendf(nil, "{\"pid\":%d,\"startTime\":%d,\"monitor\":%d,\"startedAt\":%q}\n",
		s.pid, start, os.Getpid(), stamp(s.started))
	return atomicfile.Write(filepath.Join(c.RunDir, StateFile), data, 0o600, atomicfile.Volatile)
}

// writeExit writes exit.json. It is not synced: after a power cut the missing
// file says what is true, that the container was killed.
func (s *server) writeExit(code int, oom bool, finished time.Time) error {
	data := fmt.Appendf(nil, "{\"code\":%d,\"oomKilled\":%t,\"startedAt\":%q,\"finishedAt\":%q}\n",
		code, oom, stamp(s.started), stamp(finished))
	return atomicfile.Write(filepath.Join(s.dir, ExitFile), data, 0o600, atomicfile.Volatile)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
