package main

import (
	"encoding/json"
	"os"
	"os/user"
	"strconv"
	"time"

	"loper.run/runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func stateCommand() command {
	return byID("state", "Print the state of a container as JSON", func(c *runtime.Container) error {
		s, err := stateOf(c)
		if err != nil {
			return err
		}
		return printJSON(s)
	})
}

// containerState is the specification's state of a container with the fields
// that runc adds to it, in runc's order.
type containerState struct {
	Version     string               `json:"ociVersion"`
	ID          string               `json:"id"`
	Pid         int                  `json:"pid"`
	Status      specs.ContainerState `json:"status"`
	Bundle      string               `json:"bundle"`
	Rootfs      string               `json:"rootfs"`
	Created     time.Time            `json:"created"`
	Annotations map[string]string    `json:"annotations,omitempty"`
	Owner       string               `json:"owner"`
}

func stateOf(c *runtime.Container) (*containerState, error) {
	s, err := c.State()
	if err != nil {
		return nil, err
	}
	return &containerState{
		Version: s.Version, ID: s.ID, Pid: s.Pid, Status: s.Status, Bundle: s.Bundle, Rootfs: c.Rootfs(),
		Created: c.Created(), Annotations: s.Annotations, Owner: userName(c.Owner()),
	}, nil
}

// userName is a user's name, or #UID for one without.
func userName(uid int) string {
	id := strconv.Itoa(uid)
	u, err := user.LookupId(id)
	if err != nil {
		return "#" + id
	}
	return u.Username
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
