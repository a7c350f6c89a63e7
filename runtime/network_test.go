package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"loper.run/internal/netlink"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The networks are made in the container's own namespace, before anything of
// the container runs.
func TestNetwork(t *testing.T) {
	both(t, func(t *testing.T, own bool) {
		o := bundle(t, "sh", "-c", "ip link show lo | grep -o 'mtu [0-9]*'")
		if own {
			mappedUser(&o)
			mappedRoot(t, &o)
		}
		var made time.Time
		o.Network = func(namespace *os.File) error {
			c, err := netlink.OpenIn(namespace)
			if err != nil {
				return err
			}
			defer c.Close()
			time.Sleep(50 * time.Millisecond) // longer than all the rest
			made = time.Now()
			return c.Ask([]netlink.Request{netlink.Set(netlink.Settings{Name: "lo", MTU: 1234})})
		}
		out, _ := capture(t, o)
		if !strings.Contains(out, "mtu 1234") || made.IsZero() {
			t.Errorf("output %q", out)
		}
	})
}

// What a joined namespace needs is made in that one.
func TestNetworkJoined(t *testing.T) {
	first, _ := sleeping(t, func(o *Options) { o.Spec.Linux.CgroupsPath += "-first" })
	path := fmt.Sprintf("/proc/%d/ns/net", first.Pid())
	want, err := os.Stat(path)
	must(t, err)
	sleeping(t, func(o *Options) {
		for i, ns := range o.Spec.Linux.Namespaces {
			if ns.Type == specs.NetworkNamespace {
				o.Spec.Linux.Namespaces[i].Path = path
			}
		}
		o.Network = func(namespace *os.File) error {
			got, err := namespace.Stat()
			if err == nil && !os.SameFile(got, want) {
				err = errors.New("another namespace")
			}
			return err
		}
	})
}

// Nothing runs without the networks, and nobody is left who makes them.
func TestNetworkFails(t *testing.T) {
	for want, change := range map[string]func(o *Options, done *bool){
		"no such cable": func(o *Options, done *bool) {
			o.Network = func(*os.File) error { *done = true; return errors.New("no such cable") }
		},
		"/no/such/program": func(o *Options, done *bool) {
			o.Spec.Process.Args = []string{"/no/such/program"}
			o.Network = func(*os.File) error { time.Sleep(20 * time.Millisecond); *done = true; return nil }
		},
		"linux.namespaces: has no network namespace": func(o *Options, done *bool) {
			*done = true
			o.Spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.UTSNamespace}, {Type: specs.IPCNamespace}}
			o.Network = func(*os.File) error { return nil }
		},
	} {
		o, done := bundle(t, "sh", "-c", "echo ran >/ran"), false
		o.Detached = true
		change(&o, &done)
		if _, err := Run(o); err == nil || !strings.Contains(err.Error(), want) || !done {
			t.Errorf("error %v, want %s; done %t", err, want, done)
		}
	}
}
