package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"loper.run/container/attach"
	"loper.run/internal/atomicfile"
)

const (
	recordFile = "container.json"
	configFile = "config.json"
	// unfinishedFile is there while anonymous volumes may belong to a container
	// that has no record yet.
	unfinishedFile = "unfinished"
)

// Record is container.json: what was asked and what was given. It changes only
// when the container is renamed or removed.
type Record struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Created   time.Time `json:"created"`
	Settings  Settings  `json:"settings"`
	ImageID   string    `json:"imageID"`
	ImageName string    `json:"imageName"`
	Builtin   string    `json:"builtin,omitempty"` // host or hello
	Image     Defaults  `json:"imageDefaults"`
	Layers    []string  `json:"layers"`             // absolute directories, lowest first
	Mounts    []Mount   `json:"mounts,omitempty"`   // Settings.Mounts and the image's volumes, all named
	Range     int       `json:"range"`              // of user ids; -1: none
	Removing  bool      `json:"removing,omitempty"` // on its way out; whoever sees it unlocked finishes the work
	Volumes   bool      `json:"removeVolumes,omitempty"`
}

// Container is one container as it was when it was looked up. Its methods ask
// the kernel and the files anew.
type Container struct {
	Record
	engine   *Engine
	attached *attach.Client // made by Start, until Attach gives it away
}

// ShortID is the first 12 digits of the id.
func (c *Container) ShortID() string { return c.ID[:12] }

// Dir is the container's directory below Engine.Root.
func (c *Container) Dir() string { return c.engine.path(containerDir, c.ID) }

// RunDir is the container's directory below Engine.RunRoot, with its attach
// socket and its monitor's lock.
func (c *Container) RunDir() string { return filepath.Join(c.engine.RunRoot, c.ID) }

// LogPath is the newest file of the container's output.
func (c *Container) LogPath() string { return c.file("ctr.log") }

func (c *Container) file(name string) string { return filepath.Join(c.Dir(), name) }

// durability is that of the container's files: one that goes with its first
// run is not worth waiting for the disk.
func (c *Container) durability() atomicfile.Durability {
	return atomicfile.Durability(!c.Settings.AutoRemove)
}

func (c *Container) save() error {
	return atomicfile.WriteJSON(c.file(recordFile), &c.Record, 0o600, c.durability())
}

// read loads the record of a container; ErrNotFound when there is none.
func (e *Engine) read(id string) (*Container, error) {
	data, err := os.ReadFile(e.path(containerDir, id, recordFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	if err != nil {
		return nil, err
	}
	c := &Container{engine: e}
	if err := json.Unmarshal(data, &c.Record); err != nil {
		return nil, fmt.Errorf("container %.12s: %s: %w", id, recordFile, err)
	}
	if c.ID != id {
		return nil, fmt.Errorf("container %.12s: %s is of container %.12s", id, recordFile, c.ID)
	}
	return c, nil
}

// readJSON reads a file of the engine's own.
func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
