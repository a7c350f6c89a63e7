package netlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Places of queueing disciplines, TC_H_… of linux/pkt_sched.h.
const (
	queueRoot    = 0xffffffff
	queueIngress = 0xfffffff1
	ingressNode  = 0xffff0000
)

// queueMessage is struct tcmsg.
func queueMessage(index int32, handle, parent, info uint32) []byte {
	m := make([]byte, 20, 256)
	binary.NativeEndian.PutUint32(m[4:], uint32(index))
	binary.NativeEndian.PutUint32(m[8:], handle)
	binary.NativeEndian.PutUint32(m[12:], parent)
	binary.NativeEndian.PutUint32(m[16:], info)
	return m
}

// TCA_TBF_… of linux/pkt_sched.h.
const (
	tbfParameters = 1
	tbfRate64     = 4
	tbfBurst      = 6

	linkLayerEthernet = 1
)

// Limit lets an interface send no more than so many bytes a second. What comes
// faster waits, up to delay bytes of it.
func Limit(index int32, rate uint64, burst, delay uint32) Request {
	m := AppendString(queueMessage(index, 1<<16, queueRoot, 0), unix.TCA_KIND, "tbf")
	m = Nest(m, unix.TCA_OPTIONS, func(m []byte) []byte {
		// struct tc_tbf_qopt: two of struct tc_ratespec, limit, buffer, mtu.
		p := make([]byte, 36)
		p[1] = linkLayerEthernet
		binary.NativeEndian.PutUint32(p[8:], uint32(min(rate, 1<<32-1)))
		binary.NativeEndian.PutUint32(p[24:], delay)
		m = Append(m, tbfParameters, p)
		if rate >= 1<<32 {
			m = Append(m, tbfRate64, binary.NativeEndian.AppendUint64(nil, rate))
		}
		return AppendUint32(m, tbfBurst, burst)
	})
	return Request{Message: Message{Kind: unix.RTM_NEWQDISC, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Body: m},
		What: "limit the rate of an interface"}
}

// Numbers of linux/pkt_cls.h and linux/tc_act.
const (
	u32Selector, u32Actions      = 5, 7
	u32Terminal                  = 1
	actionKind, actionOptions    = 1, 2
	mirredParameters             = 2
	actionStolen, egressRedirect = 4, 1
)

// Divert sends all that comes in by an interface out by another.
func Divert(index, to int32) []Request {
	ingress := AppendString(queueMessage(index, ingressNode, queueIngress, 0), unix.TCA_KIND, "ingress")
	filter := AppendString(queueMessage(index, 0, ingressNode, 1<<16|uint32(everyProtocol())), unix.TCA_KIND, "u32")
	filter = Nest(filter, unix.TCA_OPTIONS, func(m []byte) []byte {
		// struct tc_u32_sel with one struct tc_u32_key, which every packet has.
		selector := make([]byte, 16+16)
		selector[0], selector[2] = u32Terminal, 1
		m = Append(m, u32Selector, selector)
		return Nest(m, u32Actions, func(m []byte) []byte {
			return Nest(m, 1, func(m []byte) []byte {
				m = AppendString(m, actionKind, "mirred")
				return Nest(m, actionOptions, func(m []byte) []byte {
					mirred := make([]byte, 28) // struct tc_mirred
					binary.NativeEndian.PutUint32(mirred[8:], actionStolen)
					binary.NativeEndian.PutUint32(mirred[20:], egressRedirect)
					binary.NativeEndian.PutUint32(mirred[24:], uint32(to))
					return Append(m, mirredParameters, mirred)
				})
			})
		})
	})
	return []Request{
		{Message: Message{Kind: unix.RTM_NEWQDISC, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: ingress}, What: "look at what comes in by an interface"},
		{Message: Message{Kind: unix.RTM_NEWTFILTER, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: filter}, What: "divert what comes in by an interface"},
	}
}
