package out

import (
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// segment is what the stack sends to a container's port, with so many bytes of options beyond the header.
func segment(port uint16, number uint32, data string, options int) *stack.PacketBuffer {
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: 100, Payload: buffer.MakeWithData([]byte(data))})
	p.TransportProtocolNumber, p.NetworkProtocolNumber = tcp.ProtocolNumber, header.IPv4ProtocolNumber
	h := header.TCP(p.TransportHeader().Push(header.TCPMinimumSize + options))
	h.Encode(&header.TCPFields{SrcPort: 80, DstPort: port, AckNum: number, DataOffset: uint8(len(h)), Flags: header.TCPFlagAck})
	header.IPv4(p.NetworkHeader().Push(header.IPv4MinimumSize)).Encode(&header.IPv4Fields{
		SrcAddr: address(netip.MustParseAddr("192.0.2.1")), DstAddr: address(netip.MustParseAddr("10.89.0.2"))})
	return p
}

// conversation is acks of which is known what they wrote late.
type conversation struct {
	*acks
	t    *testing.T
	late chan uint32
}

func newConversation(t *testing.T) *conversation {
	c := &conversation{t: t, late: make(chan uint32, 10)}
	c.acks = newAcks(func(p *stack.PacketBuffer) error {
		c.late <- header.TCP(p.TransportHeader().Slice()).AckNumber()
		return nil
	})
	return c
}

// says sends a packet, which has to wait or not.
func (c *conversation) says(p *stack.PacketBuffer, waits bool) {
	c.t.Helper()
	if got := c.later(p); got != waits {
		c.t.Errorf("waits: %v", got)
	}
	p.DecRef()
}

// quick is a conversation until its answers are trusted to come soon; number is what was acknowledged.
func (c *conversation) quick(number uint32) {
	c.says(segment(1000, number, "", 0), false)
	c.says(segment(1000, number, "answer", 0), false)
}

func (c *conversation) wrote(numbers ...uint32) {
	c.t.Helper()
	for _, want := range numbers {
		select {
		case got := <-c.late:
			if got != want {
				c.t.Errorf("%d was written instead of %d", got, want)
			}
		case <-time.After(5 * time.Second):
			c.t.Errorf("%d was not written", want)
		}
	}
	select {
	case got := <-c.late:
		c.t.Errorf("%d was written", got)
	default:
	}
}

// An answer takes the place of the acknowledgement that waits for it.
func TestAcksAnswered(t *testing.T) {
	c := newConversation(t)
	c.quick(10)
	for number := uint32(11); number < 15; number++ {
		c.says(segment(1000, number, "", timestamps), true)
		c.says(segment(1000, number, "answer", 0), false)
	}
	c.wrote()
}

// Nothing waits where no answer came yet, or late.
func TestAcksLateAnswer(t *testing.T) {
	c := newConversation(t)
	c.says(segment(1000, 10, "", 0), false)
	time.Sleep(soon)
	c.says(segment(1000, 10, "answer", 0), false)
	c.says(segment(1000, 11, "", 0), false)
	c.says(segment(1000, 12, "", 0), false)
	c.wrote()
}

// An acknowledgement that no answer comes for goes by itself, and the next ones at once, until many answers came soon.
func TestAcksUnanswered(t *testing.T) {
	c := newConversation(t)
	c.quick(10)
	c.says(segment(1000, 11, "", 0), true)
	begun := time.Now()
	c.wrote(11)
	if took := time.Since(begun); took < patience {
		t.Errorf("it waited for %v", took)
	}
	for number := uint32(12); number < 12+fewestAnswers+1; number++ {
		c.says(segment(1000, number, "", 0), false)
		c.says(segment(1000, number, "answer", 0), false)
	}
	c.says(segment(1000, 30, "", 0), true)
	c.wrote(30)
	c.quick(31) // twice as many from now on
	for number := uint32(32); number < 32+fewestAnswers+1; number++ {
		c.says(segment(1000, number, "", 0), false)
		c.says(segment(1000, number, "answer", 0), false)
	}
}

// What tells of more than that something came never waits.
func TestAcksAtOnce(t *testing.T) {
	for name, p := range map[string]*stack.PacketBuffer{
		"of much":          segment(1000, 11+little, "", 0),
		"the same again":   segment(1000, 10, "", 0),
		"holes":            segment(1000, 11, "", timestamps+12),
		"of another":       segment(1001, 11, "", 0),
		"another protocol": segment(1000, 11, "", 0),
	} {
		c := newConversation(t)
		c.quick(10)
		if name == "another protocol" {
			p.TransportProtocolNumber = header.UDPProtocolNumber
		}
		c.says(p, false)
		c.wrote()
	}
}

// A second acknowledgement with no answer between goes at once, and one that says the same as the first after that one.
func TestAcksTwice(t *testing.T) {
	for second, wrote := range map[uint32][]uint32{11: {11}, 12: nil} {
		c := newConversation(t)
		c.quick(10)
		c.says(segment(1000, 11, "", 0), true)
		c.says(segment(1000, second, "", 0), false)
		c.wrote(wrote...)
		c.says(segment(1000, 13, "", 0), false)
	}
}

// More conversations than are known don't lose anything.
func TestAcksManyTalks(t *testing.T) {
	c := newConversation(t)
	const many = 2000
	c.late = make(chan uint32, many)
	waiting := 0
	for port := range uint16(many) {
		c.says(segment(port, 10, "", 0), false)
		c.says(segment(port, 10, "answer", 0), false)
		p := segment(port, 11, "", 0)
		if c.later(p) {
			waiting++
		}
		p.DecRef()
	}
	for range waiting {
		select {
		case <-c.late:
		case <-time.After(5 * time.Second):
			t.Fatal("something was lost")
		}
	}
}
