package netlink

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Link is a network interface, as the kernel has it.
type Link struct {
	Index   int32
	Name    string
	Kind    string // bridge, veth, …; "": hardware and the loopback
	Up      bool
	Master  int32 // the bridge that it is a port of
	Peer    int32 // the other end of a veth, or the parent, in its own namespace
	MTU     uint32
	Address []byte // of the link layer
	Alias   string // free text
}

// linkMessage is struct ifinfomsg.
func linkMessage(index int32, flags, change uint32) []byte {
	m := make([]byte, unix.SizeofIfInfomsg, 256)
	binary.NativeEndian.PutUint32(m[4:], uint32(index))
	binary.NativeEndian.PutUint32(m[8:], flags)
	binary.NativeEndian.PutUint32(m[12:], change)
	return m
}

// Link finds an interface by its name. Without one of that name the error is
// ENODEV.
func (c *Conn) Link(name string) (Link, error) {
	answers, err := c.Do(unix.RTM_GETLINK, 0, AppendString(linkMessage(0, 0, 0), unix.IFLA_IFNAME, name))
	if err != nil {
		return Link{}, err
	}
	return parseLink(answers)
}

// LinkAt finds an interface by its index.
func (c *Conn) LinkAt(index int32) (Link, error) {
	answers, err := c.Do(unix.RTM_GETLINK, 0, linkMessage(index, 0, 0))
	if err != nil {
		return Link{}, err
	}
	return parseLink(answers)
}

// Links lists the interfaces.
func (c *Conn) Links() ([]Link, error) {
	answers, err := c.Do(unix.RTM_GETLINK, unix.NLM_F_DUMP, linkMessage(0, 0, 0))
	if err != nil {
		return nil, err
	}
	list := make([]Link, 0, len(answers))
	for _, a := range answers {
		l, err := parseLink([][]byte{a})
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

// FindLink asks for an interface by its name; Link of the answered request
// tells of it.
func FindLink(name string) Request {
	return Request{Message: Message{Kind: unix.RTM_GETLINK, Body: AppendString(linkMessage(0, 0, 0), unix.IFLA_IFNAME, name)},
		What: "find the interface " + name}
}

// Link is what the kernel answered to FindLink.
func (r *Request) Link() (Link, error) {
	if r.Err != nil {
		return Link{}, r.Err
	}
	return parseLink(r.Answers)
}

func parseLink(answers [][]byte) (Link, error) {
	if len(answers) != 1 || len(answers[0]) < unix.SizeofIfInfomsg {
		return Link{}, fmt.Errorf("netlink: %d answers about one interface", len(answers))
	}
	a := answers[0]
	l := Link{Index: int32(binary.NativeEndian.Uint32(a[4:])), Up: binary.NativeEndian.Uint32(a[8:])&unix.IFF_UP != 0}
	for kind, value := range Attributes(a[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = text(value)
		case unix.IFLA_IFALIAS:
			l.Alias = text(value)
		case unix.IFLA_MASTER:
			l.Master = int32(number(value))
		case unix.IFLA_LINK:
			l.Peer = int32(number(value))
		case unix.IFLA_MTU:
			l.MTU = number(value)
		case unix.IFLA_ADDRESS:
			l.Address = value
		case unix.IFLA_LINKINFO:
			for kind, value := range Attributes(value) {
				if kind == unix.IFLA_INFO_KIND {
					l.Kind = text(value)
				}
			}
		}
	}
	return l, nil
}

// SetUp lets an interface send and receive.
func (c *Conn) SetUp(index int32) error {
	_, err := c.Do(unix.RTM_NEWLINK, 0, linkMessage(index, unix.IFF_UP, unix.IFF_UP))
	return err
}

// Rename gives an interface another name; one with %d in it gets the first
// number that is free.
func (c *Conn) Rename(index int32, name string) error {
	_, err := c.Do(unix.RTM_NEWLINK, 0, AppendString(linkMessage(index, 0, 0), unix.IFLA_IFNAME, name))
	return err
}

// Move puts an interface, under a name, into another network namespace. It is
// down there and has no addresses.
func (c *Conn) Move(index int32, namespace *os.File, name string) error {
	m := AppendUint32(linkMessage(index, 0, 0), unix.IFLA_NET_NS_FD, uint32(namespace.Fd()))
	_, err := c.Do(unix.RTM_NEWLINK, 0, AppendString(m, unix.IFLA_IFNAME, name))
	return err
}
