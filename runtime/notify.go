package runtime

import (
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// notifyDir in the state directory is what a container whose start waits
	// for READY=1 has at notifyTarget. Who starts the container makes the
	// socket in it.
	notifyDir    = "notify"
	notifyTarget = "/run/notify"
	notifySocket = "notify.sock"
)

// notify adds the directory of the sd_notify(3) socket to the container.
func (s *starting) notify() error {
	dir := filepath.Join(s.container.dir, notifyDir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Chmod(0o755); err != nil { // container root may be another user, whatever the umask
		return err
	}
	s.spec.Mounts = append(s.spec.Mounts, specs.Mount{
		Destination: notifyTarget, Source: dir, Type: "bind", Options: []string{"bind", "nosuid", "noexec", "nodev", "ro"},
	})
	process := *s.spec.Process
	process.Env = append(append([]string(nil), process.Env...), "NOTIFY_SOCKET="+filepath.Join(notifyTarget, notifySocket))
	s.spec.Process = &process
	return nil
}

// NotifySocket is where the container's program sends its READY=1, or "" if
// the container was made without Options.Notify.
func (c *Container) NotifySocket() string {
	dir := filepath.Join(c.dir, notifyDir)
	if _, err := os.Lstat(dir); err != nil {
		return ""
	}
	return filepath.Join(dir, notifySocket)
}
