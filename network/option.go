package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// option is what a --opt means: it changes a network, or says what is wrong with
// the value.
type option struct {
	drivers string // that have it
	set     func(n *Network, value string) error
}

// lookupOption finds an option by the names that docker and podman have for it.
func lookupOption(key string) (option, bool) {
	const (
		all    = Bridge + " " + Macvlan + " " + Ipvlan
		lowers = Macvlan + " " + Ipvlan
	)
	switch key {
	case "com.docker.network.driver.mtu", "mtu":
		return option{all, func(n *Network, v string) (err error) { n.MTU, err = within(v, 68, 65535); return err }}, true
	case "com.docker.network.container_iface_prefix":
		return option{all, func(n *Network, v string) error { n.Prefix = v; return CheckInterface(v + "99") }}, true
	case "metric":
		return option{all, func(n *Network, v string) error {
			m, err := within(v, 1, 1<<31-1)
			n.Metric = uint32(m)
			return err
		}}, true
	case "no_default_route":
		return option{all, func(n *Network, v string) error { return truth(&n.NoDefault, v, false) }}, true
	case "com.docker.network.bridge.name":
		return option{Bridge, func(n *Network, v string) error { n.Interface = v; return CheckInterface(v) }}, true
	case "com.docker.network.bridge.enable_icc":
		return option{Bridge, func(n *Network, v string) error { return truth(&n.NoICC, v, true) }}, true
	case "com.docker.network.bridge.enable_ip_masquerade":
		return option{Bridge, func(n *Network, v string) error { return truth(&n.NoMasquerade, v, true) }}, true
	case "com.docker.network.bridge.host_binding_ipv4":
		return option{Bridge, func(n *Network, v string) (err error) {
			if n.Publish, err = netip.ParseAddr(v); err == nil && !n.Publish.Is4() {
				err = fmt.Errorf("%s is no IPv4 address", v)
			}
			if n.Publish == netip.IPv4Unspecified() {
				n.Publish = netip.Addr{}
			}
			return err
		}}, true
	case "com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6":
		return option{Bridge, func(n *Network, v string) error { return oneOf(v, "nat") }}, true
	case "isolate":
		return option{Bridge, func(n *Network, v string) error {
			if v == "strict" {
				v = "true"
			}
			return truth(&n.Isolated, v, false)
		}}, true
	case "vlan":
		return option{Bridge, func(n *Network, v string) (err error) { n.VLAN, err = within(v, 1, 4094); return err }}, true
	case "parent":
		return option{lowers, func(n *Network, v string) error { n.Interface = v; return CheckInterface(v) }}, true
	case "mode", "macvlan_mode", "ipvlan_mode":
		driver, _, specific := strings.Cut(key, "_mode")
		if !specific {
			driver = all
		}
		return option{driver, func(n *Network, v string) error {
			n.Mode = v
			switch n.Driver {
			case Ipvlan:
				return oneOf(v, "l2", "l3", "l3s")
			case Macvlan:
				return oneOf(v, "bridge", "private", "vepa", "passthru")
			}
			if v == "managed" {
				n.Mode = ""
			}
			return oneOf(v, "managed", "unmanaged")
		}}, true
	case "ipvlan_flag":
		return option{Ipvlan, func(n *Network, v string) error { return oneOf(v, "bridge") }}, true
	}
	return option{}, false
}

// apply carries out the network's options, in the order of their names.
func (n *Network) apply() error {
	for _, key := range slices.Sorted(maps.Keys(n.Options)) {
		o, ok := lookupOption(key)
		if !ok {
			return fmt.Errorf("driver %s has no option %q", n.Driver, key)
		}
		if !slices.Contains(strings.Fields(o.drivers), n.Driver) {
			return fmt.Errorf("driver %s has no option %q: it is one of %s", n.Driver, key, strings.ReplaceAll(o.drivers, " ", " and "))
		}
		if err := o.set(n, n.Options[key]); err != nil {
			return fmt.Errorf("option %s: %w", key, err)
		}
	}
	return nil
}

func within(v string, least, most int) (int, error) {
	i, err := strconv.Atoi(v)
	if err != nil || i < least || i > most {
		return 0, fmt.Errorf("%q is no number from %d to %d", v, least, most)
	}
	return i, nil
}

// truth reads a true or false, which sets a flag that may mean the opposite.
func truth(flag *bool, v string, opposite bool) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("%q is not true or false", v)
	}
	*flag = b != opposite
	return nil
}

func oneOf(v string, known ...string) error {
	if !slices.Contains(known, v) {
		return fmt.Errorf("%q is not supported: known are %s", v, strings.Join(known, ", "))
	}
	return nil
}
