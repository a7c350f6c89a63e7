package out

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"loper.run/cmd/loper-net/sock"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"golang.org/x/sys/unix"
)

// Struct virtio_net_hdr of linux/virtio_net.h, before each packet.
const (
	vnetSize = 10

	needsChecksum = 1 // its flag

	segmentTCP4 = 1 // its kinds of segmentation
	segmentTCP6 = 4
)

// maxPacket is the size of the largest IP packet.
const maxPacket = 1<<16 - 1

// small is the size up to which a packet is copied: one that waits for its reader must not hold the room of the largest.
const small = maxPacket / 2

// link is the tun interface as the network stack sees it: IP packets, of which TCP's may be many segments in one.
type link struct {
	f   *os.File
	raw syscall.RawConn
	fd  int

	acks       *acks
	mtu        atomic.Uint32
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
	ended      chan struct{}
}

func newLink(f *os.File, mtu uint32) (*link, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &link{f: f, raw: raw, ended: make(chan struct{})}
	l.acks = newAcks(l.write)
	if err := raw.Control(func(fd uintptr) { l.fd = int(fd) }); err != nil {
		return nil, err
	}
	l.mtu.Store(mtu)
	return l, nil
}

// run gives packets to the stack until the interface is gone.
func (l *link) run() error {
	defer close(l.ended)
	var head [vnetSize]byte
	var room *buffer.View
	var parts sock.Vector
	for {
		if room == nil {
			room = buffer.NewViewSize(buffer.MaxChunkSize)
			parts = parts[:0].Append(head[:]).Append(room.AsSlice())
		}
		var n, tries int
		var err error
		over := l.raw.Read(func(fd uintptr) bool {
			n, err = parts.Readv(int(fd))
			tries++
			return err != unix.EAGAIN && err != unix.EINTR
		})
		switch {
		case over != nil: // closed
			return nil
		case err != nil:
			return os.NewSyscallError("read from the way out", err)
		case n <= vnetSize:
			continue
		}
		packet := room
		if n -= vnetSize; n <= small {
			packet = buffer.NewViewWithData(room.AsSlice()[:n])
		} else {
			room.CapLength(n)
			room = nil
		}
		l.deliver(packet)
		if tries > 1 && n <= little {
			runtime.Gosched() // what is little goes on before it is asked whether there is more
		}
	}
}

func (l *link) deliver(v *buffer.View) {
	d := l.dispatcher.Load()
	protocol := header.IPv4ProtocolNumber
	switch v.AsSlice()[0] >> 4 {
	case header.IPv4Version:
	case header.IPv6Version:
		protocol = header.IPv6ProtocolNumber
	default:
		d = nil
	}
	if d == nil || *d == nil {
		v.Release()
		return
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)})
	(*d).DeliverNetworkPacket(protocol, p)
	p.DecRef()
}

// WritePackets implements stack.LinkWriter.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for i, p := range list.AsSlice() {
		if l.acks.later(p) {
			continue
		}
		if err := l.write(p); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EIO) { // full, or the interface is down
			return i, &tcpip.ErrAborted{}
		}
	}
	return list.Len(), nil
}

func (l *link) write(p *stack.PacketBuffer) error {
	var head [vnetSize]byte
	if o := p.GSOOptions; o.Type != stack.GSONone {
		binary.NativeEndian.PutUint16(head[2:], uint16(p.HeaderSize()))
		if o.NeedsCsum {
			head[0] = needsChecksum
			binary.NativeEndian.PutUint16(head[6:], o.L3HdrLen)
			binary.NativeEndian.PutUint16(head[8:], o.CsumOffset)
		}
		if p.Data().Size() > int(o.MSS) {
			head[1] = segmentTCP4
			if o.Type == stack.GSOTCPv6 {
				head[1] = segmentTCP6
			}
			binary.NativeEndian.PutUint16(head[4:], o.MSS)
		}
	}
	parts := make(sock.Vector, 0, 8).Append(head[:])
	for _, part := range p.AsSlices() {
		parts = parts.Append(part)
	}
	for {
		if _, err := parts.Writev(l.fd); err != unix.EINTR && err != unix.EAGAIN {
			return err
		}
	}
}

// The rest of stack.LinkEndpoint and stack.GSOEndpoint.

func (l *link) MTU() uint32                           { return l.mtu.Load() }
func (l *link) SetMTU(mtu uint32)                     { l.mtu.Store(mtu) }
func (*link) MaxHeaderLength() uint16                 { return 0 }
func (*link) LinkAddress() tcpip.LinkAddress          { return "" }
func (*link) SetLinkAddress(tcpip.LinkAddress)        {}
func (*link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (*link) AddHeader(*stack.PacketBuffer)           {}
func (*link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (*link) SetOnCloseAction(func())                 {}
func (*link) GSOMaxSize() uint32                      { return maxPacket }
func (*link) SupportedGSO() stack.SupportedGSO        { return stack.HostGSOSupported }
func (l *link) Attach(d stack.NetworkDispatcher)      { l.dispatcher.Store(&d) }
func (l *link) IsAttached() bool                      { return l.dispatcher.Load() != nil }
func (l *link) Wait()                                 { <-l.ended }
func (l *link) Close()                                { l.f.Close() }

// Capabilities says that checksums of what comes need no check: it never left this host's memory.
func (*link) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilityRXChecksumOffload }
