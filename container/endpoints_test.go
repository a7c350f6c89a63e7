package container

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"loper.run/network"
)

// An image has room for very many words that each expose all ports; what it says costs neither much memory nor much time.
func TestImageThatExposesEverything(t *testing.T) {
	c := &Container{Record: Record{Settings: Settings{PublishAll: true, Ports: []network.Port{{HostPort: 80, ContainerPort: 65535, Protocol: "tcp"}}}}}
	for i := range 20000 {
		c.Image.Ports = append(c.Image.Ports, fmt.Sprintf("1-%d/tcp", 65535-i), "nonsense", fmt.Sprintf("%d/udp", i+1))
	}
	begun := time.Now()
	exposed, published := c.exposed(), c.publish()
	if took := time.Since(begun); took > 5*time.Second || len(exposed) > allPorts || len(exposed) < 65535 {
		t.Errorf("%d ports, after %v", len(exposed), took)
	}
	if len(published) != len(exposed) || published[0].HostPort != 80 || published[1].HostPort != 0 {
		t.Errorf("%d ports of %d are published, the first of them %v", len(published), len(exposed), published[:2])
	}
}

// A container's process may end between the look for its number and the look at its network, and the number may be another
// process's then: nobody is given a container's interface by that.
func TestNumberOfAnotherProcess(t *testing.T) {
	e := newEngine(t)
	c := e.start(Settings{Network: "none", Command: []string{"sleep", "1000"}})
	unlock, err := c.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	st, err := c.status(true)
	if err != nil {
		t.Fatal(err)
	}
	if _, namespace, err := c.running(st.Pid); err != nil {
		t.Error(err)
	} else {
		namespace.Close()
	}
	if _, _, err := c.running(os.Getpid()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("the network namespace of another process: %v", err)
	}
}
