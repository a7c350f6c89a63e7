package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/atomicfile"
	"loper.run/internal/flock"
)

// The errors of volumes.
var (
	ErrNoVolume    = errors.New("no such volume")
	ErrVolumeInUse = errors.New("volume is in use")
)

const (
	volumeFile = "volume.json"
	volumeData = "_data" // the directory that containers see
)

// Volume is a directory that outlives containers, with docker's JSON names.
type Volume struct {
	CreatedAt  time.Time
	Driver     string // local
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string // local

	// Anonymous volumes were named by the engine and go with their container.
	Anonymous bool `json:",omitempty"`
	// Fill is "" until a container first uses the volume, "filling" while it is
	// filled from that container's image, then "done".
	Fill string `json:"-"`
	// Owner is the id of the container that an anonymous volume was made for.
	Owner string `json:"-"`
}

// volumeRecord is volume.json.
type volumeRecord struct {
	CreatedAt time.Time         `json:"createdAt"`
	Labels    map[string]string `json:"labels,omitempty"`
	Anonymous bool              `json:"anonymous,omitempty"`
	Fill      string            `json:"fill,omitempty"`
	Owner     string            `json:"owner,omitempty"`
}

func (e *Engine) volume(name string, r volumeRecord) *Volume {
	return &Volume{
		CreatedAt: r.CreatedAt, Driver: "local", Labels: r.Labels, Name: name, Scope: "local",
		Mountpoint: e.path(volumeDir, name, volumeData), Anonymous: r.Anonymous, Fill: r.Fill, Owner: r.Owner,
	}
}

// VolumeCreate makes a volume, or finds the one of this name; "" makes up a
// name.
func (e *Engine) VolumeCreate(name string, labels map[string]string) (*Volume, error) {
	r := volumeRecord{CreatedAt: time.Now().UTC(), Labels: labels, Anonymous: name == ""}
	if name == "" {
		name = newID()
	}
	v, lock, err := e.openVolume(name, r)
	if err != nil {
		return nil, err
	}
	lock.Close()
	return v, nil
}

// openVolume finds or makes a volume and takes its lock. A volume exists when
// it has its record; what a killed command made before that is made good.
func (e *Engine) openVolume(name string, fresh volumeRecord) (*Volume, *os.File, error) {
	if err := CheckName(name); err != nil {
		return nil, nil, err
	}
	dir := e.path(volumeDir, name)
	for {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, nil, err
		}
		lock, err := e.lockVolume(name, unix.LOCK_EX)
		if errors.Is(err, ErrNoVolume) {
			continue // removed in this moment
		}
		if err != nil {
			return nil, nil, err
		}
		v, err := e.readVolume(name)
		if errors.Is(err, ErrNoVolume) {
			v, err = e.volume(name, fresh), e.writeVolume(name, fresh)
		}
		if err != nil {
			lock.Close()
			return nil, nil, err
		}
		return v, lock, nil
	}
}

func (e *Engine) writeVolume(name string, r volumeRecord) error {
	if err := os.Mkdir(e.path(volumeDir, name, volumeData), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return atomicfile.WriteJSON(e.path(volumeDir, name, volumeFile), r, 0o600, atomicfile.Durability(!r.Anonymous))
}

// lockVolume takes the lock of a volume's directory, which still exists then.
func (e *Engine) lockVolume(name string, how int) (*os.File, error) {
	d, err := os.Open(e.path(volumeDir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoVolume, name)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = flock.Lock(d, how); err == nil {
		err = unix.Fstat(int(d.Fd()), &st)
	}
	if err == nil && st.Nlink == 0 {
		err = fmt.Errorf("%w: %s", ErrNoVolume, name)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (e *Engine) readVolume(name string) (*Volume, error) {
	data, err := os.ReadFile(e.path(volumeDir, name, volumeFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoVolume, name)
	}
	if err != nil {
		return nil, err
	}
	var r volumeRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("volume %s: %s: %w", name, volumeFile, err)
	}
	return e.volume(name, r), nil
}

// VolumeInspect finds a volume by its name.
func (e *Engine) VolumeInspect(name string) (*Volume, error) {
	if CheckName(name) != nil {
		return nil, fmt.Errorf("%w: %q", ErrNoVolume, name)
	}
	return e.readVolume(name)
}

// VolumeList lists all volumes by name.
func (e *Engine) VolumeList() ([]*Volume, error) {
	entries, err := os.ReadDir(e.path(volumeDir))
	if err != nil {
		return nil, err
	}
	var list []*Volume
	for _, entry := range entries {
		v, err := e.readVolume(entry.Name())
		if errors.Is(err, ErrNoVolume) {
			if err := e.dropHalfVolume(entry.Name()); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// dropHalfVolume removes a volume without a record, which a killed command
// was making or removing.
func (e *Engine) dropHalfVolume(name string) error {
	lock, err := e.lockVolume(name, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, flock.ErrHeld) || errors.Is(err, ErrNoVolume) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := e.readVolume(name); !errors.Is(err, ErrNoVolume) {
		return err
	}
	return e.removeTree(e.path(volumeDir, name))
}

// VolumeRemove removes a volume and what is in it. ErrVolumeInUse names the
// containers that have it; force does not change that.
func (e *Engine) VolumeRemove(name string, force bool) error {
	if CheckName(name) != nil {
		return fmt.Errorf("%w: %q", ErrNoVolume, name)
	}
	lock, err := e.lockVolume(name, unix.LOCK_EX)
	if err != nil {
		if force && errors.Is(err, ErrNoVolume) {
			return nil
		}
		return err
	}
	defer lock.Close()
	users, err := e.volumeUsers(name)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("%w: %s: by %s", ErrVolumeInUse, name, strings.Join(users, ", "))
	}
	return e.removeVolume(name)
}

// removeVolume removes a locked volume: its record first, so that a killed
// removal leaves no volume that has lost a part of its data unseen.
func (e *Engine) removeVolume(name string) error {
	if err := os.Remove(e.path(volumeDir, name, volumeFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return e.removeTree(e.path(volumeDir, name))
}

// volumeUsers names the containers that mount the volume, but reads only
// records: it must not wait for a lock that waits for the volume's.
func (e *Engine) volumeUsers(name string) (users []string, err error) {
	err = e.records(func(c *Container) {
		if slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.Type == MountVolume && m.Source == name }) {
			users = append(users, c.Name)
		}
	})
	return users, err
}
