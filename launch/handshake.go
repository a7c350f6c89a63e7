package launch

import "golang.org/x/sys/unix"

// The parent and the child share one socket, the Input named Parent. The child
// announces how far it is; the parent lets it go on with a message that may
// carry descriptors.

// Parent is the Input that Start provides by itself: the socket to the parent.
const Parent = "parent"

// one is the Want of a call that must return 1.
var one = int64(1)

// Message layout of struct msghdr with one iovec and room for descriptors: the
// control part is a cmsghdr of 16 bytes, followed by 32-bit numbers.
const (
	controlSize   = bufferSize
	controlHeader = 16
	// MaxFiles is how many descriptors one Send may carry.
	MaxFiles = 100
)

// Await adds the wait for the parent's next Send. The descriptors that come
// with it are left in the returned slots, in order. A parent that died instead
// ends the program.
func (p *Program) Await(text string, files int) []Slot {
	control, data := p.NewBuffer(), p.NewBuffer()
	p.Add(Op{
		Call: Recvmsg,
		Args: []Arg{
			Input(Parent),
			Words(Int(0), Int(0), Words(data, Int(1)), Int(1), control, Int(controlSize), Int(0)),
			Flags(unix.MSG_CMSG_CLOEXEC, "MSG_CMSG_CLOEXEC"),
		},
		Want: &one,
		Text: text,
	})
	slots := make([]Slot, files)
	for i := range slots {
		slots[i] = p.NewSlot()
		p.Add(Op{Call: Load, Args: []Arg{control, Int(controlHeader + 4*i)}, Result: slots[i], Text: text})
	}
	return slots
}

// SendFile is the operation that sends a descriptor over a socket, in the form
// that OCI console sockets expect: the message is a name.
func SendFile(socket Arg, fd Slot, name, text, field string) Op {
	const header = 16 // struct cmsghdr
	control := Words(
		Int(header+4),
		Int(uint64(unix.SOL_SOCKET)|uint64(unix.SCM_RIGHTS)<<32),
		Result(fd),
	)
	message := Words(
		Int(0), Int(0),
		Words(String(name), Int(len(name))), Int(1),
		control, Int(header+8),
		Int(0),
	)
	return Op{Call: Sendmsg, Args: []Arg{socket, message, Flags(unix.MSG_NOSIGNAL, "MSG_NOSIGNAL")}, Text: text, Field: field}
}
