package nft

import (
	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Field is something of a packet, or known of it.
type Field struct {
	of   source
	size uint8
	key  uint8 // of meta and ct; the base of payload; the result of fib
	at   uint8 // payload: the offset; fib: the flags; ct: the direction + 1
}

// source is who in the kernel knows a field.
type source uint8

const (
	meta source = iota
	ct
	fib
	payload
)

// What the kernel knows of a packet.
var (
	IIF      = Field{of: meta, key: unix.NFT_META_IIF, size: 4} // an index, as Uint32
	OIF      = Field{of: meta, key: unix.NFT_META_OIF, size: 4}
	IIFName  = Field{of: meta, key: unix.NFT_META_IIFNAME, size: 16}
	OIFName  = Field{of: meta, key: unix.NFT_META_OIFNAME, size: 16}
	IIFGroup = Field{of: meta, key: unix.NFT_META_IIFGROUP, size: 4} // of interfaces, as Uint32
	MetaMark = Field{of: meta, key: unix.NFT_META_MARK, size: 4}
	NFProto  = Field{of: meta, key: unix.NFT_META_NFPROTO, size: 1} // a Family
	L4Proto  = Field{of: meta, key: unix.NFT_META_L4PROTO, size: 1}
	EthProto = Field{of: meta, key: unix.NFT_META_PROTOCOL, size: 2}
	PktType  = Field{of: meta, key: unix.NFT_META_PKTTYPE, size: 1}
	SkUID    = Field{of: meta, key: unix.NFT_META_SKUID, size: 4}

	CtState     = Field{of: ct, key: unix.NFT_CT_STATE, size: 4}
	CtStatus    = Field{of: ct, key: unix.NFT_CT_STATUS, size: 4}
	CtMark      = Field{of: ct, key: unix.NFT_CT_MARK, size: 4}
	CtDirection = Field{of: ct, key: unix.NFT_CT_DIRECTION, size: 1} // 0: the opener's
	// Of the first packet, as it was before anything was translated.
	CtSAddr4 = Field{of: ct, key: unix.NFT_CT_SRC_IP, size: 4, at: 1}
	CtSAddr6 = Field{of: ct, key: unix.NFT_CT_SRC_IP6, size: 16, at: 1}
	CtDAddr4 = Field{of: ct, key: unix.NFT_CT_DST_IP, size: 4, at: 1}
	CtDAddr6 = Field{of: ct, key: unix.NFT_CT_DST_IP6, size: 16, at: 1}
	CtDPort  = Field{of: ct, key: unix.NFT_CT_PROTO_DST, size: 2, at: 1}
)

// States and statuses of a connection, in CtState and CtStatus.
const (
	Invalid     = 1
	Established = 2
	Related     = 4
	NewState    = 8
	Untracked   = 64

	StatusSeenReply = 1 << 1
	StatusSNAT      = 1 << 4
	StatusDNAT      = 1 << 5
)

// What is in a packet.
var (
	SAddr4 = Network(12, 4)
	DAddr4 = Network(16, 4)
	TTL4   = Network(8, 1)
	SAddr6 = Network(8, 16)
	DAddr6 = Network(24, 16)
	Hops6  = Network(7, 1)

	SPort    = Transport(0, 2)
	DPort    = Transport(2, 2)
	ICMPType = Transport(0, 1)
	ICMPCode = Transport(1, 1)
	TCPFlags = Transport(13, 1)

	EthDst  = LinkLayer(0, 6)
	EthSrc  = LinkLayer(6, 6)
	EthType = LinkLayer(12, 2)

	ARPSenderMAC = Network(8, 6)
	ARPSenderIP4 = Network(14, 4)
)

// Network is bytes of the network header.
func Network(offset, size uint8) Field {
	return Field{of: payload, key: unix.NFT_PAYLOAD_NETWORK_HEADER, at: offset, size: size}
}

// Transport is bytes of the transport header.
func Transport(offset, size uint8) Field {
	return Field{of: payload, key: unix.NFT_PAYLOAD_TRANSPORT_HEADER, at: offset, size: size}
}

// LinkLayer is bytes of the header of the link layer.
func LinkLayer(offset, size uint8) Field {
	return Field{of: payload, key: unix.NFT_PAYLOAD_LL_HEADER, at: offset, size: size}
}

// First is the first bytes of what is in a packet.
func (f Field) First(n uint8) Field {
	f.size = n
	return f
}

// Fib asks the routing table, with unix.NFTA_FIB_F_… of the packet, for the
// interface of a route (unix.NFT_FIB_RESULT_OIF: its index, 0: none; …_OIFNAME)
// or the type of an address (…_ADDRTYPE: unix.RTN_…).
func Fib(flags, result uint32) Field {
	size := uint8(4)
	if result == unix.NFT_FIB_RESULT_OIFNAME {
		size = 16
	}
	return Field{of: fib, key: uint8(result), at: uint8(flags), size: size}
}

// DAddrType is the type of the destination, as Uint32(unix.RTN_LOCAL).
var DAddrType = Fib(unix.NFTA_FIB_F_DADDR, unix.NFT_FIB_RESULT_ADDRTYPE)

// The registers: keys are put together in the first half, values are found in
// the second.
const (
	keyRegister  = unix.NFT_REG32_00
	dataRegister = unix.NFT_REG32_08
)

// load puts a field into a register.
func (f Field) load(register uint32) Expr {
	var a []byte
	key, at := uint32(f.key), uint32(f.at)
	switch f.of {
	case meta:
		return expr("meta", append32(append32(a, unix.NFTA_META_DREG, register), unix.NFTA_META_KEY, key))
	case ct:
		a = append32(append32(a, unix.NFTA_CT_DREG, register), unix.NFTA_CT_KEY, key)
		if f.at != 0 {
			a = netlink.Append(a, unix.NFTA_CT_DIRECTION, []byte{f.at - 1})
		}
		return expr("ct", a)
	case fib:
		a = append32(append32(a, unix.NFTA_FIB_DREG, register), unix.NFTA_FIB_RESULT, key)
		return expr("fib", append32(a, unix.NFTA_FIB_FLAGS, at))
	}
	a = append32(append32(a, unix.NFTA_PAYLOAD_DREG, register), unix.NFTA_PAYLOAD_BASE, key)
	return expr("payload", append32(append32(a, unix.NFTA_PAYLOAD_OFFSET, at), unix.NFTA_PAYLOAD_LEN, uint32(f.size)))
}

// loadAll puts a key together.
func loadAll(fields []Field) Expr {
	var e Expr
	register := uint32(keyRegister)
	for _, f := range fields {
		e = append(e, f.load(register)...)
		register += (uint32(f.size) + 3) / 4
	}
	return e
}
