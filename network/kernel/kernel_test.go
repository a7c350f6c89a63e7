package kernel_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/network"
	"loper.run/network/kernel"
	"loper.run/test/env"
)

// place is where a container is in network n: 10.9n.0.2.
func place(n int) network.Endpoint {
	id := strings.Repeat(fmt.Sprint(n), 64)
	return network.Endpoint{
		Network: fmt.Sprint("net", n), NetworkID: id, Driver: network.Bridge, Link: fmt.Sprint("lbr-", n), HostInterface: fmt.Sprint("lv0000000", n),
		Interface: fmt.Sprint("eth", n), MAC: fmt.Sprintf("02:00:00:00:00:0%d", n),
		Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.9%d.0.2/24", n)), netip.MustParsePrefix(fmt.Sprintf("fd0%d::2/64", n))},
		Gateways:  []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.9%d.0.1", n)), netip.MustParseAddr(fmt.Sprintf("fd0%d::1", n))},
	}
}

// answers tells whether something takes connections at an address.
func answers(n *env.Netns, address string) error {
	var err error
	n.Do(func() {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", address, time.Second); err == nil {
			// The other one has said goodbye: else he does it again and again when the
			// way is gone, and his namespace stays as long.
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, _ = c.Read(make([]byte, 1))
			c.Close()
		}
	})
	return err
}

// A container leaves one of its networks: its port leads to the other one, which
// notices nothing. At the end there is nothing of it.
func TestLife(t *testing.T) {
	env.Need(t, "nft")
	h, inside, outside := env.TestNetns(t), env.TestNetns(t), env.TestNetns(t)
	if err := env.Wire(h, "up0", []string{"198.51.100.1/24"}, outside, "eth0", []string{"198.51.100.9/24"}); err != nil {
		t.Skip(err)
	}
	network.HostNamespace = h.File()
	t.Cleanup(func() { network.HostNamespace = nil })
	dir := t.TempDir()
	store := &network.Store{Root: filepath.Join(dir, "root"), RunRoot: filepath.Join(dir, "run")}
	s := &network.Sandbox{Container: strings.Repeat("a", 64), Name: "c", Endpoints: []network.Endpoint{place(1), place(2)},
		Ports: []network.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}}
	runDir := filepath.Join(store.RunRoot, s.Container)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(runDir, 0o700))
	must(s.Write(runDir))
	must(kernel.Connect(store, s, inside.File()))
	var listener net.Listener
	var err error
	inside.Do(func() { listener, err = net.Listen("tcp", ":80") })
	must(err)
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	must(answers(outside, "198.51.100.1:8080"))
	must(answers(h, "10.92.0.2:80"))

	// While it leaves the first, it is asked in the second.
	stop, asked := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				asked <- nil
				return
			default:
				err = answers(h, "10.92.0.2:80")
			}
		}
		asked <- err
	}()
	must(kernel.DisconnectOne(store, s, &s.Endpoints[0], inside.File()))
	close(stop)
	if err := <-asked; err != nil {
		t.Errorf("the second network: %v", err)
	}
	must(answers(outside, "198.51.100.1:8080"))
	s.Endpoints = s.Endpoints[1:]
	must(s.Write(runDir))

	for range 2 {
		must(kernel.Leave(store, runDir, s.Container))
	}
	if err := answers(outside, "198.51.100.1:8080"); err == nil {
		t.Error("the port is still open")
	}
	for n := 1; n <= 2; n++ {
		must(kernel.TearDown(store, &network.Network{ID: place(n).NetworkID, Name: place(n).Network, Driver: network.Bridge, Interface: place(n).Link}))
	}
	listener.Close() // what keeps a namespace keeps its interfaces
	inside.Close()
	var left string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); { // the kernel takes its time for interfaces
		var rules, links []byte
		h.Do(func() {
			rules, _ = exec.Command("nft", "list", "ruleset").CombinedOutput()
			links, _ = exec.Command("ip", "-o", "link").CombinedOutput()
		})
		left = string(rules) + string(links)
		if !strings.Contains(left, "loper") && !strings.Contains(left, "lv0") && !strings.Contains(left, "lbr") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("there is still: %s", left)
}
