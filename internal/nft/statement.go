package nft

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Verdict is what becomes of a packet.
type Verdict struct {
	code  int32
	chain string
}

// The verdicts, for elements of a map of them.
var (
	VerdictDrop     = Verdict{code: nfDrop}
	VerdictAccept   = Verdict{code: nfAccept}
	VerdictContinue = Verdict{code: unix.NFT_CONTINUE}
	VerdictReturn   = Verdict{code: unix.NFT_RETURN}
)

// VerdictJump goes through a chain and comes back.
func VerdictJump(chain string) Verdict { return Verdict{unix.NFT_JUMP, chain} }

// VerdictGoto goes to a chain and doesn't come back.
func VerdictGoto(chain string) Verdict { return Verdict{unix.NFT_GOTO, chain} }

func (v Verdict) encode() []byte {
	a := append32(nil, unix.NFTA_VERDICT_CODE, uint32(v.code))
	if v.chain != "" {
		a = netlink.AppendString(a, unix.NFTA_VERDICT_CHAIN, v.chain)
	}
	return a
}

func (v Verdict) expr() Expr {
	a := append32(nil, unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
	return expr("immediate", nest(a, unix.NFTA_IMMEDIATE_DATA, nest(nil, unix.NFTA_DATA_VERDICT, v.encode())))
}

// Accept ends this table's chain at this hook; other tables still decide.
//
//go:noinline
func Accept() Expr { return VerdictAccept.expr() }

// Drop ends the packet.
//
//go:noinline
func Drop() Expr { return VerdictDrop.expr() }

// Return goes back to who jumped here.
func Return() Expr { return VerdictReturn.expr() }

// Jump goes through a chain and comes back.
//
//go:noinline
func Jump(chain string) Expr { return VerdictJump(chain).expr() }

// Goto goes to a chain and doesn't come back.
//
//go:noinline
func Goto(chain string) Expr { return VerdictGoto(chain).expr() }

// Reject drops, and tells the sender so with ICMP.
func Reject(f Family) Expr {
	kind, code := uint32(unix.NFT_REJECT_ICMPX_UNREACH), byte(unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED)
	switch f {
	case IP:
		kind, code = unix.NFT_REJECT_ICMP_UNREACH, 13
	case IP6:
		kind, code = unix.NFT_REJECT_ICMP_UNREACH, 1
	}
	return expr("reject", netlink.Append(append32(nil, unix.NFTA_REJECT_TYPE, kind), unix.NFTA_REJECT_ICMP_CODE, []byte{code}))
}

// Reset drops, and ends the sender's TCP connection.
func Reset() Expr {
	return expr("reject", netlink.Append(append32(nil, unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_TCP_RST), unix.NFTA_REJECT_ICMP_CODE, []byte{0}))
}

func nat(kind uint32, f Family, port bool) Expr {
	a := append32(nil, unix.NFTA_NAT_TYPE, kind)
	a = append32(a, unix.NFTA_NAT_FAMILY, uint32(f))
	a = append32(a, unix.NFTA_NAT_REG_ADDR_MIN, dataRegister)
	if port {
		register := uint32(dataRegister + 1)
		if f == IP6 {
			register = dataRegister + 4
		}
		a = append32(a, unix.NFTA_NAT_REG_PROTO_MIN, register)
	}
	return expr("nat", a)
}

// DNATOf changes the destination to what a map has of fields: an address, or an
// address and a port.
func DNATOf(s Set, fields ...Field) Expr {
	f := IP
	if s.Data[0] == IPv6Addr {
		f = IP6
	}
	return append(valueOf(s, fields), nat(unix.NFT_NAT_DNAT, f, len(s.Data) > 1)...)
}

// DNAT changes the destination. Port 0 stays as it is.
func DNAT(to netip.Addr, port uint16) Expr { return fixedNAT(unix.NFT_NAT_DNAT, to, port) }

// SNAT changes the source. Port 0 stays as it is, if it is free.
func SNAT(to netip.Addr, port uint16) Expr { return fixedNAT(unix.NFT_NAT_SNAT, to, port) }

func fixedNAT(kind uint32, to netip.Addr, port uint16) Expr {
	f, register := IP, uint32(dataRegister+1)
	if to.Is6() {
		f, register = IP6, dataRegister+4
	}
	e := load(dataRegister, Addr(to))
	if port != 0 {
		e = append(e, load(register, Port(port))...)
	}
	return append(e, nat(kind, f, port != 0)...)
}

// Masquerade changes the source to an address of the interface that it leaves by.
func Masquerade() Expr { return expr("masq", nil) }

// Redirect changes the destination to the host itself.
func Redirect(port uint16) Expr {
	return append(load(dataRegister, Port(port)), expr("redir", append32(nil, unix.NFTA_REDIR_REG_PROTO_MIN, dataRegister))...)
}

// Dup sends a copy to a gateway, through an interface (0: by its route).
func Dup(gateway netip.Addr, index uint32) Expr {
	e := load(dataRegister, Addr(gateway))
	a := append32(nil, unix.NFTA_DUP_SREG_ADDR, dataRegister)
	if index != 0 {
		e = append(e, load(dataRegister+4, Uint32(index))...)
		a = append32(a, unix.NFTA_DUP_SREG_DEV, dataRegister+4)
	}
	return append(e, expr("dup", a)...)
}

// ForwardTo sends the packet out through another interface; of the Netdev family.
func ForwardTo(index uint32) Expr {
	return append(load(dataRegister, Uint32(index)), expr("fwd", append32(nil, unix.NFTA_FWD_SREG_DEV, dataRegister))...)
}

// SetMark gives the packet a mark.
func SetMark(mark uint32) Expr {
	a := append32(nil, unix.NFTA_META_SREG, dataRegister)
	return append(load(dataRegister, Uint32(mark)), expr("meta", append32(a, unix.NFTA_META_KEY, unix.NFT_META_MARK))...)
}

// AddMark sets bits of the packet's mark; the others stay.
func AddMark(bits uint32) Expr {
	a := append32(nil, unix.NFTA_BITWISE_SREG, keyRegister)
	a = append32(a, unix.NFTA_BITWISE_DREG, keyRegister)
	a = append32(a, unix.NFTA_BITWISE_LEN, 4)
	a = nest(a, unix.NFTA_BITWISE_MASK, value(Uint32(^bits)))
	a = nest(a, unix.NFTA_BITWISE_XOR, value(Uint32(bits)))
	e := append(MetaMark.load(keyRegister), expr("bitwise", a)...)
	set := append32(nil, unix.NFTA_META_SREG, keyRegister)
	return append(e, expr("meta", append32(set, unix.NFTA_META_KEY, unix.NFT_META_MARK))...)
}

// SetCtMark gives the connection a mark.
func SetCtMark(mark uint32) Expr {
	a := append32(nil, unix.NFTA_CT_SREG, dataRegister)
	return append(load(dataRegister, Uint32(mark)), expr("ct", append32(a, unix.NFTA_CT_KEY, unix.NFT_CT_MARK))...)
}

// NoTrack keeps the packet from connection tracking.
func NoTrack() Expr { return expr("notrack", nil) }

// Counter counts packets and bytes.
func Counter() Expr { return expr("counter", nil) }

// Limit matches as long as there are no more packets than this in a unit of
// time, one second or more.
func Limit(packets uint64, per time.Duration, burst uint32) Expr {
	a := append64(nil, unix.NFTA_LIMIT_RATE, packets)
	a = append64(a, unix.NFTA_LIMIT_UNIT, uint64(per/time.Second))
	a = append32(a, unix.NFTA_LIMIT_BURST, burst)
	return expr("limit", append32(a, unix.NFTA_LIMIT_TYPE, unix.NFT_LIMIT_PKTS))
}

// Log writes a line to the kernel's log.
func Log(prefix string) Expr {
	return expr("log", netlink.AppendString(nil, unix.NFTA_LOG_PREFIX, prefix))
}

// LogGroup sends the first bytes of the packet to who listens to a group of
// NFLOG.
func LogGroup(group uint16, prefix string, bytes uint32) Expr {
	a := netlink.Append(nil, unix.NFTA_LOG_GROUP, Port(group))
	a = append32(netlink.AppendString(a, unix.NFTA_LOG_PREFIX, prefix), unix.NFTA_LOG_SNAPLEN, bytes)
	return expr("log", a)
}

// Remember puts fields together into a Dynamic set, or lets them stay there for
// a new time.
func Remember(s Set, timeout time.Duration, fields ...Field) Expr {
	a := netlink.AppendString(nil, unix.NFTA_DYNSET_SET_NAME, s.Name)
	a = append32(a, unix.NFTA_DYNSET_OP, unix.NFT_DYNSET_OP_UPDATE)
	a = append32(a, unix.NFTA_DYNSET_SREG_KEY, keyRegister)
	if timeout != 0 {
		a = append64(a, unix.NFTA_DYNSET_TIMEOUT, uint64(timeout/time.Millisecond))
	}
	return append(loadAll(fields), expr("dynset", a)...)
}
