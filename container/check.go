package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/image"
	"loper.run/image/oci"
)

// Check looks for what is damaged in the engine's images, containers,
// volumes and networks, and repairs of the images what can be. What it finds goes to
// o.Report; the error is only of what kept it from looking.
func (e *Engine) Check(ctx context.Context, o image.Check) error {
	report := o.Report
	o.Hold = e.holdLayers
	o.Report = func(p image.Problem) {
		if p.Kind == "layer" || p.Kind == "image" {
			p.Containers = e.sufferers(p.Name)
		}
		report(p)
	}
	return errors.Join(e.Images.Check(ctx, o), e.checkContainers(report), e.checkVolumes(report),
		e.Networks.Check(func(name string, err error) { report(image.Problem{Kind: "network", Name: name, What: err.Error()}) }))
}

// sufferers names the containers made of a layer or an image.
func (e *Engine) sufferers(digest string) (names []string) {
	d, err := oci.Parse(digest)
	if err != nil {
		return nil
	}
	part := "/" + d.Algorithm().String() + "/" + d.Hex() + "/"
	_ = e.records(func(c *Container) {
		if c.ImageID == digest || slices.ContainsFunc(c.Layers, func(dir string) bool { return strings.Contains(dir, part) }) {
			names = append(names, c.Name)
		}
	})
	return names
}

// holdLayers takes the locks of all containers that are made of some layers, so
// that none of them starts, and names those that run already.
func (e *Engine) holdLayers(dirs []string) (release func(), running []string, err error) {
	var ids []string
	err = e.records(func(c *Container) {
		if slices.ContainsFunc(c.Layers, func(dir string) bool { return slices.Contains(dirs, dir) }) {
			ids = append(ids, c.ID)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	var locks []*os.File
	release = func() {
		for _, l := range locks {
			l.Close()
		}
	}
	for _, id := range ids {
		lock, err := e.lockDir(id, unix.LOCK_EX)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			release()
			return nil, nil, err
		}
		locks = append(locks, lock)
		c, err := e.read(id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err == nil {
			var st Status
			if st, err = c.status(true); st.Alive() {
				running = append(running, c.Name)
			}
		}
		if err != nil {
			release()
			return nil, nil, err
		}
	}
	return release, running, nil
}

// checkContainers tells of containers that can't start for what is missing.
func (e *Engine) checkContainers(report func(image.Problem)) error {
	list, err := e.List() // which repairs what killed commands left
	if err != nil {
		return err
	}
	for _, c := range list {
		p := image.Problem{Kind: "container", Name: c.Name}
		if c.damage != nil {
			p.What = c.damage.Error()
			report(p)
			continue
		}
		id, err := oci.Parse(c.ImageID)
		switch {
		case c.Builtin == image.Host:
			continue
		case err != nil:
			p.What = fmt.Sprintf("its image has no id: %v", err)
		case !e.Images.Has(id):
			p.What = "its image is missing: " + c.ImageName + " (" + id.Short() + ")"
		}
		for _, dir := range c.Layers {
			if fi, err := os.Lstat(dir); err != nil || !fi.IsDir() {
				p.What = "a layer is missing: " + dir
			}
		}
		if p.What != "" {
			report(p)
		}
	}
	return nil
}

// checkVolumes tells of volumes that can't be mounted.
func (e *Engine) checkVolumes(report func(image.Problem)) error {
	entries, err := os.ReadDir(e.path(volumeDir))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		v, err := e.readVolume(entry.Name())
		if errors.Is(err, ErrNoVolume) {
			if err := e.dropHalfVolume(entry.Name()); err != nil {
				report(image.Problem{Kind: "volume", Name: entry.Name(), What: err.Error()})
			}
			continue
		}
		if err == nil {
			var fi os.FileInfo
			if fi, err = os.Lstat(v.Mountpoint); err == nil && !fi.IsDir() {
				err = fmt.Errorf("%s is not a directory", v.Mountpoint)
			}
		}
		if err != nil {
			report(image.Problem{Kind: "volume", Name: entry.Name(), What: err.Error()})
		}
	}
	return nil
}
