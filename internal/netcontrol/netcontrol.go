// Package netcontrol is how a user's containers speak with loper-net, the
// program that carries an ordinary user's traffic between a network namespace
// and the host: its messages, its start, and a client.
//
// Loper-net listens on a unix socket of sequenced packets. Whoever connects is
// greeted with a [Hello], which carries descriptors of the user namespace and
// the network namespace that the program serves; then each [Request] gets one
// [Answer], in order, each one packet of JSON. What a connection published goes
// with the connection, and the program with the last one: so a monitor holds
// its connection as long as its container runs, and whatever kills it leaves
// nothing behind.
package netcontrol

import (
	"errors"
	"net/netip"
)

// SocketFile is the socket's name in its directory, which only the user may enter.
const SocketFile = "net.sock"

// MaxPacket limits a packet in bytes.
const MaxPacket = 64 << 10

// MaxPorts limits the ports of one request, so that a packet has room for them.
const MaxPorts = 200

// The descriptors that loper-net is started with. Stderr is where it says what
// goes wrong; nothing comes on it when all is well.
const (
	Listener         = 3 // the socket that it listens on
	UserNamespace    = 4
	NetworkNamespace = 5
)

// Hello is the first packet of a connection. With Error the program has ended,
// or this connection is one too many.
type Hello struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Error   string `json:"error,omitempty"`
}

// The requests.
const (
	Publish  = "publish"  // all of Ports, or none; what is published already gets new targets
	Withdraw = "withdraw" // those of Ports that this connection published; targets don't matter
	List     = "list"     // what every connection published, in order; MaxPorts at most, from the From-th on
)

// Request is one packet to loper-net.
type Request struct {
	Do    string `json:"do"`
	Ports []Port `json:"ports,omitempty"`
	From  int    `json:"from,omitempty"`
}

// Answer is what comes back.
type Answer struct {
	Error string `json:"error,omitempty"`
	Errno int    `json:"errno,omitempty"` // of the kernel's refusal behind Error, as EADDRINUSE
	Ports []Port `json:"ports,omitempty"` // Publish: as asked, with the ports that were chosen; List: all
}

// Port is a port of the host that leads to a container.
type Port struct {
	Protocol string     `json:"protocol"`       // tcp, udp
	Host     netip.Addr `json:"host,omitzero"`  // invalid: all addresses of both families
	Port     uint16     `json:"port"`           // 0: any that is free
	Targets  []Target   `json:"targets"`        // at most one of each family
	Open     int        `json:"open,omitempty"` // List: connections and flows at this moment
}

// Target is where a published port leads. A client of the same family keeps its
// address, unless that is a loopback or link-local one or in Subnet: those come
// from Gateway, as do clients of the other family when there is but one target.
type Target struct {
	Address netip.AddrPort `json:"address"`
	Subnet  netip.Prefix   `json:"subnet,omitzero"`
	Gateway netip.Addr     `json:"gateway,omitzero"` // an address that the network namespace has; invalid: the kernel's choice
}

// ErrEnded is returned when the program is not there any more: start another.
var ErrEnded = errors.New("loper-net has ended")
