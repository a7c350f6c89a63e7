package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"loper.run/image"
	"loper.run/internal/userns"
	"loper.run/network"
	"loper.run/network/kernel"
)

// The errors a caller may want to tell apart with errors.Is.
var (
	ErrNotFound   = errors.New("no such container")
	ErrAmbiguous  = errors.New("several containers have ids that begin so")
	ErrNameTaken  = errors.New("name is taken")
	ErrNotRunning = errors.New("container is not running")
	ErrRunning    = errors.New("container is running")
)

// Engine is the directories that hold all state. It has no process and no
// open files, but for StartMonitor's: any number of Engines may work on the same
// directories at once.
type Engine struct {
	Root    string // what survives a restart of the machine
	RunRoot string // what does not
	Images  *image.Store
	// Networks are what containers can be connected to.
	Networks *network.Store
	// DefaultNetwork is the --network of containers that ask for none.
	DefaultNetwork string
	// Rootless is true when containers' root is an ordinary user of the host.
	Rootless bool
	// Self is the command line that starts this engine again, for the
	// monitor's removal of a --rm container; nil: this executable with
	// --root and --runroot.
	Self []string
	// Warn, when set, is told what is missing though nothing failed, a line each.
	Warn func(string)

	early *waiting // a monitor whose container is not made yet
}

// The directories below Root and RunRoot.
const (
	containerDir = "container"
	nameDir      = "name"
	volumeDir    = "volume"
	idRangeDir   = "ids"
	runtimeDir   = "runtime"
	imageDir     = "image"
)

// Open makes the engine of the two directories, "" meaning DefaultRoots'.
// Missing directories are made, mode 0700; a directory of somebody else is
// refused, because whoever owns it could replace what lies in it.
func Open(root, runRoot string) (*Engine, error) {
	defRoot, defRun := DefaultRoots()
	if root == "" {
		root = defRoot
	}
	if runRoot == "" {
		runRoot = defRun
	}
	e := &Engine{Rootless: userns.Rootless(), DefaultNetwork: BridgeNetwork}
	var err error
	if e.Root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	if e.RunRoot, err = filepath.Abs(runRoot); err != nil {
		return nil, err
	}
	for _, dir := range []string{e.Root, e.RunRoot} {
		if err := ownDir(dir); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{e.path(containerDir), e.path(nameDir), e.path(volumeDir), e.path(idRangeDir), e.runtimeRoot()} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	if e.Images, err = image.Open(e.path(imageDir)); err != nil {
		return nil, err
	}
	e.Networks = &network.Store{Root: e.Root, RunRoot: e.RunRoot, Gone: e.gone, PortInUse: network.PortInUse}
	e.Networks.TearDown = func(n *network.Network) error { return kernel.TearDown(e.Networks, n) }
	e.Images.Protect(e.layersInUse)
	e.useSpace()
	return e, nil
}

// DefaultRoots are the directories used when none are named: /var/lib/loper
// and /run/loper for root, directories of the user's own for anybody else.
func DefaultRoots() (root, runRoot string) {
	uid := os.Geteuid()
	if uid == 0 && !userns.Rootless() {
		return "/var/lib/loper", "/run/loper"
	}
	data := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		home, _ := os.UserHomeDir()
		data = filepath.Join(home, ".local", "share")
	}
	runRoot = filepath.Join(os.TempDir(), "loper-run-"+strconv.Itoa(uid))
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		runRoot = filepath.Join(dir, "loper")
	}
	return filepath.Join(data, "loper"), runRoot
}

// ownDir makes dir 0700, or checks that it is ours and closed to others.
func ownDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.IsDir():
		return fmt.Errorf("state directory %s is not a directory", dir)
	case !ok || int(st.Uid) != os.Geteuid():
		return fmt.Errorf("state directory %s belongs to user %d, not to %d", dir, st.Uid, os.Geteuid())
	case fi.Mode().Perm()&0o077 != 0:
		return os.Chmod(dir, 0o700)
	}
	return nil
}

func (e *Engine) path(elem ...string) string {
	return filepath.Join(append([]string{e.Root}, elem...)...)
}
