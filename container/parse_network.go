package container

import (
	"encoding/csv"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"loper.run/network"
)

// BridgeNetwork is the network of a container that asks for none by name.
const BridgeNetwork = "bridge"

// ParseNetwork reads one --network: a mode (none, host, container:NAME,
// ns:PATH), or a network with what is wanted of it, as NAME[:KEY=VALUE,…] or
// name=NAME[,KEY=VALUE…]. Of mode and request one is empty.
func ParseNetwork(word string) (mode string, r network.Request, err error) {
	kind, rest, cut := strings.Cut(word, ":")
	switch {
	case word == "none", word == "host":
		return word, r, nil
	case kind == "slirp4netns", kind == "pasta" && cut:
		return "", r, fmt.Errorf("network mode %q: Loper's own networks have their own way out; use --network bridge", word)
	case kind == "container" && rest != "" && !strings.Contains(rest, "="):
		return word, r, nil
	case kind == "ns" && filepath.IsAbs(rest):
		return word, r, nil
	case kind == "container" || kind == "ns" || cut && (kind == "none" || kind == "host"):
		return "", r, fmt.Errorf("invalid network %q: want container:NAME or ns:PATH", word)
	}
	var fields []string
	if r.Network = kind; strings.Contains(kind, "=") {
		rest, r.Network = word, ""
	}
	if rest != "" {
		if fields, err = csv.NewReader(strings.NewReader(rest)).Read(); err != nil {
			return "", r, fmt.Errorf("invalid network %q: %w", word, err)
		}
	}
	for _, field := range fields {
		key, value, _ := strings.Cut(field, "=")
		if strings.EqualFold(strings.TrimSpace(key), "name") {
			r.Network = value
		} else if err := networkField(&r, key, value); err != nil {
			return "", r, fmt.Errorf("invalid network %q: %w", word, err)
		}
	}
	if r.Network == "" {
		return "", r, fmt.Errorf("invalid network %q: network name/id is not specified", word)
	}
	if r.Network == "default" || r.Network == "private" || r.Network == "pasta" {
		r.Network = BridgeNetwork
	}
	if CheckName(r.Network) != nil {
		return "", r, fmt.Errorf("invalid network %q: %q is no network's name", word, r.Network)
	}
	return "", r, nil
}

// networkField reads KEY=VALUE of a --network.
func networkField(r *network.Request, key, value string) (err error) {
	switch strings.ToLower(strings.TrimSpace(key)) {
	case "alias":
		r.Aliases, err = append(r.Aliases, value), network.CheckAlias(value)
	case "ip":
		r.IP, err = ParseIP(value)
	case "ip6":
		r.IP6, err = ParseIP6(value)
	case "mac", "mac-address":
		r.MAC, err = network.ParseMAC(value)
	case "interface_name":
		r.Interface, err = value, network.CheckInterface(value)
	case "driver-opt":
		err = EndpointOption(r, value)
	case "gw-priority":
		if r.Priority, err = strconv.Atoi(value); err != nil {
			err = fmt.Errorf("invalid gw-priority %q: not a number", value)
		}
	default:
		err = fmt.Errorf("unknown option %q: known are alias, driver-opt, gw-priority, interface_name, ip, ip6, mac", key)
	}
	return err
}

// interfaceOption is docker's driver option for an interface's name.
const interfaceOption = "com.docker.network.endpoint.ifname"

// EndpointOption reads one --driver-opt of a container's place in a network.
func EndpointOption(r *network.Request, word string) error {
	key, value, _ := strings.Cut(word, "=")
	if key != interfaceOption {
		return fmt.Errorf("unknown driver option %q: known is %s", key, interfaceOption)
	}
	r.Interface = value
	return network.CheckInterface(value)
}

// ParseIP reads an IPv4 address.
func ParseIP(word string) (netip.Addr, error) {
	a, err := netip.ParseAddr(word)
	if err != nil || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("invalid IPv4 address: %s", word)
	}
	return a, nil
}

// ParseIP6 reads an IPv6 address.
func ParseIP6(word string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.Trim(word, "[]"))
	if err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("invalid IPv6 address: %s", word)
	}
	return a, nil
}
