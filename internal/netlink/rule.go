package netlink

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Rule is a rule of routing: packets with a mark find their way in a table of
// their own.
type Rule struct {
	Family   uint8 // unix.AF_INET, unix.AF_INET6
	Priority uint32
	Mark     uint32
	Table    uint32
}

func (r Rule) body() []byte {
	m := make([]byte, unix.SizeofRtMsg, 64) // struct fib_rule_hdr is as long
	m[0], m[7] = r.Family, unix.FR_ACT_TO_TBL
	m = AppendUint32(m, unix.FRA_PRIORITY, r.Priority)
	m = AppendUint32(m, unix.FRA_FWMARK, r.Mark)
	m = AppendUint32(m, unix.FRA_FWMASK, ^uint32(0))
	return AppendUint32(m, unix.FRA_TABLE, r.Table)
}

// NewRule adds a rule of routing. One that is there already is EEXIST.
func NewRule(r Rule) Request {
	return Request{Message: Message{Kind: unix.RTM_NEWRULE, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: r.body()},
		What: fmt.Sprintf("add a rule of routing for the mark %#x", r.Mark)}
}

// DeleteRule takes a rule of routing away. Without one the error is ENOENT.
func DeleteRule(r Rule) Request {
	return Request{Message: Message{Kind: unix.RTM_DELRULE, Body: r.body()},
		What: fmt.Sprintf("delete the rule of routing for the mark %#x", r.Mark)}
}
