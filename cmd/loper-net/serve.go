package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"loper.run/cmd/loper-net/inside"
	"loper.run/cmd/loper-net/out"
	"loper.run/cmd/loper-net/ports"
	"loper.run/internal/confine"
	"loper.run/internal/netcontrol"

	"golang.org/x/sys/unix"
)

// The MTU of the way out. IPv6 needs the least one; the most is what slirp4netns and pasta take. A large one wins little,
// since many TCP segments cross at once anyhow, and datagrams that are larger than the containers' MTU would be lost.
const (
	minMTU     = 1280
	maxMTU     = 65520
	defaultMTU = 1500
)

// maxMemory is where the heap is collected hard, in bytes.
const maxMemory = 1 << 30

// maxProcessors is how many carry packets at a time.
const maxProcessors = 4

// settings are the command line.
type settings struct {
	inside.Settings
	hostLoopback bool
}

// serve works until the last connection is gone.
func serve(s settings) error {
	if err := hide(); err != nil {
		return err
	}
	debug.SetMemoryLimit(maxMemory)
	// Who sends and who receives needs processors too, and a packet that is handed from one to the next comes late.
	runtime.GOMAXPROCS(min(max(runtime.NumCPU()/2, 1), maxProcessors))
	files := int64(raiseFiles())
	user, network := os.NewFile(netcontrol.UserNamespace, "user namespace"), os.NewFile(netcontrol.NetworkNamespace, "network namespace")
	c := &control{user: user, network: network, log: os.Stderr}
	if err := c.listen(netcontrol.Listener); err != nil {
		return err
	}
	s.IPv6 = s.Interface != "" && hasIPv6()
	p, err := inside.Start(user, network, s.Settings)
	if err != nil {
		c.refuse(err)
		return err
	}
	defer p.Close()
	c.ports = &ports.Table{Socket: p.Socket, Log: os.Stderr, Max: int(files / 4)}
	ended := make(chan error, 1)
	if p.Way != nil {
		w, err := out.New(p.Way, out.Settings{MTU: uint32(s.MTU), HostLoopback: s.hostLoopback, Log: os.Stderr, MaxTCP: int(files / 4), MaxFlows: int(min(files/8, 4096))})
		if err != nil {
			c.refuse(err)
			return err
		}
		go func() { ended <- w.Run() }()
	}
	if err := confine.Self(confine.Forward(unix.Getpid()), true); err != nil {
		c.refuse(err)
		return fmt.Errorf("giving up rights: %w", err)
	}
	go func() { ended <- c.serve() }()
	return <-ended
}

// hide keeps other processes of the user from reading this one's memory and descriptors.
func hide() error {
	return os.NewSyscallError("set not dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// raiseFiles takes as many descriptors as may be had, up to a number that bounds memory too, and returns it.
func raiseFiles() uint64 {
	const wanted = 32 << 10
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	l.Cur = min(wanted, l.Max)
	l.Max = l.Cur
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return l.Cur
}

// hasIPv6 tells whether the host has a way to IPv6 addresses. Nothing is sent for it.
func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	anywhere := unix.SockaddrInet6{Port: 53, Addr: [16]byte{0x20, 1, 0x0d, 0xb8, 15: 1}} // of the block for documents
	return unix.Connect(fd, &anywhere) == nil
}

// firstClient is how long the first connection is waited for.
const firstClient = 20 * time.Second
