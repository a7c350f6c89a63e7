package container

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"loper.run/image"
	"loper.run/image/oci"
	"loper.run/image/pack"
)

// CommitOptions says how an image is made of a container.
type CommitOptions struct {
	Name            string // of the image; "": none
	Author, Message string
	Changes         []string // Dockerfile instructions, see image.Change
	NoPause         bool     // a running container goes on meanwhile
	Created         time.Time
	Latest          *time.Time // of any file; nil: times stay
}

// Commit makes an image of the container's: its image with a layer of what it
// has changed, to be run as the container is.
func (c *Container) Commit(ctx context.Context, o CommitOptions) (oci.Digest, error) {
	layers, po, err := c.packing()
	if err != nil {
		return oci.Digest{}, err
	}
	img, err := c.engine.Images.Find(c.ImageID)
	if err != nil {
		return oci.Digest{}, err
	}
	r := image.Recipe{
		Base: img.ID, Config: c.commitConfig(img.Config), Created: o.Created,
		Author: o.Author, Comment: o.Message, Name: o.Name,
	}
	if args, err := c.args(); err == nil {
		r.CreatedBy = strings.Join(args, " ")
	}
	if err := image.Change(&r.Config, o.Changes...); err != nil {
		return oci.Digest{}, err
	}
	st, err := c.Status()
	if err != nil {
		return oci.Digest{}, err
	}
	if st.State == Running && !o.NoPause {
		// One that can't be paused may change files meanwhile, as it could
		// before and after.
		if err := c.Pause(); err == nil {
			defer c.Unpause()
		}
	}
	po.Changes, po.Skip, po.Latest = true, c.made(), o.Latest
	id, err := c.engine.Images.Make(ctx, r, func(w io.Writer) error { return pack.WriteMapped(ctx, w, layers, po) })
	if err != nil {
		return id, fmt.Errorf("commit container %s: %w", c.Name, err)
	}
	return id, nil
}

// commitConfig is the image's configuration with what the container was given.
func (c *Container) commitConfig(config oci.ImageConfig) oci.ImageConfig {
	s := &c.Settings
	if s.Entrypoint != nil {
		config.Entrypoint, config.Cmd = s.Entrypoint, nil
		if len(s.Entrypoint) == 1 && s.Entrypoint[0] == "" {
			config.Entrypoint = nil
		}
	}
	if len(s.Command) > 0 {
		config.Cmd = s.Command
	}
	for _, v := range s.Env {
		name, value, _ := strings.Cut(v, "=")
		config.Env = image.SetEnv(config.Env, name, value)
	}
	if s.WorkingDir != "" {
		config.WorkingDir = s.WorkingDir
	}
	if s.User != "" {
		config.User = s.User
	}
	if s.StopSignal != "" {
		config.StopSignal = s.StopSignal
	}
	if len(s.Labels) > 0 {
		labels := maps.Clone(config.Labels)
		if labels == nil {
			labels = make(map[string]string)
		}
		maps.Copy(labels, s.Labels)
		config.Labels = labels
	}
	return config
}
