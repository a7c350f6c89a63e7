package out

import (
	"hash/maphash"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	// soon is when an answer has come soon.
	soon = 2 * time.Millisecond
	// patience is how long an acknowledgement waits, or twice as long at most. It is more than the kernel's own tick, so
	// that no timer has to be set for it, which costs more than a packet in a virtual machine.
	patience = 10 * time.Millisecond
	// talks is how many conversations are known at a time; others take their places.
	talks = 64
	// From fewestAnswers to mostAnswers have to come soon, after one that did not, before something waits again.
	fewestAnswers = 8
	mostAnswers   = 1024
	// timestamps is the length of the options that each packet may have, in bytes. More tell of losses.
	timestamps = 12
)

// acks spares packets that only acknowledge. The stack acknowledges at once what came, and a moment later the answer of a
// near server says the same. So in a conversation whose answers come soon an acknowledgement of little waits for the
// answer.
type acks struct {
	write func(*stack.PacketBuffer) error

	mu    sync.Mutex
	seed  maphash.Seed
	talks [talks]talk
	timer *time.Timer
	runs  bool // the timer
}

// talk is what is known of a connection.
type talk struct {
	pair
	number   uint32    // that was acknowledged last
	alone    time.Time // when an acknowledgement went alone
	quick    bool      // answers come soon
	distrust int       // answers that have to come soon until that is believed again
	penalty  int       // distrust after the next one that does not
	waits    *stack.PacketBuffer
	long     bool // since the timer ran out last
}

// pair is the two ends of a connection.
type pair struct {
	container, outside tcpip.Address
	ports              uint32
}

func newAcks(write func(*stack.PacketBuffer) error) *acks {
	a := &acks{write: write, seed: maphash.MakeSeed()}
	a.timer = time.AfterFunc(time.Hour, a.tick)
	a.timer.Stop()
	return a
}

// later reports whether a packet waits, so that it is not to be written now.
func (a *acks) later(p *stack.PacketBuffer) bool {
	if p.TransportProtocolNumber != tcp.ProtocolNumber {
		return false
	}
	h := header.TCP(p.TransportHeader().Slice())
	if len(h) < header.TCPMinimumSize {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.talk(p, h)
	number := h.AckNumber()
	acknowledged := number - t.number // bytes
	t.number = number
	switch alone := h.Flags() == header.TCPFlagAck && p.Data().Size() == 0; {
	case !alone:
		t.forget() // this packet says the same
		if !t.alone.IsZero() {
			t.answered(time.Since(t.alone) < soon)
		}
		return false
	case t.waits != nil: // and nobody has answered
		if acknowledged == 0 {
			_ = a.write(t.waits) // two that say the same tell of a loss
		}
		t.forget()
		t.mistaken()
		return false
	case !t.quick || acknowledged == 0 || acknowledged > little || h.DataOffset() > header.TCPMinimumSize+timestamps:
		t.alone = time.Now()
		return false
	}
	t.waits, t.long = p.IncRef(), false
	if !a.runs {
		a.runs = true
		a.timer.Reset(patience)
	}
	return true
}

// talk returns what is known of a packet's connection.
func (a *acks) talk(p *stack.PacketBuffer, h header.TCP) *talk {
	n := p.Network()
	is := pair{n.DestinationAddress(), n.SourceAddress(), uint32(h.SourcePort())<<16 | uint32(h.DestinationPort())}
	t := &a.talks[maphash.Comparable(a.seed, is)%talks]
	if t.pair != is {
		a.release(t)
		*t = talk{pair: is, penalty: fewestAnswers}
	}
	return t
}

// answered learns from an answer.
func (t *talk) answered(soon bool) {
	t.alone = time.Time{}
	if soon && t.distrust > 0 {
		t.distrust--
	} else {
		t.quick = soon
	}
}

// mistaken is when an acknowledgement has waited in vain.
func (t *talk) mistaken() {
	t.quick, t.alone = false, time.Time{}
	t.distrust, t.penalty = t.penalty, min(2*t.penalty, mostAnswers)
}

func (t *talk) forget() {
	if t.waits != nil {
		t.waits.DecRef()
		t.waits = nil
	}
}

// release writes what waits.
func (a *acks) release(t *talk) {
	if t.waits != nil {
		_ = a.write(t.waits)
		t.forget()
	}
}

// tick writes what has waited for too long.
func (a *acks) tick() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.runs = false
	for i := range a.talks {
		switch t := &a.talks[i]; {
		case t.waits == nil:
		case t.long:
			a.release(t)
			t.mistaken()
		default:
			t.long, a.runs = true, true
		}
	}
	if a.runs {
		a.timer.Reset(patience)
	}
}
