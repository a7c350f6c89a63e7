package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"loper.run/container/attach"
	"loper.run/internal/atomicfile"
	"loper.run/internal/quickjson"
)

const (
	recordFile = "container.json"
	configFile = "config.json"
	// The record's names while the container is being removed: a renaming says
	// so faster than another file.
	removingFile        = "removing.json"
	removingVolumesFile = "removing-volumes.json"
	// unfinishedFile is there while anonymous volumes may belong to a container
	// that has no record yet.
	unfinishedFile = "unfinished"
)

//go:generate go tool easyjson -no_std_marshalers -output_filename zjson.go record.go
//go:generate sed -i -e "/^\teasyjson \"/d" -e "/_ easyjson.Marshaler/d" zjson.go

// Record is container.json: what was asked and what was given. It changes only
// when the container is renamed or removed.
//
//easyjson:json
type Record struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Created   time.Time `json:"created"`
	Settings  Settings  `json:"settings"`
	ImageID   string    `json:"imageID"`
	ImageName string    `json:"imageName"`
	Builtin   string    `json:"builtin,omitempty"` // host or hello
	Image     Defaults  `json:"imageDefaults"`
	Layers    []string  `json:"layers"`           // absolute directories, lowest first
	Mounts    []Mount   `json:"mounts,omitempty"` // Settings.Mounts and the image's volumes, all named
	Range     int       `json:"range"`            // of user ids; -1: none

	// Removing is told by the record's name: the container is on its way out,
	// and whoever sees it unlocked finishes the work. RemoveVolumes: with its
	// anonymous volumes.
	Removing      bool `json:"-"`
	RemoveVolumes bool `json:"-"`
}

// Container is one container as it was when it was looked up. Its methods ask
// the kernel and the files anew.
type Container struct {
	Record
	engine   *Engine
	attached *attach.Client // made by Start, until Attach gives it away
	damage   error          // what is wrong with the record
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

func (c *Container) runFile(name string) string { return filepath.Join(c.RunDir(), name) }

// durability is that of the container's files: one that goes with its first
// run is not worth waiting for the disk.
func (c *Container) durability() atomicfile.Durability {
	return atomicfile.Durability(!c.Settings.AutoRemove)
}

func (c *Container) save() error {
	data, err := quickjson.Encode(&c.Record)
	if err != nil {
		return err
	}
	return atomicfile.Write(c.file(recordFile), append(data, '\n'), 0o600, c.durability())
}

// read loads the record of a container; ErrNotFound when there is none.
func (e *Engine) read(id string) (*Container, error) {
	var data []byte
	var err error
	c := &Container{engine: e}
	for _, name := range []string{recordFile, removingFile, removingVolumesFile} {
		data, err = os.ReadFile(e.path(containerDir, id, name))
		c.Removing, c.RemoveVolumes = name != recordFile, name == removingVolumesFile
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	// A record that was not synced may be empty after a power cut.
	if errors.Is(err, os.ErrNotExist) || err == nil && len(bytes.Trim(data, "\x00")) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	if err != nil {
		return nil, err
	}
	err = quickjson.Decode(data, &c.Record)
	if err == nil && c.ID != id {
		err = fmt.Errorf("it is of container %q", c.ID)
	}
	if err != nil {
		// It must not hide the others, and can still be removed.
		c.Record = Record{ID: id, Name: id[:12], Range: noRange, Removing: c.Removing, RemoveVolumes: c.RemoveVolumes}
		c.damage = fmt.Errorf("container %.12s: %s is damaged: %w", id, recordFile, err)
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
