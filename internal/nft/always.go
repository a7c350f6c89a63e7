package nft

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Fate is what a rule does with every packet that comes to it.
type Fate int

// The fates.
const (
	Depends Fate = iota // some go on to the next rule
	Accepted
	Stopped // dropped or rejected
	Returned
	Jumped // through another chain, and back if that doesn't decide
)

// Always returns what becomes of every packet that comes to a listed rule, and
// for Jumped the chain. A rule that asks for something is Depends.
func (r Rule) Always() (Fate, string) {
	for _, e := range r.Exprs {
		switch e.Name {
		case "counter", "log", "last":
		case "reject":
			return Stopped, ""
		case "target": // of iptables
			for kind, value := range netlink.Attributes(e.Data) {
				if kind == unix.NFTA_TARGET_NAME && text(value) == "REJECT" {
					return Stopped, ""
				}
			}
			return Depends, ""
		case "immediate":
			return immediate(e.Data)
		default:
			if _, ok := e.xtComment(); !ok {
				return Depends, ""
			}
		}
	}
	return Depends, ""
}

// immediate reads an immediate expression that is a verdict.
func immediate(attributes []byte) (fate Fate, chain string) {
	for kind, value := range netlink.Attributes(attributes) {
		if kind != unix.NFTA_IMMEDIATE_DATA {
			continue
		}
		for kind, value := range netlink.Attributes(value) {
			if kind != unix.NFTA_DATA_VERDICT {
				continue
			}
			for kind, value := range netlink.Attributes(value) {
				switch kind {
				case unix.NFTA_VERDICT_CODE:
					switch int32(number(value)) {
					case nfDrop:
						fate = Stopped
					case nfAccept:
						fate = Accepted
					case unix.NFT_RETURN:
						fate = Returned
					case unix.NFT_JUMP, unix.NFT_GOTO:
						fate = Jumped
					}
				case unix.NFTA_VERDICT_CHAIN:
					chain = text(value)
				}
			}
		}
	}
	return fate, chain
}

// Asks reports whether a listed rule has an expression of this name.
func (r Rule) Asks(name string) bool {
	for _, e := range r.Exprs {
		if e.Name == name {
			return true
		}
	}
	return false
}

// XTComment is the comment that iptables gave a listed rule, as the match that
// it has for that.
func (r Rule) XTComment() string {
	for _, e := range r.Exprs {
		if comment, ok := e.xtComment(); ok {
			return comment
		}
	}
	return ""
}

func (e Listed) xtComment() (string, bool) {
	if e.Name != "match" {
		return "", false
	}
	var name, info string
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_MATCH_NAME:
			name = text(value)
		case unix.NFTA_MATCH_INFO:
			info = text(value)
		}
	}
	return info, name == "comment"
}

// The states that XTState matches; linux/netfilter/xt_conntrack.h.
const (
	XTEstablished = 1 << 1
	XTRelated     = 1 << 2
	XTSNAT        = 1 << 6
	XTDNAT        = 1 << 7
)

// XTState is Any(CtState, …) in the words of iptables, which doesn't list a
// table with others.
func XTState(states uint16) Expr {
	const (
		revision   = 3
		matchState = 1 << 0
		size       = 168 // struct xt_conntrack_mtinfo3, aligned
		atFlags    = 146
		atStates   = 150
	)
	info := make([]byte, size)
	binary.NativeEndian.PutUint16(info[atFlags:], matchState)
	binary.NativeEndian.PutUint16(info[atStates:], states)
	a := netlink.AppendString(nil, unix.NFTA_MATCH_NAME, "conntrack")
	a = append32(a, unix.NFTA_MATCH_REV, revision)
	return expr("match", netlink.Append(a, unix.NFTA_MATCH_INFO, info))
}

// Opens reports whether a listed rule accepts packets for exactly this port of a
// protocol.
func (r Rule) Opens(protocol byte, port uint16) bool {
	var isPort, isProtocol, destination bool
	fate := Depends
	for _, e := range r.Exprs {
		switch e.Name {
		case "payload":
			var base, offset, size uint32
			for kind, value := range netlink.Attributes(e.Data) {
				switch kind {
				case unix.NFTA_PAYLOAD_BASE:
					base = number(value)
				case unix.NFTA_PAYLOAD_OFFSET:
					offset = number(value)
				case unix.NFTA_PAYLOAD_LEN:
					size = number(value)
				}
			}
			destination = base == unix.NFT_PAYLOAD_TRANSPORT_HEADER && offset == 2 && size == 2
		case "cmp":
			equal, data := compared(e.Data)
			isPort = isPort || equal && destination && bytes.Equal(data, Port(port))
			isProtocol = isProtocol || equal && bytes.Equal(data, []byte{protocol})
		case "immediate":
			fate, _ = immediate(e.Data)
		}
	}
	return isPort && isProtocol && fate == Accepted
}

// compared reads a cmp expression.
func compared(attributes []byte) (equal bool, data []byte) {
	for kind, value := range netlink.Attributes(attributes) {
		switch kind {
		case unix.NFTA_CMP_OP:
			equal = number(value) == unix.NFT_CMP_EQ
		case unix.NFTA_CMP_DATA:
			data = inner(value)
		}
	}
	return equal, data
}
