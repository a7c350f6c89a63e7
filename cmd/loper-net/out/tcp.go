package out

import (
	"net/netip"
	"time"

	"loper.run/cmd/loper-net/sock"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"golang.org/x/sys/unix"
)

// connectTime is how long the real connection may take: as long as the kernel tries.
const connectTime = 3 * time.Minute

// Buffers of a connection in bytes, when there are many.
const (
	many        = 512
	smallBuffer = 64 << 10
)

// opening sees each TCP packet that belongs to no connection yet. The forwarder keeps of a first packet what an ICMP error
// about it needs, except the sequence number.
func (w *Way) opening(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	h := header.TCP(p.TransportHeader().Slice())
	if len(h) < header.TCPMinimumSize || h.Flags()&(header.TCPFlagSyn|header.TCPFlagAck) != header.TCPFlagSyn {
		return false
	}
	w.mu.Lock()
	_, waits := w.openings[id]
	added := !waits && len(w.openings) < maxOpening
	if added {
		w.openings[id] = h.SequenceNumber()
	}
	w.mu.Unlock()
	taken := w.forwarder.HandlePacket(id, p)
	if added && !taken {
		w.opened(id)
	}
	return taken
}

// opened forgets the sequence number of a connection that waits no more.
func (w *Way) opened(id stack.TransportEndpointID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.openings, id)
}

// source is what a container has of connections.
type source struct{ opening, open int }

// count adds to what a container has, and reports whether that is still within its share. Containers that are behind the
// namespace's own address can't be told from each other: they have all of it together.
func (w *Way) count(container tcpip.Address, opening, open int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sources[container]
	if s == nil {
		s = &source{}
		w.sources[container] = s
	}
	s.opening += opening
	s.open += open
	if *s == (source{}) {
		delete(w.sources, container)
	}
	if container == w.own4 || container == w.own6 {
		return true
	}
	return s.opening <= maxOpening/share && s.open <= w.MaxTCP/share
}

// connect makes the real connection first: only when it stands is the container's answered.
func (w *Way) connect(r *tcp.ForwarderRequest) {
	id := r.ID()
	within := w.count(id.RemoteAddress, 1, 1)
	defer w.count(id.RemoteAddress, 0, -1)
	if !within {
		w.count(id.RemoteAddress, -1, 0)
		r.Complete(false) // lost, as on a busy wire; it comes again
		w.opened(id)
		return
	}
	host, err := w.dial(id)
	w.count(id.RemoteAddress, -1, 0)
	if err != nil {
		w.refuse(r, err)
		w.opened(id)
		return
	}
	var queue waiter.Queue
	e, refused := r.CreateEndpoint(&queue)
	r.Complete(false)
	w.opened(id)
	if refused != nil { // the container has given up meanwhile
		w.hangUp(host)
		return
	}
	options := e.SocketOptions()
	options.SetKeepAlive(true)
	options.SetDelayOption(false)
	if w.connections.Load() > many {
		options.SetReceiveBufferSize(smallBuffer, true)
		options.SetSendBufferSize(smallBuffer, true)
	}
	c := &connection{end: e, queue: &queue, host: host}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.finish(c.upload())
	}()
	c.finish(c.download())
	<-done
	e.Close()
	w.hangUp(host)
}

// dial makes the connection that a container wants, as a socket of ours.
func (w *Way) dial(id stack.TransportEndpointID) (*sock.Socket, error) {
	to, ok := w.target(addr(id.LocalAddress))
	if !ok || w.connections.Add(1) > int64(w.MaxTCP) {
		if ok {
			w.connections.Add(-1)
		}
		return nil, unix.ECONNREFUSED
	}
	domain := unix.AF_INET
	if to.Is6() {
		domain = unix.AF_INET6
	}
	host, err := sock.Open(domain, unix.SOCK_STREAM, 0)
	if err != nil {
		w.connections.Add(-1)
		w.logf("%v", err)
		return nil, err
	}
	host.NoDelay()
	host.KeepAlive()
	_ = host.SetDeadline(time.Now().Add(connectTime))
	if err := host.Connect(netip.AddrPortFrom(to, id.LocalPort)); err != nil {
		w.hangUp(host)
		return nil, err
	}
	_ = host.SetDeadline(time.Time{})
	return host, nil
}

func (w *Way) hangUp(host *sock.Socket) {
	host.Close()
	w.connections.Add(-1)
}

