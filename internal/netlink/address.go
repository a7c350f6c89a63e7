package netlink

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Address is an address of an interface, as the kernel has it.
type Address struct {
	Prefix netip.Prefix
	// Flags are IFA_F_….
	Flags uint32
	// Scope is RT_SCOPE_….
	Scope uint8
	// Peer is the other end of a point-to-point interface, else the same
	// address.
	Peer netip.Addr
	// Broadcast, Metric and Protocol are the zero value when there is none.
	Broadcast netip.Addr
	Metric    uint32
	Protocol  uint8
}

// ifaProto is IFA_PROTO of linux/if_addr.h.
const ifaProto = 11

// addressMessage is struct ifaddrmsg.
func addressMessage(family, bits, scope uint8, index int32) []byte {
	m := make([]byte, unix.SizeofIfAddrmsg)
	m[0], m[1], m[3] = family, bits, scope
	binary.NativeEndian.PutUint32(m[4:], uint32(index))
	return m
}

// Addresses lists the addresses of an interface, of all families.
func (c *Conn) Addresses(index int32) ([]Address, error) {
	answers, err := c.Do(unix.RTM_GETADDR, unix.NLM_F_DUMP, addressMessage(unix.AF_UNSPEC, 0, 0, index))
	if err != nil {
		return nil, err
	}
	var list []Address
	for _, a := range answers {
		if len(a) < unix.SizeofIfAddrmsg || int32(binary.NativeEndian.Uint32(a[4:])) != index {
			continue
		}
		if address, ok := parseAddress(a); ok {
			list = append(list, address)
		}
	}
	return list, nil
}

func parseAddress(a []byte) (Address, bool) {
	address := Address{Flags: uint32(a[2]), Scope: a[3]}
	var local netip.Addr
	for kind, value := range Attributes(a[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			address.Peer, _ = netip.AddrFromSlice(value)
		case unix.IFA_BROADCAST:
			address.Broadcast, _ = netip.AddrFromSlice(value)
		case unix.IFA_FLAGS:
			address.Flags = number(value)
		case unix.IFA_RT_PRIORITY:
			address.Metric = number(value)
		case ifaProto:
			if len(value) == 1 {
				address.Protocol = value[0]
			}
		}
	}
	if !local.IsValid() {
		local = address.Peer
	}
	address.Prefix = netip.PrefixFrom(local, int(a[1]))
	return address, address.Prefix.IsValid()
}

// AddAddress gives an interface an address.
func (c *Conn) AddAddress(index int32, a Address) error {
	r := NewAddress(index, a)
	_, err := c.Do(r.Kind, r.Flags, r.Body)
	return err
}

// NewAddress gives an interface an address.
func NewAddress(index int32, a Address) Request {
	family := uint8(unix.AF_INET6)
	if a.Prefix.Addr().Is4() {
		family = unix.AF_INET
	}
	m := Append(addressMessage(family, uint8(a.Prefix.Bits()), a.Scope, index), unix.IFA_LOCAL, a.Prefix.Addr().AsSlice())
	peer := a.Peer
	if !peer.IsValid() {
		peer = a.Prefix.Addr()
	}
	m = Append(m, unix.IFA_ADDRESS, peer.AsSlice())
	if a.Broadcast.IsValid() {
		m = Append(m, unix.IFA_BROADCAST, a.Broadcast.AsSlice())
	}
	m = AppendUint32(m, unix.IFA_FLAGS, a.Flags)
	if a.Metric != 0 {
		m = AppendUint32(m, unix.IFA_RT_PRIORITY, a.Metric)
	}
	if a.Protocol != 0 {
		m = Append(m, ifaProto, []byte{a.Protocol})
	}
	return Request{Message: Message{Kind: unix.RTM_NEWADDR, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: m},
		What: "add the address " + a.Prefix.String()}
}
