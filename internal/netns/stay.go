package netns

import (
	"errors"
	"os"

	"loper.run/launch"
)

// Stay starts a process that waits in a network namespace of an ordinary
// user's, so that the namespace has a path: /proc/PID/ns/net. The caller ends it.
func Stay(namespace *os.File) (*launch.Process, error) {
	p, owner, err := enter(namespace)
	if err != nil {
		return nil, err
	}
	defer owner.Close()
	p.Add(launch.Op{Call: launch.Announce, Text: "there"})
	p.Await("wait in the network namespace", 0)
	c, err := launch.Start(p, launch.Files{"owner": owner, "network": namespace}, nil)
	if err != nil {
		return nil, err
	}
	if text, err := c.Next(); err != nil || text != "there" {
		c.Abort()
		return nil, errors.Join(errors.New("enter the network namespace"), err)
	}
	return c, nil
}