// refuse tells the container why there is no connection, as the network would.
func (w *Way) refuse(r *tcp.ForwarderRequest, err error) {
	id := r.ID()
	errno := sock.Errno(err)
	w.mu.Lock()
	sequence, known := w.openings[id]
	w.mu.Unlock()
	if !known || !w.unreachable(errno, flowKey{tcp.ProtocolNumber, id}, sequence) {
		r.Complete(true)
		return
	}
	r.Complete(false)
}

// connection is a container's connection and the real one.
type connection struct {
	end   tcpip.Endpoint // of the container's
	queue *waiter.Queue
	host  *sock.Socket
}

// finish ends both directions when one has failed.
func (c *connection) finish(err error) {
	if err != nil {
		c.end.Abort()
		c.host.Reset()
	}
}

// upload carries what the container sends, and its end.
func (c *connection) upload() error {
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	c.queue.EventRegister(&entry)
	defer c.queue.EventUnregister(&entry)
	to := writer{host: c.host}
	for {
		to.err = nil
		_, err := c.end.Read(&to, tcpip.ReadOptions{})
		if to.err == unix.EAGAIN {
			if err := c.host.Writable(); err != nil {
				return err
			}
			continue
		}
		if to.err != nil {
			return to.err
		}
		switch err.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			<-readable
		case *tcpip.ErrClosedForReceive:
			_ = c.host.CloseWrite() // fails when the other side has gone, which the other direction sees
			return nil
		default:
			return unix.ECONNRESET
		}
	}
}

// writer writes to a socket without waiting: who calls it holds the connection's lock.
type writer struct {
	host *sock.Socket
	err  error
}

func (w *writer) Write(p []byte) (n int, _ error) {
	w.err = w.host.Now(func(fd int) (err error) {
		for n < len(p) && err == nil {
			var m int
			if m, err = sock.Send(fd, p[n:]); err == unix.EINTR {
				err = nil
			}
			n += max(m, 0)
		}
		return err
	})
	return n, w.err
}

// download carries what the container gets, and its end.
func (c *connection) download() error {
	entry, writable := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	c.queue.EventRegister(&entry)
	defer c.queue.EventUnregister(&entry)
	from := reader{host: c.host}
	for {
		if err := from.wait(); err != nil {
			return err
		}
		if from.Len() == 0 {
			c.end.Shutdown(tcpip.ShutdownWrite)
			return nil
		}
		for from.Len() > 0 {
			_, err := c.end.Write(&from, tcpip.WriteOptions{})
			if _, full := err.(*tcpip.ErrWouldBlock); full {
				<-writable
				continue
			}
			if from.err != nil {
				return from.err
			}
			if err != nil {
				return unix.EPIPE
			}
		}
	}
}

// little is what is read before it is asked how much there is, in bytes: most of what is not a stream has room in it.
const little = 2 << 10

// reader is what has come to a socket. It says beforehand how much that is: the stack takes as much as it has room for.
type reader struct {
	host  *sock.Socket
	first [little]byte
	ready []byte // of first
	left  int    // in the socket
	much  bool   // it was more than little the last time
	err   error
}

// wait waits for something; when there is nothing then, the other side has ended.
func (r *reader) wait() error {
	err := r.host.In(func(fd int) (err error) {
		if r.much {
			if r.left, err = unix.IoctlGetInt(fd, unix.TIOCINQ); err != nil || r.left > 0 {
				return err
			}
		}
		n, err := sock.Read(fd, r.first[:])
		if err != nil {
			return err
		}
		r.ready = r.first[:n]
		if n == little {
			r.left, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
		}
		return err
	})
	r.much = r.Len() > little
	return err
}

// Len implements tcpip.Payloader.
func (r *reader) Len() int { return len(r.ready) + r.left }

func (r *reader) Read(p []byte) (n int, err error) {
	n = copy(p, r.ready)
	r.ready = r.ready[n:]
	if n > 0 || len(p) == 0 || r.left == 0 {
		return n, nil
	}
	err = r.host.Now(func(fd int) (err error) {
		n, err = sock.Read(fd, p[:min(len(p), r.left)])
		for err == unix.EINTR {
			n, err = sock.Read(fd, p[:min(len(p), r.left)])
		}
		return err
	})
	if err == nil && n == 0 {
		err = unix.ECONNRESET // less than it said
	}
	r.err = err
	r.left -= max(n, 0)
	return max(n, 0), err
}
