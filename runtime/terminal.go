package runtime

import (
	"encoding/binary"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ConsoleInput names the socket that takes the terminal's master.
const ConsoleInput = "console"

// announceTerminal asks the parent to set the terminal up.
const announceTerminal = "made the terminal"

// devptsMagic is what statfs says of a devpts.
const devptsMagic = unix.DEVPTS_SUPER_MAGIC

// terminal compiles a pty from the container's own devpts: the master goes to
// the caller's socket, the other end becomes /dev/console and, later, the
// standard streams.
func (c *compiler) terminal() {
	p := c.spec.Process
	if p == nil || !p.Terminal {
		return
	}
	c.openTerminal(p)
	tree := c.p.NewSlot()
	text := "make /dev/console"
	c.add(launch.Op{
		Call: launch.OpenTree, Args: []launch.Arg{launch.Result(c.console), launch.String(""), launch.Flags(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH, "OPEN_TREE_CLONE|AT_EMPTY_PATH")},
		Result: tree, Text: text, Field: "process.terminal",
	})
	// Behind a link it would cover something else (CVE-2025-52565).
	console := c.place("/dev/console", unix.S_IFREG|0o644, true, "process.terminal")
	c.add(moveMount(tree, console, text, "process.terminal"))
}

// openTerminal opens a new pty in the devpts below the container's root and
// sends the master away. Nothing is looked up by the name of the other end:
// TIOCGPTPEER gives it.
func (c *compiler) openTerminal(p *specs.Process) {
	const field = "process.terminal"
	master, buf := c.p.NewSlot(), c.p.NewBuffer()
	c.console = c.p.NewSlot()
	unlock := make([]byte, 4)
	c.add(
		c.openIn("dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY, master, "open a terminal in the container's /dev/pts", field),
		launch.Op{Call: launch.Fstatfs, Args: []launch.Arg{launch.Result(master), buf}, Text: "look at the container's /dev/pts", Field: field},
		launch.Op{
			Call: launch.Check, Args: []launch.Arg{buf, launch.Int(0), launch.Int(int(unix.ENODEV)), launch.Int(^uint64(0)), launch.Int(devptsMagic)},
			Text: "open a terminal: the container's /dev/pts is no devpts", Field: field,
		},
		launch.Op{Call: launch.Ioctl, Args: []launch.Arg{launch.Result(master), launch.Flags(unix.TIOCSPTLCK, "TIOCSPTLCK"), launch.Bytes(unlock)}, Text: "unlock the terminal", Field: field},
		launch.Op{
			Call: launch.Ioctl, Args: []launch.Arg{launch.Result(master), launch.Flags(unix.TIOCGPTPEER, "TIOCGPTPEER"), launch.Int(unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC)},
			Result: c.console, Text: "open the other end of the terminal", Field: field,
		},
	)
	if s := p.ConsoleSize; s != nil {
		size := make([]byte, 8)
		binary.NativeEndian.PutUint16(size[0:], uint16(s.Height))
		binary.NativeEndian.PutUint16(size[2:], uint16(s.Width))
		c.add(launch.Op{Call: launch.Ioctl, Args: []launch.Arg{launch.Result(master), launch.Flags(unix.TIOCSWINSZ, "TIOCSWINSZ"), launch.Bytes(size)}, Text: "set the terminal's size", Field: "process.consoleSize"})
	}
	c.add(
		launch.Op{
			Call: launch.Fchown, Args: []launch.Arg{launch.Result(c.console), launch.Int(p.User.UID), launch.Int(int64(-1))},
			Text: "give the terminal to the user", Field: field, Accept: []launch.Accept{{Errno: unix.EPERM}, {Errno: unix.EINVAL}},
		},
		launch.SendFile(launch.Input(ConsoleInput), master, "/dev/pts/ptmx", "send the terminal to its console socket", field),
	)
	if c.set.AskTerminal {
		c.add(launch.Op{Call: launch.Announce, Text: announceTerminal})
		c.p.Await("wait for the terminal's settings", 0)
	}
}
