package link

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// program is a filter in the classic language of packet filters, which every
// kernel compiles and every user may give to his own namespace.
type program []unix.SockFilter

// What the kernel knows of a packet, SKF_AD_… of linux/filter.h.
const (
	known      = 1<<32 - 0x1000
	ofProtocol = known
	ofMark     = known + 20
)

// load looks at four bytes of the frame, or at what is known of it.
func (p *program) load(at uint32) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at})
}

// mask keeps some bits of what was loaded, and shift the upper ones.
func (p *program) mask(bits uint32) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: bits})
}

func (p *program) shift(bits uint32) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: bits})
}

// end ends every frame that comes so far.
func (p program) end(verdict uint32) program {
	return append(p, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict})
}

// ends ends a frame of which what was loaded is, or has, a value.
func (p *program) ends(test uint16, value, verdict uint32) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: value, Jf: 1}).end(verdict)
}

// only is a part that frames of one protocol go through, which was loaded.
func (p *program) only(protocol uint32, part program) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: protocol, Jf: uint8(len(part))})
	*p = append(*p, part...)
}

// within ends a frame that has an address of a range at an offset.
func (p *program) within(at uint32, r netip.Prefix, verdict uint32) {
	first := len(*p)
	address := r.Masked().Addr().AsSlice()
	for bits := r.Bits(); bits > 0; bits -= 32 {
		p.load(at)
		if bits < 32 {
			p.mask(^uint32(0) << (32 - bits))
		}
		*p = append(*p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: binary.BigEndian.Uint32(address)})
		at, address = at+4, address[4:]
	}
	*p = p.end(verdict)
	for i := first; i < len(*p); i++ {
		if f := &(*p)[i]; f.Code == unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K {
			f.Jf = uint8(len(*p) - 1 - i)
		}
	}
}
