package netlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Numbers of linux/pkt_sched.h and linux/pkt_cls.h.
const (
	hookIngress = 0xfffffff2
	hookEgress  = 0xfffffff3

	bpfLength       = 4
	bpfInstructions = 5
	bpfFlags        = 8
	actDirect       = 1
)

// Verdicts of a filter's program.
const (
	NextFilter = 1<<32 - 1 // TC_ACT_UNSPEC: if there is none the packet goes on
	DropPacket = 2         // TC_ACT_SHOT
)

// Hooks lets an interface have filters, if it does not already. If it has an
// ingress queue of the old kind the error is EINVAL.
func Hooks(index int32) Request {
	m := AppendString(queueMessage(index, ingressNode, queueIngress, 0), unix.TCA_KIND, "clsact")
	return Request{Message: Message{Kind: unix.RTM_NEWQDISC, Flags: unix.NLM_F_CREATE, Body: m}, What: "let an interface have filters"}
}

// Filter is the first filter of what comes in by an interface.
func Filter(index int32, program []unix.SockFilter) Request {
	return filter(index, hookIngress, program)
}

// FilterOut is the first filter of what goes out by an interface.
func FilterOut(index int32, program []unix.SockFilter) Request {
	return filter(index, hookEgress, program)
}

// filter takes the place of one that is there. The program sees the frame from
// its link-layer header on, and returns a verdict.
func filter(index int32, hook uint32, program []unix.SockFilter) Request {
	m := AppendString(queueMessage(index, 1, hook, 1<<16|uint32(everyProtocol())), unix.TCA_KIND, "bpf")
	m = Nest(m, unix.TCA_OPTIONS, func(m []byte) []byte {
		m = Append(m, bpfLength, binary.NativeEndian.AppendUint16(nil, uint16(len(program))))
		code := make([]byte, 0, 8*len(program))
		for _, i := range program {
			code = binary.NativeEndian.AppendUint16(code, i.Code)
			code = binary.NativeEndian.AppendUint32(append(code, i.Jt, i.Jf), i.K)
		}
		m = Append(m, bpfInstructions, code)
		return AppendUint32(m, bpfFlags, actDirect)
	})
	return Request{Message: Message{Kind: unix.RTM_NEWTFILTER, Flags: unix.NLM_F_CREATE, Body: m}, What: "filter the packets of an interface"}
}

// everyProtocol is ETH_P_ALL as the wire has it.
func everyProtocol() uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
}
