package sock

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// How long a flow lives after its last datagram.
const (
	Unanswered = 30 * time.Second
	Answered   = 3 * time.Minute
)

// Flow is a socket for datagrams between two peers. They don't say when they have ended: silence does.
type Flow struct {
	*Socket
	used    atomic.Int64 // nanoseconds since 1970
	replied atomic.Bool
}

// NewFlow makes a flow of a connected socket.
func NewFlow(s *Socket) *Flow {
	f := &Flow{Socket: s}
	f.Touch()
	return f
}

// Touch is for each datagram that is sent.
func (f *Flow) Touch() { f.used.Store(time.Now().UnixNano()) }

// Patience is how long the flow may be silent.
func (f *Flow) Patience() time.Duration {
	if f.replied.Load() {
		return Answered
	}
	return Unanswered
}

// room is for one datagram.
var room = sync.Pool{New: func() any { return new([1<<16 - 1]byte) }}

// Answers gives what comes to take, until the flow is silent for longer than patience says. Messages that nobody is
// reached go to lost; other errors end it.
func (f *Flow) Answers(patience func() time.Duration, take func(data []byte), lost func(unix.Errno)) {
	for {
		wait := time.Until(time.Unix(0, f.used.Load()).Add(patience()))
		if wait <= 0 {
			return
		}
		_ = f.SetDeadline(time.Now().Add(wait))
		var data *[1<<16 - 1]byte
		var n int
		err := f.In(func(fd int) (err error) {
			data = room.Get().(*[1<<16 - 1]byte)
			if n, err = Read(fd, data[:]); err != nil {
				room.Put(data)
			}
			return err
		})
		switch errno := Errno(err); {
		case err == nil:
			f.Touch()
			f.replied.Store(true)
			take(data[:n])
			room.Put(data)
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errno == unix.ECONNREFUSED || errno == unix.EHOSTUNREACH || errno == unix.ENETUNREACH:
			lost(errno)
		default:
			return
		}
	}
}

// Evict takes the flow out that, among some of them, was silent for longest, and ends it.
func Evict[K comparable, F interface{ flow() *Flow }](flows map[K]F) {
	var key K
	var oldest *Flow
	looked := 0
	for k, f := range flows { // in no order
		if f := f.flow(); oldest == nil || f.used.Load() < oldest.used.Load() {
			key, oldest = k, f
		}
		if looked++; looked == 16 {
			break
		}
	}
	if oldest != nil {
		delete(flows, key)
		oldest.Close()
	}
}

func (f *Flow) flow() *Flow { return f }
