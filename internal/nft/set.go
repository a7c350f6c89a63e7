package nft

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Type is what a key or a value of a set is, for nft to show and for its length.
type Type struct{ id, size uint32 }

// The types.
var (
	IPv4Addr  = Type{7, 4}
	IPv6Addr  = Type{8, 16}
	EtherAddr = Type{9, 6}
	Proto     = Type{12, 1}
	Service   = Type{13, 2} // a port
	Mark      = Type{19, 4}
	IfIndex   = Type{20, 4}
	IfGroup   = Type{35, 4}
	IfName    = Type{41, 16}
	Verdicts  = Type{unix.NFT_DATA_VERDICT, 0}
	Bytes16   = Type{4, 16} // of no type: a set of them has a TypeOf
)

// Set is a set, or a map if it has Data.
type Set struct {
	Table    Table
	Name     string
	Key      []Type  // several: concatenated
	Data     []Type  // Verdicts alone, or several: concatenated
	TypeOf   []Field // what of a packet the parts of a key are, for nft to show where Key does not say it
	Interval bool    // elements are ranges
	Timeouts bool    // elements may have a Timeout
	Dynamic  bool    // rules may change it
	Size     uint32  // how many elements it holds at most; 0: no limit, or of a Dynamic one the kernel's
}

// Element is a member of a set.
type Element struct {
	Key     []byte // as Key makes it
	End     []byte // in a set of ranges: the last key, as Key makes it; nil: Key alone
	Data    []byte // in a map, as Key makes it
	Verdict Verdict
	Timeout time.Duration // 0: for ever
	Expires time.Duration // when listed: what is left of Timeout
	Comment string
}

// Key makes a key or a value of its parts.
func Key(parts ...[]byte) []byte {
	if len(parts) == 1 {
		return parts[0]
	}
	var key []byte
	for _, p := range parts {
		key = append(key, p...)
		key = append(key, make([]byte, (4-len(p)%4)%4)...)
	}
	return key
}

// Addr is an address as part of a key, or to compare with.
func Addr(a netip.Addr) []byte { return a.AsSlice() }

