package runtime

import (
	"encoding/json"
	"fmt"
	"os"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// announceListener tells the parent that the next message is the descriptor by
// which a seccomp agent hears of system calls.
const announceListener = "about to load the seccomp filter"

// checkNotify refuses to ask an agent about the calls that hand it the
// listener. (seccomp.Compile refuses write, with which other runtimes do so.)
func checkNotify(s *specs.LinuxSeccomp) error {
	if s == nil {
		return nil
	}
	for i, rule := range s.Syscalls {
		for j, name := range rule.Names {
			if rule.Action == specs.ActNotify && (name == "sendmsg" || name == "recvmsg") {
				return badField(fmt.Sprintf("linux.seccomp.syscalls[%d].names[%d]", i, j), "%s is not possible for %s, which hands over the listener", specs.ActNotify, name)
			}
		}
	}
	return nil
}

// seccomp loads the filter. Without no_new_privs that needs a capability, so
// it comes before they're dropped; with it, as late as can be.
//
// A filter that notifies somebody makes a listener. Only the parent can reach
// the agent's socket, and the process goes on when the agent has it: from then
// on the agent may be asked for any call.
func (c *compiler) seccomp() {
	if len(c.filter.Insns) == 0 {
		return
	}
	const setModeFilter, field = unix.SECCOMP_SET_MODE_FILTER, "linux.seccomp"
	load := launch.Op{
		Call: launch.Seccomp,
		Args: []launch.Arg{launch.Flags(setModeFilter, "SECCOMP_SET_MODE_FILTER"), launch.Int(c.filter.Flags),
			launch.Words(launch.Int(len(c.filter.Insns)), launch.Bytes(c.filter.Bytes()))},
		Text: "load the seccomp filter", Field: field,
	}
	if !c.filter.Notify {
		c.add(load)
		return
	}
	load.Result = c.p.NewSlot()
	c.add(
		launch.Op{Call: launch.Announce, Text: announceListener},
		load,
		launch.SendFile(launch.Input(launch.Parent), load.Result, "listener", "hand the seccomp listener over, for which the filter must allow sendmsg", field),
	)
	c.p.Await("wait for the seccomp agent, for which the filter must allow recvmsg", 0)
	// A listener of its own would keep a call waiting whose agent is gone.
	c.add(launch.Op{Call: launch.Close, Args: []launch.Arg{launch.Result(load.Result)}, Text: "close the seccomp listener", Field: field})
}

// passListener gives the listener of a process that loaded its filter to the
// agent, together with the state of the container (config-linux.md, "The
// Container Process State").
func passListener(p *launch.Process, s *specs.LinuxSeccomp, state specs.State) error {
	listener, err := p.Receive()
	if err != nil {
		return err
	}
	defer listener.Close()
	text, err := json.Marshal(specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: p.Pid(), Metadata: s.ListenerMetadata, State: state,
	})
	if err != nil {
		return err
	}
	agent, err := dialAgent(s.ListenerPath)
	if err == nil {
		defer agent.Close()
		err = sendAll(agent, text, listener)
	}
	if err != nil {
		return badField("linux.seccomp.listenerPath", "%w", err)
	}
	return p.Send()
}

// sendAll sends a message with a descriptor, and no part of it.
func sendAll(to *os.File, message []byte, fd *os.File) error {
	n, err := unix.SendmsgN(int(to.Fd()), message, unix.UnixRights(int(fd.Fd())), nil, unix.MSG_NOSIGNAL)
	if err == nil && n < len(message) {
		err = unix.ETIMEDOUT
	}
	return os.NewSyscallError("sendmsg", err)
}

// agentTimeout is how many seconds an agent has to take a connection.
const agentTimeout = 10

// dialAgent connects to the socket at a path.
func dialAgent(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), path)
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: agentTimeout})
	if err == nil {
		err = atSocket(path, func(addr *unix.SockaddrUnix) error { return unix.Connect(fd, addr) })
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("connect to the seccomp agent at %s: %w", path, err)
	}
	return f, nil
}