// Port is a port as part of a key, or to compare with.
func Port(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// Name is an interface's name as part of a key, or to compare with.
func Name(s string) []byte { return append([]byte(s), make([]byte, max(0, 16-len(s)))...)[:16] }

// Uint32 is a number in the host's order: of marks, indexes and flags.
func Uint32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// TCP, UDP and SCTP are protocols as parts of keys, and to compare with.
var (
	TCP  = []byte{unix.IPPROTO_TCP}
	UDP  = []byte{unix.IPPROTO_UDP}
	SCTP = []byte{unix.IPPROTO_SCTP}
)

// lengths returns a concatenation's type and length.
func lengths(types []Type) (id, size uint32) {
	if len(types) == 1 {
		return types[0].id, types[0].size
	}
	for _, t := range types {
		id = id<<6 | t.id
		size += (t.size + 3) &^ 3
	}
	return id, size
}

// What linux/netfilter/nf_tables.h has and x/sys hasn't.
const (
	setConcat     = 0x80
	descConcat    = 2
	descFieldLen  = 1
	elementKeyEnd = 10
)

// AddSet adds a set or map.
func (b *Batch) AddSet(s Set) {
	a := netlink.AppendString(nil, unix.NFTA_SET_TABLE, s.Table.Name)
	a = netlink.AppendString(a, unix.NFTA_SET_NAME, s.Name)
	flags := uint32(0)
	set := func(flag uint32, on bool) {
		if on {
			flags |= flag
		}
	}
	set(unix.NFT_SET_MAP, s.Data != nil)
	set(unix.NFT_SET_INTERVAL, s.Interval)
	set(setConcat, s.ranges())
	set(unix.NFT_SET_TIMEOUT, s.Timeouts)
	set(unix.NFT_SET_EVAL, s.Dynamic)
	a = append32(a, unix.NFTA_SET_FLAGS, flags)
	id, size := lengths(s.Key)
	a = append32(a, unix.NFTA_SET_KEY_TYPE, id)
	a = append32(a, unix.NFTA_SET_KEY_LEN, size)
	if s.Data != nil {
		id, size := lengths(s.Data)
		a = append32(a, unix.NFTA_SET_DATA_TYPE, id)
		a = append32(a, unix.NFTA_SET_DATA_LEN, size)
	}
	var desc []byte
	if s.Size != 0 {
		desc = append32(desc, unix.NFTA_SET_DESC_SIZE, s.Size)
	}
	if s.ranges() {
		var fields []byte
		for _, t := range s.Key {
			fields = nest(fields, unix.NFTA_LIST_ELEM, append32(nil, descFieldLen, t.size))
		}
		desc = nest(desc, descConcat, fields)
	}
	if desc != nil {
		a = nest(a, unix.NFTA_SET_DESC, desc)
	}
	switch one := s.Key[0]; {
	case s.TypeOf != nil:
		a = netlink.Append(a, unix.NFTA_SET_USERDATA, typeOf(s.TypeOf))
	case len(s.Key) == 1 && (one == IfName || one == Mark || one == IfIndex || one == IfGroup):
		// For nft to show: the key is in the host's order.
		a = netlink.Append(a, unix.NFTA_SET_USERDATA, userNumber(userByteOrder, 1))
	}
	b.sets++
	a = append32(a, unix.NFTA_SET_ID, b.sets)
	b.put(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, s.Table, "add set "+s.words(), a)
}

// ranges tells that the kernel wants both ends of a range in one element.
func (s Set) ranges() bool { return s.Interval && len(s.Key) > 1 }

func (s Set) words() string { return s.Table.String() + " " + s.Name }

// DeleteSet deletes a set that no rule uses.
func (b *Batch) DeleteSet(s Set) {
	a := netlink.AppendString(nil, unix.NFTA_SET_TABLE, s.Table.Name)
	b.put(unix.NFT_MSG_DELSET, 0, s.Table, "delete set "+s.words(), netlink.AppendString(a, unix.NFTA_SET_NAME, s.Name))
}

// FlushSet deletes all elements of a set.
func (b *Batch) FlushSet(s Set) {
	b.put(unix.NFT_MSG_DELSETELEM, 0, s.Table, "flush set "+s.words(), s.name())
}

// AddElements adds elements. A map's element that exists with another value is
// refused with EBUSY or EEXIST.
func (b *Batch) AddElements(s Set, elements ...Element) {
	b.elements(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, "add to ", s, elements)
}

// DeleteElements deletes elements by their keys; one that isn't there is refused
// with ENOENT.
func (b *Batch) DeleteElements(s Set, elements ...Element) {
	b.elements(unix.NFT_MSG_DELSETELEM, 0, "delete from ", s, elements)
}

// DestroyElements is DeleteElements that doesn't mind what isn't there. Kernels
// before 6.3 refuse it with EINVAL.
func (b *Batch) DestroyElements(s Set, elements ...Element) {
	b.elements(msgDestroyElement, 0, "delete from ", s, elements)
}

// name says in a message of elements which set they are of.
func (s Set) name() []byte {
	a := netlink.AppendString(nil, unix.NFTA_SET_ELEM_LIST_TABLE, s.Table.Name)
	return netlink.AppendString(a, unix.NFTA_SET_ELEM_LIST_SET, s.Name)
}

func (b *Batch) elements(kind, flags uint16, verb string, s Set, elements []Element) {
	var list []byte
	put := func() {
		if len(list) > 0 {
			b.put(kind, flags, s.Table, verb+s.words(), nest(s.name(), unix.NFTA_SET_ELEM_LIST_ELEMENTS, list))
			list = nil
		}
	}
	for _, e := range elements {
		for _, one := range s.encode(e) {
			if len(list)+len(one) > 60000 { // lists have 16 bits for their length
				put()
			}
			list = nest(list, unix.NFTA_LIST_ELEM, one)
		}
	}
	put()
}

// encode returns an element's attributes, or those of a range's two ends.
func (s Set) encode(e Element) [][]byte {
	a := nest(nil, unix.NFTA_SET_ELEM_KEY, value(e.Key))
	end := e.End
	if s.Interval && end == nil {
		end = e.Key
	}
	if s.ranges() {
		a = nest(a, elementKeyEnd, value(end))
	}
	switch {
	case s.Data != nil && s.Data[0] == Verdicts:
		a = nest(a, unix.NFTA_SET_ELEM_DATA, nest(nil, unix.NFTA_DATA_VERDICT, e.Verdict.encode()))
	case e.Data != nil:
		a = nest(a, unix.NFTA_SET_ELEM_DATA, value(e.Data))
	}
	if e.Timeout != 0 {
		a = append64(a, unix.NFTA_SET_ELEM_TIMEOUT, uint64(e.Timeout/time.Millisecond))
	}
	if e.Comment != "" {
		a = netlink.Append(a, unix.NFTA_SET_ELEM_USERDATA, userData(e.Comment))
	}
	if !s.Interval || s.ranges() {
		return [][]byte{a}
	}
	after, ok := next(end)
	if !ok {
		return [][]byte{a}
	}
	stop := append32(nil, unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	return [][]byte{a, nest(stop, unix.NFTA_SET_ELEM_KEY, value(after))}
}

// next is the key after one; there is none after the last.
func next(key []byte) ([]byte, bool) {
	after := append([]byte(nil), key...)
	for i := len(after) - 1; i >= 0; i-- {
		after[i]++
		if after[i] != 0 {
			return after, true
		}
	}
	return nil, false
}

func value(data []byte) []byte { return netlink.Append(nil, unix.NFTA_DATA_VALUE, data) }
